import { EventFd } from './event-fd.ts';
import { NetlinkSocket, type Received } from './netlink-socket.ts';

/**
 * What the kernel tells the members of netlink multicast groups, as it happens. While it is waited for, one thread of
 * Node's pool is held, and the process is kept alive.
 */
export class NetlinkNotices implements AsyncDisposable {
  readonly #socket: NetlinkSocket;
  readonly #wake: EventFd;
  #waiting: Promise<void> | undefined;
  #closed = false;

  private constructor(socket: NetlinkSocket, wake: EventFd) {
    this.#socket = socket;
    this.#wake = wake;
  }

  /**
   * Joins the groups: what happens from now on will be told.
   * @throws SysError ENOENT if there is no such group, EMFILE, …
   */
  static open(protocol: number, groups: readonly number[]): NetlinkNotices {
    using stack = new DisposableStack();
    const socket = stack.use(NetlinkSocket.open(protocol, { groups }));
    const wake = stack.use(EventFd.open());
    stack.move();
    return new NetlinkNotices(socket, wake);
  }

  /**
   * The next datagram, or that notices were lost (`overrun`: there were more than the socket can hold). The bytes are
   * the socket's own memory: the next call overwrites them. One call at a time.
   * @returns undefined once disposed
   * @throws SysError if the socket is broken
   */
  async next(): Promise<Received | undefined> {
    while (!this.#closed) {
      const received = this.#socket.receive(0);
      if (received.kind !== 'timeout') return received;
      this.#waiting = this.#socket.untilReadable(this.#wake);
      await this.#waiting;
    }
    return undefined;
  }

  /** Ends a wait, and closes; again is harmless. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake.signal();
    // Its own reader hears of a failure; here it only must be over.
    await this.#waiting?.catch(() => undefined);
    this.#wake[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
  }
}
