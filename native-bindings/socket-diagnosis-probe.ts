import { constants, endianness } from 'node:os';
import { SysError } from './errno.ts';
import { NETLINK_SOCK_DIAG, NetlinkSocket } from './netlink-socket.ts';
import { type Probe, probeOfError, SUPPORTED } from './probe.ts';

const { EAFNOSUPPORT, ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT, ESTALE } = constants.errno;
const littleEndian = endianness() === 'LE';
const ANSWER_TIMEOUT_MS = 2000;

// include/uapi/linux/netlink.h
const NLM_F_REQUEST = 0x01;
const NLM_F_ACK = 0x04;
const NLM_F_DUMP = 0x300;
const NLMSG_ERROR = 2;
const HEADER_BYTES = 16;
// include/uapi/linux/sock_diag.h, inet_diag.h
const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const REQUEST_BYTES = 56;
const AF_INET = 2;
const IPPROTO_UDP = 17;
/** Sockets are numbered from 1; all ones would mean any. */
const COOKIE_OF_NOBODY = 0xffff_fffe;

/**
 * Can UDP sockets be listed and ended over netlink? (CONFIG_INET_UDP_DIAG, CONFIG_INET_DIAG_DESTROY; ending takes
 * CAP_NET_ADMIN.) It asks to end a socket that nobody can have.
 */
export function probeEndingUdpSockets(): Probe {
  try {
    using socket = NetlinkSocket.open(NETLINK_SOCK_DIAG);
    // Both refuse with ENOENT, one for want of the module, the other for want of the socket.
    const listed = ask(socket, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP);
    if (listed !== 0) {
      return probeOfError(new SysError('list UDP sockets', listed), [ENOENT, EOPNOTSUPP]);
    }
  } catch (error) {
    return probeOfError(error, [EAFNOSUPPORT, EPROTONOSUPPORT]);
  }
  try {
    // A list may still be on its way in the other one.
    using socket = NetlinkSocket.open(NETLINK_SOCK_DIAG);
    const ended = ask(socket, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK);
    if (ended === ENOENT || ended === ESTALE) return SUPPORTED;
    return probeOfError(new SysError('end a UDP socket', ended), [EOPNOTSUPP, EPERM]);
  } catch (error) {
    return probeOfError(error, []);
  }
}

/** @returns the errno of the first answer, 0 if it is no error */
function ask(socket: NetlinkSocket, type: number, flags: number): number {
  socket.send(request(type, flags));
  const received = socket.receive(ANSWER_TIMEOUT_MS);
  if (received.kind !== 'datagram') throw new Error(`Cannot ask for UDP sockets: ${received.kind}`);
  const view = new DataView(received.bytes.buffer, received.bytes.byteOffset, received.bytes.byteLength);
  return view.getUint16(4, littleEndian) === NLMSG_ERROR ? -view.getInt32(HEADER_BYTES, littleEndian) : 0;
}

/** struct inet_diag_req_v2 for UDP over IPv4 in no state, from port 0 of no address. */
function request(type: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + REQUEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, littleEndian); // nlmsg_len
  view.setUint16(4, type, littleEndian); // nlmsg_type
  view.setUint16(6, flags, littleEndian); // nlmsg_flags
  view.setUint32(8, 1, littleEndian); // nlmsg_seq
  view.setUint8(HEADER_BYTES, AF_INET); // sdiag_family
  view.setUint8(HEADER_BYTES + 1, IPPROTO_UDP); // sdiag_protocol
  view.setUint32(HEADER_BYTES + 48, COOKIE_OF_NOBODY, littleEndian); // idiag_cookie[0]
  view.setUint32(HEADER_BYTES + 52, COOKIE_OF_NOBODY, littleEndian); // idiag_cookie[1]
  return bytes;
}
