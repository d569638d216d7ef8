import { accessSync, constants as fsConstants, readFileSync } from 'node:fs';
import { constants, endianness } from 'node:os';
import { SysError } from './errno.ts';
import { NETLINK_GENERIC, NetlinkSocket } from './netlink-socket.ts';

/** What a look at the running kernel gave. `unknown`: the look itself failed, so ask again later. */
export type Probe =
  | { readonly outcome: 'supported' }
  | { readonly outcome: 'unsupported'; readonly reason: string }
  | { readonly outcome: 'unknown'; readonly reason: string };

/** Capability numbers. @see include/uapi/linux/capability.h */
export const CAPABILITY = {
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_MODULE: 16,
  CAP_SYS_ADMIN: 21,
  CAP_BPF: 39,
} as const;

/** The answer that needs no reason. */
export const SUPPORTED: Probe = { outcome: 'supported' };
const { EACCES, EAFNOSUPPORT, ENOENT, EPERM, EPROTONOSUPPORT, EROFS } = constants.errno;
const littleEndian = endianness() === 'LE';
const ANSWER_TIMEOUT_MS = 2000;

/** Remembers conclusive outcomes by name: they hold for the life of the process. `unknown` is asked again. */
export class ProbeCache {
  readonly #conclusive = new Map<string, Probe>();

  /** The remembered outcome of this name, else what `look` gives now. */
  probe(name: string, look: () => Probe): Probe {
    const known = this.#conclusive.get(name);
    if (known !== undefined) return known;
    const outcome = look();
    if (outcome.outcome !== 'unknown') this.#conclusive.set(name, outcome);
    return outcome;
  }
}

/** Does the kernel have this generic netlink family? Asking loads the module that provides it, if there is one. */
export function probeGenericNetlinkFamily(name: string): Probe {
  try {
    using socket = NetlinkSocket.open(NETLINK_GENERIC);
    socket.send(familyRequest(name));
    const received = socket.receive(ANSWER_TIMEOUT_MS);
    if (received.kind !== 'datagram') return { outcome: 'unknown', reason: `no answer: ${received.kind}` };
    const errno = errnoOfReply(received.bytes);
    if (errno === 0) return SUPPORTED;
    const reason = new SysError(`look up generic netlink family ${name}`, errno).message;
    return { outcome: errno === ENOENT ? 'unsupported' : 'unknown', reason };
  } catch (error) {
    return probeOfError(error, [EAFNOSUPPORT, EPROTONOSUPPORT]);
  }
}

/** Does this process have the capability in effect? Says nothing about the user namespace that it holds in. */
export function probeCapability(name: keyof typeof CAPABILITY): Probe {
  try {
    const held = effectiveCapabilities(readFileSync('/proc/self/status', 'utf8'));
    if (held === undefined) return { outcome: 'unknown', reason: '/proc/self/status has no CapEff' };
    const bit = 1n << BigInt(CAPABILITY[name]);
    return held & bit ? SUPPORTED : { outcome: 'unsupported', reason: `the process lacks ${name}` };
  } catch (error) {
    return probeOfError(error, []);
  }
}

/** May this process write the file? Unprivileged containers mount /proc/sys read-only. */
export function probeWritable(path: string): Probe {
  try {
    accessSync(path, fsConstants.W_OK);
    return SUPPORTED;
  } catch (error) {
    return probeOfError(error, [EACCES, EPERM, EROFS, ENOENT]);
  }
}

/**
 * The CapEff line of /proc/PID/status as a bit set, undefined if there is none.
 * @see Documentation/filesystems/proc.rst
 */
export function effectiveCapabilities(status: string): bigint | undefined {
  const digits = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return digits === undefined ? undefined : BigInt(`0x${digits}`);
}

/** CTRL_CMD_GETFAMILY with CTRL_ATTR_FAMILY_NAME. @see include/uapi/linux/genetlink.h */
function familyRequest(name: string): Uint8Array {
  const attribute = Buffer.from(`${name}\0`);
  const length = 24 + attribute.length;
  const bytes = new Uint8Array((length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, length, littleEndian); // nlmsg_len
  view.setUint16(4, 0x10, littleEndian); // nlmsg_type GENL_ID_CTRL
  view.setUint16(6, 0x01, littleEndian); // nlmsg_flags NLM_F_REQUEST
  view.setUint32(8, 1, littleEndian); // nlmsg_seq
  view.setUint8(16, 3); // cmd CTRL_CMD_GETFAMILY
  view.setUint8(17, 2); // version
  view.setUint16(20, 4 + attribute.length, littleEndian); // nla_len
  view.setUint16(22, 2, littleEndian); // nla_type CTRL_ATTR_FAMILY_NAME
  bytes.set(attribute, 24);
  return bytes;
}

/** The errno in an NLMSG_ERROR, 0 for any other message. @see include/uapi/linux/netlink.h struct nlmsgerr */
function errnoOfReply(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const NLMSG_ERROR = 2;
  return view.getUint16(4, littleEndian) === NLMSG_ERROR ? -view.getInt32(16, littleEndian) : 0;
}

/** Some errors are an answer, the rest is no more than a failed look. */
export function probeOfError(error: unknown, conclusive: readonly number[]): Probe {
  if (!(error instanceof Error)) return { outcome: 'unknown', reason: String(error) };
  const errno = 'errno' in error && typeof error.errno === 'number' ? Math.abs(error.errno) : undefined;
  const answered = errno !== undefined && conclusive.includes(errno);
  return { outcome: answered ? 'unsupported' : 'unknown', reason: error.message };
}
