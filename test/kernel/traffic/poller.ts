import { constants, endianness } from 'node:os';
import { SysError } from '../../../native-bindings/errno.ts';
import { poll } from '../../../native-bindings/libc.ts';

// include/uapi/asm-generic/poll.h
export const POLLIN = 1;
export const POLLOUT = 4;

const POLLFD_BYTES = 8;
const littleEndian = endianness() === 'LE';

interface Watch {
  readonly events: number;
  readonly onReady: () => void;
}

/** poll(2) over raw sockets, for thousands of them in one thread. */
export class Poller {
  readonly #watched = new Map<number, Watch>();

  /** From now on calls `onReady` whenever `events`, an error or an end is there to be seen. Replaces an earlier watch. */
  watch(fd: number, events: number, onReady: () => void): void {
    this.#watched.set(fd, { events, onReady });
  }

  unwatch(fd: number): void {
    this.#watched.delete(fd);
  }

  /** Waits until something is ready, at most so long, and calls what watches it. */
  turn(timeoutMs: number): void {
    const entries = [...this.#watched];
    const pollfds = new Uint8Array(entries.length * POLLFD_BYTES);
    const view = new DataView(pollfds.buffer);
    for (const [i, [fd, { events }]] of entries.entries()) {
      view.setInt32(i * POLLFD_BYTES, fd, littleEndian);
      view.setInt16(i * POLLFD_BYTES + 4, events, littleEndian);
    }
    const { value, errno } = poll(pollfds, entries.length, Math.ceil(timeoutMs));
    if (value < 0 && errno !== constants.errno.EINTR) throw new SysError('poll', errno);
    if (value <= 0) return;
    for (const [i, [fd, watch]] of entries.entries()) {
      const revents = view.getInt16(i * POLLFD_BYTES + 6, littleEndian);
      // What was called before may have closed this one.
      if (revents !== 0 && this.#watched.get(fd) === watch) watch.onReady();
    }
  }
}
