import { unreachable } from '../model/brand.ts';
import { canonicalSnapshot, identityOf } from './canonical.ts';
import { ipvsadmEndpoint, ipvsadmFlags, ipvsadmForwarding, ipvsadmMark } from './ipvsadm-text.ts';
import type { Snapshot, SnapshotRealServer, SnapshotVirtualServer } from './snapshot.ts';

/** What the first line of the listing says about the kernel. */
export interface IpvsInfo {
  /** IPVS in the kernel, not Linux. */
  readonly version: string;
  /** Buckets of the connection table. */
  readonly connectionTableSize: number;
}

/** A Linux whose connection table nobody has resized, for snapshots that no kernel was asked about. */
const DEFAULT_INFO: IpvsInfo = { version: '1.2.1', connectionTableSize: 4096 };

/** What `ipvsadm -Ln` (1.31) prints for this state, rows in canonical order; trailing blanks included. */
export function renderIpvsadm(snapshot: Snapshot, info: IpvsInfo = DEFAULT_INFO): string {
  return [
    `IP Virtual Server version ${info.version} (size=${info.connectionTableSize})\n`,
    'Prot LocalAddress:Port Scheduler Flags\n',
    '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n',
    ...canonicalSnapshot(snapshot).virtualServers.map(renderVirtualServer),
  ].join('');
}

function renderVirtualServer(virtualServer: SnapshotVirtualServer): string {
  const { scheduler } = virtualServer;
  return [
    `${renderService(virtualServer)} ${scheduler}${renderFlags(virtualServer)}\n`,
    ...virtualServer.realServers.map(renderRealServer),
  ].join('');
}

function renderService(virtualServer: SnapshotVirtualServer): string {
  const identity = identityOf(virtualServer);
  switch (identity.kind) {
    case 'address':
      return `${identity.protocol.padEnd(4)} ${ipvsadmEndpoint(identity.address, identity.port)}`;
    case 'firewallMark':
      return `FWM  ${ipvsadmMark(identity.firewallMark)}${identity.family === 'IPv6' ? ' IPv6' : ''}`;
    default:
      return unreachable(identity);
  }
}

function renderFlags(virtualServer: SnapshotVirtualServer): string {
  const { persistenceTimeoutSeconds, persistenceNetmask, persistenceEngine, onePacket } = virtualServer;
  const flags = ipvsadmFlags(virtualServer);
  let text = flags === undefined ? '' : ` (${flags})`;
  if (persistenceTimeoutSeconds !== null) {
    text += ` persistent ${persistenceTimeoutSeconds}`;
    if (persistenceNetmask) text += ` mask ${persistenceNetmask}`;
    if (persistenceEngine) text += ` pe ${persistenceEngine}`;
  }
  return onePacket ? `${text} ops` : text;
}

function renderRealServer(realServer: SnapshotRealServer): string {
  const columns = [
    ipvsadmEndpoint(realServer.address, realServer.port).padEnd(28),
    ipvsadmForwarding(realServer.forwarding).name.padEnd(7),
    String(realServer.weight).padEnd(6),
    String(realServer.activeConnections ?? 0).padEnd(10),
    String(realServer.inactiveConnections ?? 0).padEnd(10),
  ];
  return `  -> ${columns.join(' ')}\n`;
}
