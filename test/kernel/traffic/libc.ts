import koffi from 'koffi';
import type { CallResult } from '../../../native-bindings/libc.ts';

/** What test sockets need of the C library beyond what svcplane itself does; see native-bindings/libc.ts. */
const library = koffi.load(null);

type Call<Arguments extends readonly unknown[]> = (...args: Arguments) => CallResult;

function bindFunction<Arguments extends readonly unknown[]>(prototype: string): Call<Arguments> {
  const call: (...args: Arguments) => unknown = library.func(prototype);
  return (...args) => {
    const value = Number(call(...args));
    return { value, errno: value < 0 ? koffi.errno() : 0 };
  };
}

/** int setns(int fd, int nstype); of the calling thread only; @see <sched.h> */
export const setns = bindFunction<[fd: number, type: number]>('int setns(int fd, int nstype)');

/** int bind(int fd, const struct sockaddr *addr, socklen_t len); @see <sys/socket.h> */
export const bind = bindFunction<[fd: number, address: Uint8Array, length: number]>(
  'int bind(int fd, const void *addr, uint32_t len)',
);

/** int listen(int fd, int backlog); @see <sys/socket.h> */
export const listen = bindFunction<[fd: number, backlog: number]>('int listen(int fd, int backlog)');

/** int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags); @see <sys/socket.h> */
export const accept4 = bindFunction<[fd: number, address: Uint8Array, length: Uint32Array, flags: number]>(
  'int accept4(int fd, _Out_ void *addr, _Inout_ void *len, int flags)',
);

/** ssize_t recvfrom(int, void *, size_t, int, struct sockaddr *, socklen_t *); @see <sys/socket.h> */
export const recvfrom = bindFunction<
  [fd: number, buffer: Uint8Array, size: number, flags: number, address: Uint8Array, length: Uint32Array]
>(
  'int64_t recvfrom(int fd, _Out_ void *buf, size_t len, int flags, _Out_ void *addr, _Inout_ void *addrlen)',
);

/** ssize_t sendto(int, const void *, size_t, int, const struct sockaddr *, socklen_t); @see <sys/socket.h> */
export const sendto = bindFunction<
  [fd: number, bytes: Uint8Array, size: number, flags: number, address: Uint8Array, length: number]
>('int64_t sendto(int fd, const void *buf, size_t len, int flags, const void *addr, uint32_t addrlen)');

/** int getsockname(int fd, struct sockaddr *addr, socklen_t *len); @see <sys/socket.h> */
export const getsockname = bindFunction<[fd: number, address: Uint8Array, length: Uint32Array]>(
  'int getsockname(int fd, _Out_ void *addr, _Inout_ void *len)',
);

/** int getsockopt(int fd, int level, int optname, void *optval, socklen_t *optlen); @see <sys/socket.h> */
export const getsockopt = bindFunction<
  [fd: number, level: number, option: number, value: Int32Array, length: Uint32Array]
>('int getsockopt(int fd, int level, int optname, _Out_ void *optval, _Inout_ void *optlen)');
