import { type ByteWriter, littleEndian, NetlinkDecodeError } from './bytes.ts';
import { encodeMessage, type MessageHeader, type NetlinkMessage } from './message.ts';
import {
  INET_DIAG_MSG_BYTES,
  IPPROTO_UDP,
  SOCK_DESTROY,
  SOCK_DIAG_BY_FAMILY,
  SOCKET_ID,
  SOCKET_STATE,
} from './uapi/sock-diag.ts';

/** One UDP socket that is connected. */
export interface ListedSocket {
  /** AF_INET or AF_INET6: of the socket, which may be connected to an IPv4 address as ::ffff:a.b.c.d. */
  readonly family: number;
  /** The number that no other socket of this kernel ever has. */
  readonly cookie: bigint;
  /** 4 or 16 bytes, network byte order, as the family has it. */
  readonly destination: Uint8Array;
  /** Host byte order. */
  readonly destinationPort: number;
  /** `struct inet_diag_sockid`, as the kernel wants it back to end the socket. */
  readonly id: Uint8Array;
}

const AF_INET = 2;
const AF_INET6 = 10;
/** Offsets in `struct inet_diag_msg`. */
const STATE_OFFSET = 1;
const ID_OFFSET = 4;

/**
 * Appends a request for the UDP sockets of a family that are connected.
 * @param destinationPort host order; 0 for any
 */
export function encodeListSockets(
  writer: ByteWriter,
  header: Omit<MessageHeader, 'type'>,
  family: number,
  destinationPort: number,
): number {
  return encodeMessage(writer, { ...header, type: SOCK_DIAG_BY_FAMILY }, () => {
    encodeRequestStart(writer, family);
    writer.be16(0);
    writer.be16(destinationPort);
    writer.zeros(SOCKET_ID.bytes - 4);
  });
}

/** Appends the end of a socket: ENOENT if it is gone, or another has its addresses. */
export function encodeEndSocket(
  writer: ByteWriter,
  header: Omit<MessageHeader, 'type'>,
  { family, id }: Pick<ListedSocket, 'family' | 'id'>,
): number {
  return encodeMessage(writer, { ...header, type: SOCK_DESTROY }, () => {
    encodeRequestStart(writer, family);
    writer.bytes(id);
  });
}

/**
 * Reads one socket of a list; its bytes are copies.
 * @returns undefined for one that is not connected, or of another family
 * @throws NetlinkDecodeError if it is cut short
 */
export function decodeListedSocket({
  source,
  payloadStart,
  payloadEnd,
}: NetlinkMessage): ListedSocket | undefined {
  if (payloadEnd - payloadStart < INET_DIAG_MSG_BYTES) {
    throw new NetlinkDecodeError('socket is cut short', payloadStart);
  }
  const { bytes, view } = source;
  const family = view.getUint8(payloadStart);
  const addressBytes = family === AF_INET ? 4 : family === AF_INET6 ? 16 : 0;
  const isConnected = (SOCKET_STATE.established & (1 << view.getUint8(payloadStart + STATE_OFFSET))) !== 0;
  if (addressBytes === 0 || !isConnected) return undefined;
  const at = payloadStart + ID_OFFSET;
  const destination = at + SOCKET_ID.destination;
  // Two u32, the lower half first, whatever the byte order.
  const low = BigInt(view.getUint32(at + SOCKET_ID.cookie, littleEndian));
  const high = BigInt(view.getUint32(at + SOCKET_ID.cookie + 4, littleEndian));
  return {
    family,
    cookie: (high << 32n) | low,
    destination: bytes.slice(destination, destination + addressBytes),
    destinationPort: view.getUint16(at + SOCKET_ID.destinationPort, false),
    id: bytes.slice(at, at + SOCKET_ID.bytes),
  };
}

/** How `struct inet_diag_req_v2` begins: family, protocol, extensions, pad, states. */
function encodeRequestStart(writer: ByteWriter, family: number): void {
  writer.u8(family);
  writer.u8(IPPROTO_UDP);
  writer.zeros(2);
  writer.u32(SOCKET_STATE.established);
}
