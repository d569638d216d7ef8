import { attributeCodec, type Schema } from './attributes.ts';
import { align4, type ByteView, type ByteWriter, littleEndian, NetlinkDecodeError } from './bytes.ts';
import {
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_HDRLEN,
  NLMSGERR_ATTR_MSG,
  NLMSGERR_ATTR_OFFS,
} from './uapi/nlmsg.ts';

/** One message of a datagram: its header, and where its payload lies in `source`. @see struct nlmsghdr */
export interface NetlinkMessage {
  /** NLMSG_* below 16, else the family's own type. */
  readonly type: number;
  /** NLM_F_*. */
  readonly flags: number;
  readonly sequence: number;
  /** The socket that the message belongs to; 0 before the kernel has filled it in. */
  readonly portId: number;
  /** The whole datagram. Valid as long as the memory it was received into. */
  readonly source: ByteView;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

/** Header fields that the sender chooses. */
export interface MessageHeader {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
}

const FLAGS_OFFSET = 6;
const MAX_SEQUENCE = 0xffff_ffff;

/**
 * The messages of a datagram, in order.
 * @throws NetlinkDecodeError on a length that does not fit
 */
export function* decodeMessages(source: ByteView): Generator<NetlinkMessage, void, undefined> {
  const { view } = source;
  const end = source.bytes.length;
  let at = 0;
  while (at < end) {
    if (end - at < NLMSG_HDRLEN) throw new NetlinkDecodeError('message header is cut short', at);
    const length = view.getUint32(at, littleEndian);
    if (length < NLMSG_HDRLEN || length > end - at) {
      throw new NetlinkDecodeError(`message length ${length} does not fit ${end - at} bytes`, at);
    }
    yield {
      type: view.getUint16(at + 4, littleEndian),
      flags: view.getUint16(at + FLAGS_OFFSET, littleEndian),
      sequence: view.getUint32(at + 8, littleEndian),
      portId: view.getUint32(at + 12, littleEndian),
      source,
      payloadStart: at + NLMSG_HDRLEN,
      payloadEnd: at + length,
    };
    at += align4(length);
  }
}

/**
 * Appends a message; `writePayload` appends its payload. The port id is left 0: the kernel knows the sender.
 * @returns the offset of the message, for `addMessageFlags`
 */
export function encodeMessage(writer: ByteWriter, header: MessageHeader, writePayload: () => void): number {
  const start = writer.length;
  writer.u32(0);
  writer.u16(header.type);
  writer.u16(header.flags);
  writer.u32(header.sequence);
  writer.u32(0);
  writePayload();
  writer.patchU32(start, writer.length - start);
  writer.padTo4();
  return start;
}

/** Replaces the flags of a written message. @param start what `encodeMessage` returned */
export function replaceMessageFlags(writer: ByteWriter, start: number, flags: number): void {
  writer.patchU16(start + FLAGS_OFFSET, flags);
}

/** The next sequence number. 0 is left out: it marks what was not asked for. */
export function nextSequence(sequence: number): number {
  return sequence >= MAX_SEQUENCE ? 1 : sequence + 1;
}

/** The answer to one request: an acknowledgement if `errno` is 0. */
export interface Acknowledgement {
  /** Positive; 0 is success. */
  readonly errno: number;
  /** The kernel's words, where it has some. @see NLMSGERR_ATTR_MSG */
  readonly message?: string;
  /** Offset in the request of the attribute that is at fault, in bytes. @see NLMSGERR_ATTR_OFFS */
  readonly attributeOffset?: number;
}

const extendedAcknowledgement = attributeCodec({
  message: { type: NLMSGERR_ATTR_MSG, kind: 'string' },
  attributeOffset: { type: NLMSGERR_ATTR_OFFS, kind: 'u32' },
} as const satisfies Schema);

/**
 * Reads the payload of an NLMSG_ERROR. @see struct nlmsgerr
 * @throws NetlinkDecodeError if it is cut short
 */
export function decodeAcknowledgement(message: NetlinkMessage): Acknowledgement {
  const { source, payloadStart, payloadEnd } = message;
  const errno = decodeErrno(message);
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno };
  const requestStart = payloadStart + 4;
  if (payloadEnd - requestStart < NLMSG_HDRLEN) {
    throw new NetlinkDecodeError('the refused message is cut short', requestStart);
  }
  const echoed =
    message.flags & NLM_F_CAPPED ? NLMSG_HDRLEN : source.view.getUint32(requestStart, littleEndian);
  // align4 works on 32-bit integers, so a forged length must be refused before it.
  if (echoed > payloadEnd - requestStart) {
    throw new NetlinkDecodeError(`echoed message length ${echoed} does not fit`, requestStart);
  }
  const attributes = extendedAcknowledgement.decode(source, requestStart + align4(echoed), payloadEnd);
  return {
    errno,
    ...(attributes.message === undefined ? {} : { message: attributes.message }),
    ...(attributes.attributeOffset === undefined ? {} : { attributeOffset: attributes.attributeOffset }),
  };
}

/**
 * The errno that ends a dump: 0 for a complete one. NLMSG_DONE carries it since Linux 4.14 and is empty before.
 * @throws NetlinkDecodeError if it is cut short
 */
export function decodeDone(message: NetlinkMessage): number {
  return message.payloadStart === message.payloadEnd ? 0 : decodeErrno(message);
}

/** The kernel writes errnos negative. */
function decodeErrno(message: NetlinkMessage): number {
  if (message.payloadEnd - message.payloadStart < 4) {
    throw new NetlinkDecodeError('error number is cut short', message.payloadStart);
  }
  return Math.abs(message.source.view.getInt32(message.payloadStart, littleEndian));
}
