import type * as Netlink from 'netlink';
import type { NetlinkPackage } from './package-client.ts';

/** A socket that can send many messages as one datagram, which takes one system call. */
export interface BatchSocket extends Netlink.RawNetlinkSocket {
  /**
   * Sends what `sendAll` sends, all at once when it returns. The kernel executes it in order, what is behind a refused
   * message too, and answers each message with a datagram of its own. If nothing could be sent, `error` is emitted.
   * @see net/netlink/af_netlink.c netlink_rcv_skb
   */
  batch<Result>(sendAll: () => Result): Result;
}

/** Opens a socket for rtnetlink. The package is an argument, so that only the client loads it. */
export function openBatchSocket({ RawNetlinkSocket, Protocol, pad }: NetlinkPackage): BatchSocket {
  class Socket extends RawNetlinkSocket implements BatchSocket {
    #messages: Uint8Array[] | undefined;

    override send(...[message, ...rest]: Parameters<Netlink.RawNetlinkSocket['send']>): void {
      if (this.#messages === undefined) super.send(message, ...rest);
      else this.#messages.push(...pad([message].flat()));
    }

    batch<Result>(sendAll: () => Result): Result {
      const messages: Uint8Array[] = [];
      this.#messages = messages;
      try {
        return sendAll();
      } finally {
        this.#messages = undefined;
        if (messages.length > 0) super.send(Buffer.concat(messages));
      }
    }
  }
  return new Socket(Protocol.ROUTE);
}
