import fc from 'fast-check';
import { addressFromBytes, familyOf, type IpAddress, type IpFamily } from '../../src/model/address.ts';
import { realServerKey } from '../../src/model/virtual-server.ts';
import { keyOf, socketKeyOf } from '../../src/snapshot/canonical.ts';
import type {
  Snapshot,
  SnapshotRealServer,
  SnapshotSocket,
  SnapshotSockets,
  SnapshotSyncDaemon,
  SnapshotVirtualServer,
} from '../../src/snapshot/snapshot.ts';

/** Addresses of few values, so that keys collide between snapshots. */
export function address(family: IpFamily): fc.Arbitrary<IpAddress> {
  const bytes = family === 'IPv4' ? [10, 0, 0] : [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const near = fc.integer({ min: 1, max: 6 }).map((last) => addressFromBytes(Uint8Array.of(...bytes, last)));
  const length = bytes.length + 1;
  const any = fc.uint8Array({ minLength: length, maxLength: length }).map(addressFromBytes);
  return fc.oneof({ weight: 4, arbitrary: near }, { weight: 1, arbitrary: any });
}

const family = fc.constantFrom<IpFamily[]>('IPv4', 'IPv6');
const anyAddress = family.chain(address);
const port = fc.oneof(fc.integer({ min: 79, max: 82 }), fc.integer({ min: 0, max: 65_535 }));
const count = fc.integer({ min: 1, max: 0xffff_ffff });
const optional = { requiredKeys: [] };

const tunnel = fc.record({
  type: fc.constantFrom('gue' as const, 'gre' as const),
  port,
  checksum: fc.constantFrom('none' as const, 'csum' as const, 'remcsum' as const),
});

const realServer: fc.Arbitrary<SnapshotRealServer> = fc
  .tuple(
    fc.record({
      address: anyAddress,
      port,
      weight: fc.integer({ min: 0, max: 3 }),
      forwarding: fc.constantFrom('masquerade' as const, 'direct' as const, 'tunnel' as const),
    }),
    fc.record({ upperThreshold: count, lowerThreshold: count, activeConnections: count }, optional),
    fc.option(tunnel),
  )
  .map(([base, limits, encapsulation]) => ({
    ...base,
    ...limits,
    ...(encapsulation && base.forwarding === 'tunnel' && { tunnel: encapsulation }),
  }));

const identity = fc.oneof(
  fc.record({
    address: anyAddress,
    port,
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const, 'SCTP' as const),
  }),
  fc.record({
    address: fc.constant(null),
    port: fc.constant(null),
    protocol: fc.constant(null),
    firewallMark: fc.oneof(fc.integer({ min: 1, max: 3 }), count),
    family,
  }),
);

const origin = fc.oneof(
  fc.constant({ exposure: null, service: null, servicePort: null, owner: 'foreign' as const }),
  fc.record({
    exposure: fc.constantFrom('ClusterIP' as const, 'NodePort' as const),
    service: fc.constantFrom('web/front', 'web/back'),
    servicePort: fc.constantFrom('', 'http'),
  }),
);

const virtualServer: fc.Arbitrary<SnapshotVirtualServer> = fc
  .tuple(
    identity,
    fc.record({
      scheduler: fc.constantFrom('rr', 'wlc', 'sh', 'mh'),
      persistenceTimeoutSeconds: fc.option(fc.integer({ min: 1, max: 86_400 })),
      realServers: fc.uniqueArray(realServer, { selector: realServerKey, maxLength: 6 }),
    }),
    fc.record(
      {
        schedulerFlags: fc.subarray(['flag-1', 'flag-2', 'flag-3'] as const, { minLength: 1 }),
        onePacket: fc.constant(true),
      },
      optional,
    ),
    fc.boolean(),
    origin,
  )
  .map(([key, config, flags, withMask, from]) => ({
    ...key,
    ...config,
    ...flags,
    ...(withMask && config.persistenceTimeoutSeconds !== null && { persistenceNetmask: netmaskFor(key) }),
    ...from,
  }));

function netmaskFor(key: { address: IpAddress | null; family?: IpFamily }): string {
  const keyFamily = key.address === null ? key.family : familyOf(key.address);
  return keyFamily === 'IPv6' ? '64' : '255.255.255.0';
}

const socket: fc.Arbitrary<SnapshotSocket> = fc.record(
  {
    address: anyAddress,
    port: fc.constantFrom(53, 80),
    protocol: fc.constantFrom('TCP' as const, 'UDP' as const),
    algorithm: fc.constantFrom('random' as const, 'maglev' as const),
    affinitySeconds: fc.constantFrom(60, 10_800),
    realServers: fc.uniqueArray(
      realServer.map(({ address, port, weight }) => ({ address, port: Math.max(1, port), weight })),
      { selector: realServerKey, maxLength: 3 },
    ),
  },
  { requiredKeys: ['address', 'port', 'protocol', 'algorithm', 'realServers'] },
);

const sockets: fc.Arbitrary<SnapshotSockets> = fc.record({
  mode: fc.constantFrom('on' as const, 'off' as const, 'hostOnly' as const),
  programs: fc.constantFrom('attached' as const, 'partly' as const, 'absent' as const),
  services: fc.uniqueArray(socket, { selector: socketKeyOf, maxLength: 4 }),
});

const connectionSync: fc.Arbitrary<readonly SnapshotSyncDaemon[]> = fc.uniqueArray(
  fc
    .record({
      role: fc.constantFrom('master' as const, 'backup' as const),
      interface: fc.constantFrom('eth0', 'eth1'),
      id: fc.integer({ min: 0, max: 255 }),
      owner: fc.constantFrom('svcplane' as const, 'foreign' as const),
      isCutOff: fc.constantFrom(true as const, undefined),
    })
    .map(({ isCutOff, ...daemon }) => ({ ...daemon, ...(isCutOff && { isCutOff }) })),
  { selector: ({ role }) => role, minLength: 1 },
);

const withoutSockets = fc.record({
  version: fc.constant(1 as const),
  node: fc.constant('n0'),
  addresses: fc.uniqueArray(anyAddress, { maxLength: 6 }),
  routes: fc.uniqueArray(fc.constantFrom('10.96.0.0/16', 'fd00:10:96::/112', '10.97.0.0/16')),
  virtualServers: fc.uniqueArray(virtualServer, { selector: keyOf, maxLength: 8 }),
  rejected: fc.array(
    fc.record({ subject: fc.constantFrom('Service a/b', 'Service a/c'), reason: fc.string() }),
    {
      maxLength: 3,
    },
  ),
});

/** Snapshots whose rows have different keys, in any order. */
export const snapshot: fc.Arbitrary<Snapshot> = fc
  .tuple(withoutSockets, fc.option(sockets), fc.option(connectionSync))
  .map(([rest, given, daemons]) => ({
    ...rest,
    ...(given !== null && { sockets: given }),
    ...(daemons !== null && { connectionSync: daemons }),
  }));

/** The same rows in another order. */
export function shuffled(of: Snapshot): fc.Arbitrary<Snapshot> {
  const anyOrder = <T>(rows: readonly T[]) => fc.shuffledSubarray([...rows], { minLength: rows.length });
  const virtualServers = fc
    .tuple(
      ...of.virtualServers.map((row) =>
        anyOrder(row.realServers).map((realServers) => ({ ...row, realServers })),
      ),
    )
    .chain(anyOrder);
  return fc
    .record({ addresses: anyOrder(of.addresses), virtualServers, rejected: anyOrder(of.rejected) })
    .map((rows) => ({
      ...of,
      ...rows,
      ...(of.sockets && { sockets: reversed(of.sockets) }),
      ...(of.connectionSync && { connectionSync: of.connectionSync.toReversed() }),
    }));
}

function reversed({ services, ...rest }: SnapshotSockets): SnapshotSockets {
  return {
    ...rest,
    services: services
      .map(({ realServers, ...each }) => ({ ...each, realServers: realServers.toReversed() }))
      .reverse(),
  };
}
