import koffi from 'koffi';

/**
 * The C library, as far as we use it. Loading koffi takes some 12 ms: whoever may do without the kernel imports this
 * folder dynamically.
 */

// koffi runs asynchronous calls on stacks of its own, which libnftables (see there) would nearly fill. Only before the
// first load.
koffi.config({ async_stack_size: 1024 * 1024 });

// null is the running process: it finds the C library that Node is linked with, glibc or musl, under any file name.
const library = koffi.load(null);

for (const [type, bytes] of [
  ['int', 4],
  ['size_t', 8],
  ['void *', 8],
] as const) {
  if (koffi.sizeof(type) !== bytes) {
    throw new Error(`Cannot bind the C library: ${type} has ${koffi.sizeof(type)} bytes, not ${bytes}`);
  }
}

/** What a call returned and, if that is negative, the errno that it left; 0 otherwise. */
export interface CallResult {
  readonly value: number;
  readonly errno: number;
}

type Call<Arguments extends readonly unknown[]> = (...args: Arguments) => CallResult;

/**
 * Binds one function. Prototypes say int64_t where the header says ssize_t, which koffi does not know.
 * @param prototype the C prototype; `_Out_` marks memory that the function writes
 */
function bind<Arguments extends readonly unknown[]>(prototype: string): Call<Arguments> {
  const call: (...args: Arguments) => unknown = library.func(prototype);
  return (...args) => {
    const value = Number(call(...args));
    return { value, errno: value < 0 ? koffi.errno() : 0 };
  };
}

/** int socket(int domain, int type, int protocol); @see <sys/socket.h> */
export const socket = bind<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
);

/** int connect(int fd, const struct sockaddr *addr, socklen_t len); @see <sys/socket.h> */
export const connect = bind<[fd: number, address: Uint8Array, length: number]>(
  'int connect(int fd, const void *addr, uint32_t len)',
);

/** int setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen); @see <sys/socket.h> */
export const setsockopt = bind<
  [fd: number, level: number, option: number, value: Int32Array, length: number]
>('int setsockopt(int fd, int level, int optname, const void *optval, uint32_t optlen)');

/** int getsockopt(int fd, int level, int optname, void *optval, socklen_t *optlen); @see <sys/socket.h> */
export const getsockopt = bind<
  [fd: number, level: number, option: number, value: Uint8Array, length: Uint32Array]
>('int getsockopt(int fd, int level, int optname, _Out_ void *optval, _Inout_ void *optlen)');

/** ssize_t send(int fd, const void *buf, size_t len, int flags); @see <sys/socket.h> */
export const send = bind<[fd: number, bytes: Uint8Array, length: number, flags: number]>(
  'int64_t send(int fd, const void *buf, size_t len, int flags)',
);

/** ssize_t recv(int fd, void *buf, size_t len, int flags); @see <sys/socket.h> */
export const recv = bind<[fd: number, buffer: Uint8Array, length: number, flags: number]>(
  'int64_t recv(int fd, _Out_ void *buf, size_t len, int flags)',
);

/** int poll(struct pollfd *fds, nfds_t nfds, int timeout); @see <poll.h> */
export const poll = bind<[fds: Uint8Array, count: number, timeoutMs: number]>(
  'int poll(_Inout_ void *fds, unsigned long nfds, int timeout)',
);

const pollFunction = library.func('int poll(_Inout_ void *fds, unsigned long nfds, int timeout)');

/**
 * poll without a time-out, in a thread of Node's pool, which it holds until it returns: there are four.
 * What it returned is of no use, for errno is that of the thread: whoever waits looks for himself.
 * @param fds must be kept by the caller until then, so that its memory stays in place
 */
export function pollInThread(fds: Uint8Array, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    pollFunction.async(fds, count, -1, (error: unknown) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** int eventfd(unsigned int initval, int flags); @see <sys/eventfd.h> */
export const eventfd = bind<[initial: number, flags: number]>('int eventfd(unsigned int initval, int flags)');

/** ssize_t write(int fd, const void *buf, size_t count); @see <unistd.h> */
export const write = bind<[fd: number, bytes: Uint8Array, length: number]>(
  'int64_t write(int fd, const void *buf, size_t count)',
);

/** int close(int fd); @see <unistd.h> */
export const close = bind<[fd: number]>('int close(int fd)');

/**
 * long syscall(long number, ...), for bpf(2), of which the C library has no function of its own; @see <unistd.h>
 * @param attr read and written by the kernel; pointers in it must be to memory of `mapMemory`
 */
export const syscall = bind<[number: number, command: number, attr: Uint8Array, length: number]>(
  'long syscall(long number, int cmd, _Inout_ void *attr, uint32_t size)',
);

/** int setns(int fd, int nstype); of the calling thread; @see <sched.h> */
export const setns = bind<[fd: number, type: number]>('int setns(int fd, int nstype)');

/** int mount(const char *, const char *, const char *, unsigned long, const void *); @see <sys/mount.h> */
export const mount = bind<[source: string, target: string, type: string, flags: number, data: string | null]>(
  'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
);

/** int umount2(const char *target, int flags); @see <sys/mount.h> */
export const umount2 = bind<[target: string, flags: number]>('int umount2(const char *target, int flags)');

/** Memory that the collector neither moves nor frees: its address may stand in a struct. */
export interface MappedMemory {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

const mmap = library.func('void *mmap(void *addr, size_t len, int prot, int flags, int fd, int64_t off)');
// include/uapi/asm-generic/mman-common.h
const PROT_READ_WRITE = 0x3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/**
 * mmap of zeroed memory, kept until the process ends. Pages that nobody writes cost nothing.
 * @throws Error if there is no memory; @see <sys/mman.h>
 */
export function mapMemory(length: number): MappedMemory {
  const pointer: unknown = mmap(null, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  const address = koffi.address(pointer);
  if (address === MAP_FAILED) throw new Error(`Cannot map ${length} bytes: errno ${koffi.errno()}`);
  return { address, bytes: new Uint8Array(koffi.view(pointer, length)) };
}
