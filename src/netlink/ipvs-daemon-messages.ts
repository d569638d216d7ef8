import { attributeCodec } from './attributes.ts';
import { NetlinkDecodeError } from './bytes.ts';
import { decodeGenlAttributes, type GenlRequest } from './genl.ts';
import type { NetlinkMessage } from './message.ts';
import { DAEMON_STATE, IPVS_COMMAND, IPVS_GENL_VERSION, ipvsDaemonSchema } from './uapi/ipvs.ts';

/** A kernel thread of connection synchronisation: at most one of each state in a network namespace. */
export interface Daemon {
  /** DAEMON_STATE */
  readonly state: number;
  /** The link it sends or listens on. */
  readonly interface: string;
  /** 1 to 255; a backup of 0 takes the connections of all. */
  readonly id: number;
}

type DaemonRequest = GenlRequest<typeof ipvsDaemonSchema>;

/** Between IPVS's nodes; group 224.0.0.81, UDP port 8848 and TTL 1 are the kernel's defaults. */
const codec = attributeCodec(ipvsDaemonSchema);

/** Refused with EEXIST if one of this state runs, ENODEV if there is no such link. */
export function newDaemon(daemon: Daemon): DaemonRequest {
  const { state, interface: link, id } = daemon;
  return request(IPVS_COMMAND.newDaemon, { daemon: { state, interface: link, id } });
}

/** Whatever its link and id are. Refused with ESRCH if none of this state runs. */
export function deleteDaemon(state: number): DaemonRequest {
  return request(IPVS_COMMAND.deleteDaemon, { daemon: { state } });
}

/** Those that run, with `dump`. */
export function getDaemons(): DaemonRequest {
  return request(IPVS_COMMAND.getDaemon, {});
}

/** Reads a row of `getDaemons`. @throws NetlinkDecodeError */
export function decodeDaemon(message: NetlinkMessage): Daemon {
  const { daemon } = decodeGenlAttributes(message, codec);
  const { state, interface: link, id } = daemon ?? {};
  const isKnown = state === DAEMON_STATE.master || state === DAEMON_STATE.backup;
  if (!isKnown || link === undefined || id === undefined) {
    throw new NetlinkDecodeError('a daemon lacks state, link or id', message.payloadStart);
  }
  return { state, interface: link, id };
}

function request(command: number, attributes: DaemonRequest['attributes']): DaemonRequest {
  return { command, version: IPVS_GENL_VERSION, codec, attributes };
}
