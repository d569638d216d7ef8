/** The numbers that netlink families answer with, from include/uapi/asm-generic/errno*.h of Linux 6.1. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ERANGE: 34,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EMSGSIZE: 90,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  EHOSTUNREACH: 113,
  ESTALE: 116,
  /** Not for user space, yet some kernel paths let it out. */
  ENOTSUPP: 524,
} as const;

const nameByErrno = new Map<number, string>(Object.entries(ERRNO).map(([name, errno]) => [errno, name]));

/** The name of a positive errno, `errno 1234` if it has none here. */
export function errnoName(errno: number): string {
  return nameByErrno.get(errno) ?? `errno ${errno}`;
}
