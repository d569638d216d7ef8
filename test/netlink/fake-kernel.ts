import type { AttributesOf } from '../../src/netlink/attributes.ts';
import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import {
  controlCodec,
  decodeGenlAttributes,
  decodeGenlHeader,
  encodeGenlRequest,
} from '../../src/netlink/genl.ts';
import { ipvsCodec } from '../../src/netlink/ipvs-messages.ts';
import { decodeMessages, encodeMessage, type NetlinkMessage } from '../../src/netlink/message.ts';
import type { Received, Transport } from '../../src/netlink/transport.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { GENL_ID_CTRL } from '../../src/netlink/uapi/genetlink.ts';
import type { ipvsSchema } from '../../src/netlink/uapi/ipvs.ts';
import {
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
} from '../../src/netlink/uapi/nlmsg.ts';

export type IpvsAttributes = AttributesOf<typeof ipvsSchema>;

/** What a fake kernel does; by default it acknowledges everything and has no rows. */
export interface FakeKernelBehaviour {
  /** The errno for a request, 0 to acknowledge it; text is its extended acknowledgement. */
  readonly execute?: (
    command: number,
    attributes: IpvsAttributes,
  ) => number | { errno: number; text: string };
  /** The rows of a dump, asked again for each; an errno ends it in NLMSG_DONE. */
  readonly dump?: (command: number) => {
    rows: readonly IpvsAttributes[];
    interrupted?: boolean;
    errno?: number;
  };
  /** So many replies fit the receive buffer; what comes beyond is dropped and ENOBUFS reported once. */
  readonly receiveBufferReplies?: number;
  /** false: "nlctrl" answers ENOENT. */
  readonly familyExists?: boolean;
  /** Says nothing at all. */
  readonly mute?: boolean;
}

const FAMILY_ID = 0x17;
const ROWS_PER_DATAGRAM = 3;

/**
 * One netlink socket and the kernel behind it. As af_netlink.c: a datagram's messages are executed in order within
 * send; an acknowledgement comes if asked for, a refusal always; a dump is cut into datagrams as it is read, one at
 * a time (EBUSY); replies that do not fit are dropped, and the next receive says so before it gives what is queued.
 */
export class FakeKernel implements Transport {
  /** Messages in each send, in order. */
  readonly messagesPerSend: number[] = [];
  /** Flags of each message, in order. */
  readonly flags: number[] = [];
  readonly #behaviour: FakeKernelBehaviour;
  readonly #queue: Uint8Array[] = [];
  #dump: Uint8Array[] = [];
  #overrun = false;

  constructor(behaviour: FakeKernelBehaviour = {}) {
    this.#behaviour = behaviour;
  }

  send(bytes: Uint8Array): void {
    const messages = [...decodeMessages(byteViewOf(bytes.slice()))];
    this.messagesPerSend.push(messages.length);
    this.flags.push(...messages.map((message) => message.flags));
    if (this.#behaviour.mute) return;
    for (const message of messages) {
      if (message.type === GENL_ID_CTRL) this.#lookUpFamily(message);
      else if ((message.flags & NLM_F_DUMP) === NLM_F_DUMP) this.#startDump(message);
      else this.#execute(message);
    }
  }

  receive(timeoutMs: number): Received {
    if (!Number.isFinite(timeoutMs)) throw new RangeError('a receive must have a limit');
    if (this.#overrun) {
      this.#overrun = false;
      return { kind: 'overrun' };
    }
    const bytes = this.#queue.shift() ?? this.#dump.shift();
    return bytes === undefined ? { kind: 'timeout' } : { kind: 'datagram', bytes };
  }

  /** Queues a datagram as if it belonged to an earlier exchange. */
  queue(bytes: Uint8Array): void {
    this.#queue.push(bytes);
  }

  #lookUpFamily(message: NetlinkMessage): void {
    if (this.#behaviour.familyExists === false) {
      this.#answer(message, ERRNO.ENOENT);
      return;
    }
    const { familyName } = decodeGenlAttributes(message, controlCodec);
    const reply = {
      command: 1,
      version: 2,
      codec: controlCodec,
      attributes: { familyName, familyId: FAMILY_ID },
    };
    this.#reply((writer) => encodeGenlRequest(writer, { ...message, flags: 0 }, reply));
  }

  #execute(message: NetlinkMessage): void {
    const { command } = decodeGenlHeader(message);
    const answer = this.#behaviour.execute?.(command, decodeGenlAttributes(message, ipvsCodec)) ?? 0;
    const { errno, text } = typeof answer === 'number' ? { errno: answer, text: undefined } : answer;
    if (errno !== 0 || message.flags & NLM_F_ACK) this.#answer(message, errno, text);
  }

  #startDump(message: NetlinkMessage): void {
    if (this.#dump.length > 0) {
      this.#answer(message, ERRNO.EBUSY);
      return;
    }
    const { command, version } = decodeGenlHeader(message);
    const { rows, interrupted = false, errno = 0 } = this.#behaviour.dump?.(command) ?? { rows: [] };
    const { sequence } = message;
    const flags = NLM_F_MULTI | (interrupted ? NLM_F_DUMP_INTR : 0);
    for (let first = 0; first < rows.length; first += ROWS_PER_DATAGRAM) {
      const writer = new ByteWriter();
      for (const attributes of rows.slice(first, first + ROWS_PER_DATAGRAM)) {
        const row = { command: command - 3, version, codec: ipvsCodec, attributes };
        encodeGenlRequest(writer, { type: FAMILY_ID, flags, sequence }, row);
      }
      this.#dump.push(writer.written());
    }
    const done = new ByteWriter();
    encodeMessage(done, { type: NLMSG_DONE, flags, sequence }, () => done.u32(-errno));
    this.#dump.push(done.written());
  }

  #answer(request: NetlinkMessage, errno: number, text?: string): void {
    this.#reply((writer) => {
      const flags = NLM_F_CAPPED | (text === undefined ? 0 : NLM_F_ACK_TLVS);
      encodeMessage(writer, { type: NLMSG_ERROR, flags, sequence: request.sequence }, () => {
        writer.u32(-errno);
        const header = request.payloadStart - NLMSG_HDRLEN;
        writer.bytes(request.source.bytes.subarray(header, request.payloadStart));
        if (text === undefined) return;
        writer.u16(5 + text.length);
        writer.u16(1);
        writer.cString(text);
        writer.padTo4();
      });
    });
  }

  #reply(write: (writer: ByteWriter) => void): void {
    if (this.#queue.length >= (this.#behaviour.receiveBufferReplies ?? Number.POSITIVE_INFINITY)) {
      this.#overrun = true;
      return;
    }
    const writer = new ByteWriter();
    write(writer);
    this.#queue.push(writer.written());
  }
}
