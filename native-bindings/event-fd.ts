import { SysError } from './errno.ts';
import * as libc from './libc.ts';

// include/uapi/linux/eventfd.h
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** A descriptor that is readable from its first signal on: it ends a wait in another thread. */
export class EventFd implements Disposable {
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws SysError EMFILE, … */
  static open(): EventFd {
    const { value: fd, errno } = libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) throw new SysError('eventfd', errno);
    return new EventFd(fd);
  }

  /** To wait on. @throws Error after dispose */
  get fd(): number {
    if (this.#fd < 0) throw new Error('Cannot use eventfd: it is closed');
    return this.#fd;
  }

  /** @throws SysError if the descriptor is broken */
  signal(): void {
    // Adds 1 to its counter, a 64-bit number in host byte order.
    const one = new Uint8Array(BigUint64Array.of(1n).buffer);
    const { value, errno } = libc.write(this.fd, one, one.length);
    if (value < 0) throw new SysError('write eventfd', errno);
  }

  /** Closes the descriptor; again is harmless. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    const { value, errno } = libc.close(this.#fd);
    this.#fd = -1;
    if (value < 0) throw new SysError('close', errno);
  }
}
