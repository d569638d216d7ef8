import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import { decodeMessages, encodeMessage, type NetlinkMessage } from '../../src/netlink/message.ts';
import type { Received, Transport } from '../../src/netlink/transport.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { NLM_F_CAPPED, NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR } from '../../src/netlink/uapi/nlmsg.ts';
import { SOCK_DIAG_BY_FAMILY } from '../../src/netlink/uapi/sock-diag.ts';

/** A UDP socket that is connected. */
export interface FakeSocket {
  readonly family: number;
  readonly cookie: bigint;
  /** 4 or 16 bytes. */
  readonly destination: Uint8Array;
  readonly destinationPort: number;
}

/** What a fake sock_diag does; by default it lists, and ends what is there. */
export interface FakeSockDiagBehaviour {
  /** The errno for every list. */
  readonly listRefusal?: number;
  /** The errno for every end of a socket that is there. */
  readonly endRefusal?: number;
  /** The end of a list is lost. */
  readonly overruns?: boolean;
}

const SOCKETS_PER_DATAGRAM = 2;

/** One netlink socket and the UDP sockets of its network namespace. @see net/ipv4/udp_diag.c */
export class FakeSockDiag implements Transport, Disposable {
  readonly sockets: FakeSocket[];
  isClosed = false;
  readonly #behaviour: FakeSockDiagBehaviour;
  readonly #queue: Received[] = [];

  constructor(sockets: readonly FakeSocket[], behaviour: FakeSockDiagBehaviour = {}) {
    this.sockets = [...sockets];
    this.#behaviour = behaviour;
  }

  send(bytes: Uint8Array): void {
    if (this.isClosed) throw new Error('it is closed');
    for (const message of decodeMessages(byteViewOf(bytes.slice()))) {
      if (message.type === SOCK_DIAG_BY_FAMILY) this.#list(message);
      else this.#end(message);
    }
  }

  receive(): Received {
    return this.#queue.shift() ?? { kind: 'timeout' };
  }

  [Symbol.dispose](): void {
    this.isClosed = true;
  }

  #list({ source, payloadStart, sequence }: NetlinkMessage): void {
    if (this.#behaviour.listRefusal !== undefined) {
      this.#answer(NLMSG_ERROR, sequence, this.#behaviour.listRefusal);
      return;
    }
    const family = source.view.getUint8(payloadStart);
    const port = source.view.getUint16(payloadStart + 10);
    const found = this.sockets.filter(
      (each) => each.family === family && (port === 0 || each.destinationPort === port),
    );
    for (let i = 0; i < found.length; i += SOCKETS_PER_DATAGRAM) {
      const writer = new ByteWriter();
      for (const socket of found.slice(i, i + SOCKETS_PER_DATAGRAM)) writeSocket(writer, sequence, socket);
      this.#queue.push({ kind: 'datagram', bytes: writer.written().slice() });
    }
    if (this.#behaviour.overruns) this.#queue.push({ kind: 'overrun' });
    else this.#answer(NLMSG_DONE, sequence, 0);
  }

  #end({ source, payloadStart, sequence }: NetlinkMessage): void {
    const cookie = source.view.getBigUint64(payloadStart + 8 + 40, true);
    const index = this.sockets.findIndex((each) => each.cookie === cookie);
    const refusal = index < 0 ? ERRNO.ENOENT : (this.#behaviour.endRefusal ?? 0);
    if (refusal === 0) this.sockets.splice(index, 1);
    this.#answer(NLMSG_ERROR, sequence, refusal);
  }

  /** Their payload begins alike. @see struct nlmsgerr */
  #answer(type: number, sequence: number, errno: number): void {
    const writer = new ByteWriter();
    const flags = type === NLMSG_DONE ? NLM_F_MULTI : NLM_F_CAPPED;
    encodeMessage(writer, { type, flags, sequence }, () => {
      writer.u32((0x1_0000_0000 - errno) % 0x1_0000_0000);
      if (type === NLMSG_ERROR) writer.zeros(16);
    });
    this.#queue.push({ kind: 'datagram', bytes: writer.written().slice() });
  }
}

/** struct inet_diag_msg of a connected socket */
function writeSocket(writer: ByteWriter, sequence: number, socket: FakeSocket): void {
  const { family, cookie, destination, destinationPort } = socket;
  encodeMessage(writer, { type: SOCK_DIAG_BY_FAMILY, flags: NLM_F_MULTI, sequence }, () => {
    writer.u8(family);
    writer.u8(1);
    writer.zeros(2);
    writer.be16(40_000);
    writer.be16(destinationPort);
    writer.zeros(16);
    writer.bytes(destination);
    writer.zeros(16 - destination.length);
    writer.u32(0);
    writer.u32(Number(cookie & 0xffff_ffffn));
    writer.u32(Number(cookie >> 32n));
    writer.zeros(20);
  });
}
