import { closeSync, openSync } from 'node:fs';
import { SysError } from './errno.ts';
import { setns } from './libc.ts';

// include/uapi/linux/sched.h
const CLONE_NEWNET = 0x40000000;
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

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
