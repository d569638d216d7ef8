import { setImmediate } from 'node:timers/promises';
import { ByteWriter, byteViewOf } from './bytes.ts';
import { refusalOf } from './client.ts';
import { decodeMessages, type NetlinkMessage, nextSequence } from './message.ts';
import type { QueryResult, RequestResult } from './results.ts';
import {
  decodeListedSocket,
  encodeEndSocket,
  encodeListSockets,
  type ListedSocket,
} from './sock-diag-messages.ts';
import type { Transport } from './transport.ts';
import { ERRNO } from './uapi/errno.ts';
import { NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR } from './uapi/nlmsg.ts';
import { SOCK_DIAG_BY_FAMILY } from './uapi/sock-diag.ts';

/** The kernel answers within send, or when it is read. */
const ANSWER_TIMEOUT_MS = 2000;
const DATAGRAMS_PER_TURN = 64;

/** The UDP sockets of one network namespace, that of the transport. Calls must not overlap. */
export class SockDiagClient {
  readonly #transport: Transport;
  readonly #writer = new ByteWriter(256);
  #sequence = 0;

  /** @param transport a socket of NETLINK_SOCK_DIAG; stays the caller's to close */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * The connected UDP sockets of a family that are asked for. One that comes or goes meanwhile may be there or not.
   * @param family AF_INET or AF_INET6; IPv4 on sockets of IPv6 is with the latter
   * @param destinationPort host order; 0 for any
   * @returns `unknown` if an answer was lost
   * @throws NetlinkDecodeError, or what the transport throws when the socket is broken
   */
  async list(
    family: number,
    destinationPort: number,
    isWanted: (socket: ListedSocket) => boolean,
  ): Promise<QueryResult<readonly ListedSocket[]>> {
    const header = { flags: NLM_F_REQUEST | NLM_F_DUMP, sequence: this.#next() };
    this.#writer.clear();
    encodeListSockets(this.#writer, header, family, destinationPort);
    this.#transport.send(this.#writer.written());
    const sockets: ListedSocket[] = [];
    for (let datagrams = 1; ; datagrams++) {
      if (datagrams % DATAGRAMS_PER_TURN === 0) await setImmediate();
      const received = this.#transport.receive(ANSWER_TIMEOUT_MS);
      // A rest that comes later has this sequence number, and nobody asks for it any more.
      if (received.kind !== 'datagram') return { outcome: 'unknown' };
      for (const message of this.#answers(received.bytes)) {
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          return refusalOf(message) ?? { outcome: 'ok', row: sockets };
        }
        const socket = message.type === SOCK_DIAG_BY_FAMILY ? decodeListedSocket(message) : undefined;
        if (socket && isWanted(socket)) sockets.push(socket);
      }
    }
  }

  /**
   * Ends a socket: its owner hears ECONNABORTED, and it is not connected any more. One that is gone is as it should be.
   * @throws NetlinkDecodeError, or what the transport throws when the socket is broken
   */
  end(socket: ListedSocket): RequestResult {
    const header = { flags: NLM_F_REQUEST | NLM_F_ACK, sequence: this.#next() };
    this.#writer.clear();
    encodeEndSocket(this.#writer, header, socket);
    this.#transport.send(this.#writer.written());
    for (;;) {
      const received = this.#transport.receive(ANSWER_TIMEOUT_MS);
      if (received.kind !== 'datagram') return { outcome: 'unknown' };
      for (const message of this.#answers(received.bytes)) {
        if (message.type !== NLMSG_ERROR) continue;
        const refusal = refusalOf(message);
        return refusal && refusal.errno !== ERRNO.ENOENT && refusal.errno !== ERRNO.ESTALE
          ? refusal
          : { outcome: 'ok' };
      }
    }
  }

  #next(): number {
    this.#sequence = nextSequence(this.#sequence);
    return this.#sequence;
  }

  *#answers(bytes: Uint8Array): Generator<NetlinkMessage> {
    for (const message of decodeMessages(byteViewOf(bytes))) {
      if (message.sequence === this.#sequence) yield message;
    }
  }
}
