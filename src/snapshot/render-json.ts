import { canonicalSnapshot } from './canonical.ts';
import type {
  Snapshot,
  SnapshotAnnouncement,
  SnapshotChain,
  SnapshotNftables,
  SnapshotRealServer,
  SnapshotSet,
  SnapshotSocket,
  SnapshotSockets,
  SnapshotSyncDaemon,
  SnapshotVirtualServer,
  Tunnel,
} from './snapshot.ts';

type Key =
  | keyof Snapshot
  | keyof SnapshotVirtualServer
  | keyof SnapshotRealServer
  | keyof Tunnel
  | keyof SnapshotNftables
  | keyof SnapshotChain
  | keyof SnapshotSet
  | keyof SnapshotSockets
  | keyof SnapshotSocket
  | keyof SnapshotAnnouncement
  | keyof SnapshotSyncDaemon
  | keyof Snapshot['rejected'][number];

/** Every key of a snapshot, in the order it is written within its object; a key that is missing does not compile. */
const KEY_ORDER = {
  version: true,
  node: true,
  addresses: true,
  routes: true,
  virtualServers: true,
  nftables: true,
  sockets: true,
  announcements: true,
  connectionSync: true,
  rejected: true,
  subject: true,
  reason: true,
  type: true,
  address: true,
  port: true,
  checksum: true,
  protocol: true,
  firewallMark: true,
  family: true,
  group: true,
  priority: true,
  mayHold: true,
  role: true,
  interface: true,
  id: true,
  scheduler: true,
  schedulerFlags: true,
  persistenceTimeoutSeconds: true,
  persistenceNetmask: true,
  persistenceEngine: true,
  onePacket: true,
  exposure: true,
  service: true,
  servicePort: true,
  owner: true,
  isCutOff: true,
  algorithm: true,
  affinitySeconds: true,
  realServers: true,
  weight: true,
  forwarding: true,
  tunnel: true,
  upperThreshold: true,
  lowerThreshold: true,
  activeConnections: true,
  inactiveConnections: true,
  table: true,
  chains: true,
  sets: true,
  others: true,
  name: true,
  declaration: true,
  rules: true,
  elements: true,
  mode: true,
  programs: true,
  services: true,
} as const satisfies { readonly [key in Key]: true };

/** The canonical JSON of a snapshot, version 1: equal states give equal text, on every machine. */
export function renderJson(snapshot: Snapshot): string {
  return `${JSON.stringify(canonicalSnapshot(snapshot), Object.keys(KEY_ORDER), 2)}\n`;
}
