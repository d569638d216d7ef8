import { constants } from 'node:os';

/** ENOTSUPP is the kernel's own and in no header for user space, yet some paths let it out. */
const KERNEL_ONLY = { ENOTSUPP: 524 } as const;

/** Names by number. Of two names for one number (EAGAIN and EWOULDBLOCK) the one that Linux itself uses stays. */
const nameByErrno: ReadonlyMap<number, string> = new Map(
  [...Object.entries({ ...constants.errno, ...KERNEL_ONLY })]
    .filter(([name]) => name !== 'EWOULDBLOCK' && name !== 'ENOTSUP')
    .map(([name, errno]) => [errno, name]),
);

/** The name of a positive errno, `errno 1234` if the C library that Node was built with has none. */
export function errnoName(errno: number): string {
  return nameByErrno.get(errno) ?? `errno ${errno}`;
}

/** The number of an errno name, undefined if there is no such name. */
export function errnoOf(name: string): number | undefined {
  return Object.entries({ ...constants.errno, ...KERNEL_ONLY }).find(
    ([candidate]) => candidate === name,
  )?.[1];
}

/** A system call that failed. Nothing else in this folder throws an errno. */
export class SysError extends Error {
  override readonly name = 'SysError';
  /** The system call, with what it was for where that is not plain: `setsockopt SO_RCVBUF`. */
  readonly syscall: string;
  /** Positive. */
  readonly errno: number;
  /** Its name, such as `EPERM`. */
  readonly code: string;

  constructor(syscall: string, errno: number, options?: ErrorOptions) {
    super(`${syscall}: ${errnoName(errno)}`, options);
    this.syscall = syscall;
    this.errno = errno;
    this.code = errnoName(errno);
  }
}
