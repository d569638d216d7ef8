import { realServerKey } from '../model/virtual-server.ts';
import { canonicalSnapshot, keyOf, socketKeyOf } from './canonical.ts';
import type {
  Snapshot,
  SnapshotAnnouncement,
  SnapshotNftables,
  SnapshotRealServer,
  SnapshotSockets,
  SnapshotSyncDaemon,
  SnapshotVirtualServer,
  Tunnel,
} from './snapshot.ts';

/**
 * One line per row: addresses, routes, then each virtual server followed by its real servers, then elements of
 * nftables sets, the socket balancer with its frontends, groups of VRRP, daemons of connection synchronisation, then what
 * was rejected. Each line names its row in full, so that a line found by grep or diff needs no context.
 */
export function renderText(snapshot: Snapshot): string {
  const {
    addresses,
    routes = [],
    virtualServers,
    nftables,
    sockets,
    announcements = [],
    connectionSync = [],
    rejected,
  } = canonicalSnapshot(snapshot);
  return [
    ...addresses.map((address) => `address ${address}\n`),
    ...routes.map((route) => `route ${route}\n`),
    ...virtualServers.map(renderRows),
    ...(nftables ? elementLines(nftables).map((line) => `nft ${line}\n`) : []),
    ...(sockets ? socketLines(sockets).map((line) => `${line}\n`) : []),
    ...announcementLines(announcements).map((line) => `${line}\n`),
    ...syncDaemonLines(connectionSync).map((line) => `${line}\n`),
    ...rejected.map(({ subject, reason }) => `rejected ${subject}: ${reason}\n`),
  ].join('');
}

/** `masquerade4 203.0.113.9 . tcp . 80`, for every element of every set. */
export function elementLines({ sets }: SnapshotNftables): readonly string[] {
  return sets.flatMap(({ name, elements }) => elements.map((element) => `${name} ${element}`));
}

/** The switch, then a line for each frontend: `socket TCP 10.96.0.50:80 random 10.244.1.20:8080`. */
export function socketLines({ mode, programs, services }: SnapshotSockets): readonly string[] {
  return [
    `sockets ${mode}, programs ${programs}`,
    ...services.map((socket) => {
      const { algorithm, affinitySeconds, realServers } = socket;
      const servers = realServers.map(
        (server) => `${realServerKey(server)}${server.weight === 1 ? '' : ` weight ${server.weight}`}`,
      );
      const affinity = affinitySeconds === undefined ? [] : [`affinity ${affinitySeconds}`];
      return ['socket', socketKeyOf(socket), algorithm, ...affinity, ...servers].join(' ');
    }),
  ];
}

/** `vrrp IPv4 group 12 priority 200 10.10.0.1 10.10.0.2`, and `not here` where this node may not hold them. */
export function announcementLines(announcements: readonly SnapshotAnnouncement[]): readonly string[] {
  return announcements.map(({ group, family, priority, mayHold, addresses }) =>
    [
      `vrrp ${family} group ${group} priority ${priority}`,
      ...(mayHold ? [] : ['not here']),
      ...addresses,
    ].join(' '),
  );
}

/** `connsync master eth0 id 83`. */
export function syncDaemonLines(daemons: readonly SnapshotSyncDaemon[]): readonly string[] {
  return daemons.map(
    ({ role, interface: link, id, isCutOff = false }) =>
      `connsync ${role} ${link} id ${id}${isCutOff ? ', cut off' : ''}`,
  );
}

function renderRows(virtualServer: SnapshotVirtualServer): string {
  const key = keyOf(virtualServer);
  return [
    `${key} ${describeVirtualServer(virtualServer)}\n`,
    ...virtualServer.realServers.map(
      (realServer) => `${key} -> ${realServerKey(realServer)} ${describeRealServer(realServer)}\n`,
    ),
  ].join('');
}

/** Everything but the key: `rr persistent 10800 ClusterIP web/front:http`. */
export function describeVirtualServer(virtualServer: SnapshotVirtualServer): string {
  const { persistenceTimeoutSeconds, persistenceNetmask, persistenceEngine, service } = virtualServer;
  const words: string[] = [virtualServer.scheduler];
  if (virtualServer.schedulerFlags?.length) words.push(virtualServer.schedulerFlags.join(','));
  if (persistenceTimeoutSeconds !== null) words.push(`persistent ${persistenceTimeoutSeconds}`);
  if (persistenceNetmask) words.push(`mask ${persistenceNetmask}`);
  if (persistenceEngine) words.push(`pe ${persistenceEngine}`);
  if (virtualServer.onePacket) words.push('one-packet');
  if (virtualServer.exposure) words.push(virtualServer.exposure);
  if (service) words.push(virtualServer.servicePort ? `${service}:${virtualServer.servicePort}` : service);
  if (virtualServer.owner === 'foreign') words.push('foreign');
  return words.join(' ');
}

/** Everything but the key: `masquerade weight 1`. */
export function describeRealServer(realServer: SnapshotRealServer): string {
  const { upperThreshold, lowerThreshold, tunnel, activeConnections, inactiveConnections } = realServer;
  const words = [realServer.forwarding, `weight ${realServer.weight}`];
  if (tunnel) words.push(describeTunnel(tunnel));
  if (upperThreshold) words.push(`upper threshold ${upperThreshold}`);
  if (lowerThreshold) words.push(`lower threshold ${lowerThreshold}`);
  if (activeConnections) words.push(`active ${activeConnections}`);
  if (inactiveConnections) words.push(`inactive ${inactiveConnections}`);
  return words.join(' ');
}

/** `gue port 6080 csum`. */
export function describeTunnel({ type, port, checksum }: Tunnel): string {
  return [type, port > 0 && `port ${port}`, checksum !== 'none' && checksum].filter(Boolean).join(' ');
}
