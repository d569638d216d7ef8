import { closeSync, openSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { constants, endianness } from 'node:os';
import { SysError } from './errno.ts';
import { close, getsockopt, setns, socket } from './libc.ts';
import { type Probe, SUPPORTED } from './probe.ts';

// include/uapi/linux/sched.h
const CLONE_NEWNET = 0x40000000;
const OWN_NAMESPACE = '/proc/thread-self/ns/net';
// include/linux/socket.h, include/linux/net.h, include/uapi/asm-generic/socket.h
const AF_UNIX = 1;
const [SOCK_DGRAM, SOCK_CLOEXEC] = [2, 0o2000000];
const SOL_SOCKET = 1;
const SO_NETNS_COOKIE = 71;

/**
 * Runs `body` with this thread in another network namespace, and is back when it returns or throws. A socket that `body`
 * opens belongs to that namespace for good. Only for what is done when it returns: a promise would go on at home, and
 * what libuv does on its own threads is always at home.
 * @param path of the namespace: `/proc/PID/ns/net`, or a file of `/run/netns`
 * @throws SysError EPERM without CAP_SYS_ADMIN; a failed way back is fatal, for every later socket would be in the wrong
 * namespace: it is thrown as such, and the process should end
 * @throws TypeError if `body` returns a promise
 */
export function inNetworkNamespace<Result>(path: string, body: () => Result): Result {
  const home = openSync(OWN_NAMESPACE, 'r');
  try {
    enterAt(path);
    let result: Result;
    try {
      result = body();
    } finally {
      enter(home, 'back to the own network namespace');
    }
    if (result instanceof Promise) {
      throw new TypeError(`Cannot wait in network namespace ${path}: what runs there must be synchronous`);
    }
    return result;
  } finally {
    closeSync(home);
  }
}

/**
 * The number that programs know the network namespace of this thread by, and the kernel gives to no other while it runs.
 * @returns undefined before Linux 5.14, which does not tell it
 * @throws SysError EMFILE, …
 * @see include/uapi/asm-generic/socket.h SO_NETNS_COOKIE
 */
export function networkNamespaceCookie(): bigint | undefined {
  const { value: fd, errno } = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError('socket AF_UNIX', errno);
  const bytes = new Uint8Array(8);
  const asked = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, bytes, Uint32Array.of(bytes.length));
  close(fd);
  if (asked.errno === constants.errno.ENOPROTOOPT) return undefined;
  if (asked.value < 0) throw new SysError('getsockopt SO_NETNS_COOKIE', asked.errno);
  return new DataView(bytes.buffer).getBigUint64(0, endianness() === 'LE');
}

/** A network namespace: its inode number, and a file that it is entered by. */
export interface VisibleNamespace {
  readonly id: string;
  readonly path: string;
}

/**
 * The network namespaces that are bound in /run/netns, and those of the processes that this one may look at: each as
 * often as it is found. Looks only as far as it is asked. @see namespaces(7)
 */
export function* visibleNetworkNamespaces(): Generator<VisibleNamespace> {
  const own = ifThere(() => statSync(OWN_NAMESPACE));
  for (const name of ifThere(() => readdirSync(BOUND_NAMESPACES)) ?? []) {
    const path = `${BOUND_NAMESPACES}/${name}`;
    const found = ifThere(() => statSync(path));
    // Where nothing is mounted any more an empty file is left.
    if (found && found.dev === own?.dev) yield { id: String(found.ino), path };
  }
  for (const name of readdirSync('/proc')) {
    const path = `/proc/${name}/ns/net`;
    const link = /^\d+$/.test(name) ? ifThere(() => readlinkSync(path)) : undefined;
    const id = /^net:\[(\d+)\]$/.exec(link ?? '')?.[1];
    if (id !== undefined) yield { id, path };
  }
}

const BOUND_NAMESPACES = '/run/netns';
/** Of the first namespace of processes. @see include/linux/proc_ns.h PROC_PID_INIT_INO */
const ALL_PROCESSES = 'pid:[4026531836]';

/** Are the network namespaces of others on this machine in sight? */
export function probeSeeingNetworkNamespaces(): Probe {
  if (ifThere(() => readdirSync(BOUND_NAMESPACES))) return SUPPORTED;
  const seesAll = ifThere(() => readlinkSync('/proc/self/ns/pid')) === ALL_PROCESSES;
  // Of process 1 only who may look at any process sees it.
  if (seesAll && ifThere(() => readlinkSync('/proc/1/ns/net')) !== undefined) return SUPPORTED;
  const reason = `there is no ${BOUND_NAMESPACES}, and the namespaces of processes are not to be seen`;
  return { outcome: 'unsupported', reason };
}

/** undefined where it is gone, or not for us to see. */
function ifThere<Result>(look: () => Result): Result | undefined {
  try {
    return look();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES' || code === 'EPERM') return undefined;
    throw error;
  }
}

function enterAt(path: string): void {
  const fd = openSync(path, 'r');
  try {
    enter(fd, path);
  } finally {
    closeSync(fd);
  }
}

function enter(fd: number, where: string): void {
  const { value, errno } = setns(fd, CLONE_NEWNET);
  if (value < 0) throw new SysError(`setns ${where}`, errno);
}
