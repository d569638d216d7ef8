import { type AttributesOf, attributeCodec } from './attributes.ts';
import { align4, type ByteWriter, littleEndian, NetlinkDecodeError } from './bytes.ts';
import { encodeMessage, type MessageHeader, type NetlinkMessage } from './message.ts';
import {
  CONNTRACK_MESSAGE,
  CTA_ID,
  CTA_IP_V4_DST,
  CTA_IP_V4_SRC,
  CTA_PROTO_DST_PORT,
  CTA_PROTO_NUM,
  CTA_PROTO_SRC_PORT,
  CTA_TUPLE_IP,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_PROTO,
  CTA_TUPLE_REPLY,
  CTA_ZONE,
  FILTER_FLAG,
  flowSchema,
  NFGENMSG_BYTES,
  NFNETLINK_V0,
} from './uapi/ctnetlink.ts';

/** CTA_*, both ways. For single flows: a dump is read with {@link locateFlow}. */
export const flowCodec = attributeCodec(flowSchema);

export type FlowAttributes = AttributesOf<typeof flowSchema>;

/** What a dump is to be narrowed to. */
export interface FlowFilter {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** IPPROTO_* of the original direction. */
  readonly protocol: number;
  /** Of the original direction; null for any. The address in 4 or 16 bytes, the port in host order. */
  readonly destination: { readonly address: Uint8Array; readonly port: number } | null;
}

/** Appends a ctnetlink message. @param header its type is one of CONNTRACK_MESSAGE */
export function encodeConntrackMessage(
  writer: ByteWriter,
  header: MessageHeader,
  family: number,
  attributes: FlowAttributes,
): number {
  return encodeMessage(writer, header, () => {
    encodeNfgenmsg(writer, family);
    flowCodec.encode(writer, attributes);
  });
}

/** The attributes of a ctnetlink message. @throws NetlinkDecodeError */
export function decodeFlow(message: NetlinkMessage): FlowAttributes {
  return flowCodec.decode(message.source, message.payloadStart + NFGENMSG_BYTES, message.payloadEnd);
}

/**
 * What a dump request carries for the kernel to filter by; a kernel before 5.8 filters by the family alone. Not by an
 * IPv6 address: Linux takes the flows whose address is another (ctnetlink_filter_match_tuple negates ipv6_addr_cmp;
 * seen on 6.1 and 7.2).
 */
export function filterAttributes({ protocol, destination }: FlowFilter): FlowAttributes {
  if (destination === null) {
    const original = { protocol: { number: protocol } };
    return { original, filter: { original: FILTER_FLAG.protocol } };
  }
  const { address, port } = destination;
  const byPort = FILTER_FLAG.protocol | FILTER_FLAG.destinationPort;
  const ports = { number: protocol, destinationPort: port };
  if (address.length !== 4) return { original: { protocol: ports }, filter: { original: byPort } };
  return {
    original: { ip: { ipv4Destination: address }, protocol: ports },
    filter: { original: byPort | FILTER_FLAG.destination },
  };
}

/**
 * Where in a datagram the parts of a flow lie, as offsets into its bytes; 0 where there is none. One object serves
 * for a whole dump: decoding each flow into objects costs several times as much.
 */
export interface FlowLocation {
  /** Values, without their headers. */
  protocol: number;
  originalDestination: number;
  originalDestinationPort: number;
  replySource: number;
  replySourcePort: number;
  /** Attributes, with their headers. */
  original: number;
  id: number;
  zone: number;
}

/** A location that says nothing yet. */
export function emptyLocation(): FlowLocation {
  return {
    protocol: 0,
    originalDestination: 0,
    originalDestinationPort: 0,
    replySource: 0,
    replySourcePort: 0,
    original: 0,
    id: 0,
    zone: 0,
  };
}

/**
 * Finds the parts of the flow in a message of a dump.
 * @param addressBytes 4 or 16: flows with addresses of another length are none of the family
 * @returns whether it has addresses of the family and ports, as a flow of UDP, SCTP or TCP has
 * @throws NetlinkDecodeError on a length that does not fit
 */
export function locateFlow(message: NetlinkMessage, addressBytes: number, into: FlowLocation): boolean {
  const start = message.payloadStart + NFGENMSG_BYTES;
  const end = message.payloadEnd;
  into.original = findAttribute(message, start, end, CTA_TUPLE_ORIG);
  into.id = findAttribute(message, start, end, CTA_ID);
  into.zone = findAttribute(message, start, end, CTA_ZONE);
  const reply = findAttribute(message, start, end, CTA_TUPLE_REPLY);
  // CTA_IP_V6_* follow CTA_IP_V4_*.
  const ofIpv6 = addressBytes === 4 ? 0 : 2;
  const ip = findWithin(message, into.original, CTA_TUPLE_IP);
  const ports = findWithin(message, into.original, CTA_TUPLE_PROTO);
  const replyIp = findWithin(message, reply, CTA_TUPLE_IP);
  const replyPorts = findWithin(message, reply, CTA_TUPLE_PROTO);
  into.protocol = valueWithin(message, ports, CTA_PROTO_NUM, 1);
  into.originalDestination = valueWithin(message, ip, CTA_IP_V4_DST + ofIpv6, addressBytes);
  into.originalDestinationPort = valueWithin(message, ports, CTA_PROTO_DST_PORT, 2);
  into.replySource = valueWithin(message, replyIp, CTA_IP_V4_SRC + ofIpv6, addressBytes);
  into.replySourcePort = valueWithin(message, replyPorts, CTA_PROTO_SRC_PORT, 2);
  return (
    into.protocol > 0 &&
    into.originalDestination > 0 &&
    into.originalDestinationPort > 0 &&
    into.replySource > 0 &&
    into.replySourcePort > 0
  );
}

/** Appends the deletion of a located flow, by its original tuple, zone and id. ENOENT if it is gone, or is another. */
export function encodeDeleteFlow(
  writer: ByteWriter,
  header: Omit<MessageHeader, 'type'>,
  family: number,
  message: NetlinkMessage,
  flow: FlowLocation,
): number {
  return encodeMessage(writer, { ...header, type: CONNTRACK_MESSAGE.delete }, () => {
    encodeNfgenmsg(writer, family);
    for (const at of [flow.original, flow.zone, flow.id]) {
      if (at === 0) continue;
      writer.bytes(message.source.bytes.subarray(at, at + attributeLength(message, at)));
      writer.padTo4();
    }
  });
}

const ATTRIBUTE_HEADER_BYTES = 4;
const TYPE_MASK = 0x3fff;

/** The value of an attribute within another one at `parent`, if it has so many bytes; else 0. */
function valueWithin(message: NetlinkMessage, parent: number, type: number, bytes: number): number {
  const at = findWithin(message, parent, type);
  return at > 0 && attributeLength(message, at) === ATTRIBUTE_HEADER_BYTES + bytes
    ? at + ATTRIBUTE_HEADER_BYTES
    : 0;
}

function findWithin(message: NetlinkMessage, parent: number, type: number): number {
  if (parent === 0) return 0;
  const end = parent + attributeLength(message, parent);
  return findAttribute(message, parent + ATTRIBUTE_HEADER_BYTES, end, type);
}

/** The offset of the first attribute of a type between two offsets; 0 if there is none. */
function findAttribute(message: NetlinkMessage, start: number, end: number, type: number): number {
  const { view } = message.source;
  for (let at = start; at < end; ) {
    if (end - at < ATTRIBUTE_HEADER_BYTES) throw new NetlinkDecodeError('attribute header is cut short', at);
    const length = attributeLength(message, at);
    if (length < ATTRIBUTE_HEADER_BYTES || length > end - at) {
      throw new NetlinkDecodeError(`attribute length ${length} does not fit ${end - at} bytes`, at);
    }
    if ((view.getUint16(at + 2, littleEndian) & TYPE_MASK) === type) return at;
    at += align4(length);
  }
  return 0;
}

function attributeLength({ source }: NetlinkMessage, at: number): number {
  return source.view.getUint16(at, littleEndian);
}

/** `struct nfgenmsg`, with which all messages of netfilter begin. */
export function encodeNfgenmsg(writer: ByteWriter, family: number): void {
  writer.u8(family);
  writer.u8(NFNETLINK_V0);
  writer.be16(0);
}
