import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { familyOf, type IpAddress } from '../../src/model/address.ts';
import { type Cidr, cidrContains } from '../../src/model/cidr.ts';
import type { DesiredState } from '../../src/model/desired-state.ts';
import { type RealServer, realServerKey, type VirtualServer } from '../../src/model/virtual-server.ts';
import { type Connection, prepareTrace, type TraceRows } from '../../src/trace/trace.ts';
import { desiredOf } from '../derive.ts';
import { address, traceRowsOf } from '../trace/build.ts';
import { objectsCase } from './arbitrary-objects.ts';

/** More by hand: `TRACE_RUNS=20000 npx vitest run test/properties/trace`. */
const RUNS = Number(process.env.TRACE_RUNS ?? 150);

/** Of the other pods, of pods of the node, and from outside, within the source ranges and without. */
const SOURCES = [
  '192.0.2.7',
  '198.51.100.200',
  '10.244.1.20',
  '10.244.1.21',
  '10.244.2.99',
  '2001:db8::77',
  '2001:db9::7',
  'fd00:244:1::20',
];

const inputs = fc.record({
  objects: objectsCase.map(({ objects }) => objects),
  serviceCIDRs: fc.subarray(['10.96.0.0/16', 'fd00:10:96::/112']),
  clusterCIDRs: fc.subarray(['10.244.0.0/16', 'fd00:244::/32']),
  clusterIPs: fc.constantFrom('bind', 'route'),
});

interface Traced {
  readonly desired: DesiredState;
  readonly rows: TraceRows;
}

/** Checks `property` for what odd but valid objects mean. */
function forAll(runs: number, property: (traced: Traced) => void): void {
  fc.assert(
    fc.property(inputs, ({ objects, ...config }) => {
      const desired = desiredOf(
        objects.map((object) => ({ ...object })),
        config,
      );
      fc.pre(!hasOthersAmongClusterIPs(desired));
      property({ desired, rows: traceRowsOf(desired, config) });
    }),
    { numRuns: runs },
  );
}

/** Endpoints or external addresses among the ClusterIPs: what is sent there is taken for sent to a ClusterIP. */
function hasOthersAmongClusterIPs({ serviceCIDRs, virtualServers }: DesiredState): boolean {
  const servers = [...virtualServers.values()];
  const clusterIPs = new Set(
    servers.filter(({ exposure }) => exposure === 'ClusterIP').map((server) => server.address),
  );
  return servers.some(({ address: own, exposure, realServers, insideRealServers }) =>
    [
      ...(exposure === 'ClusterIP' ? [] : [own]),
      ...[...realServers, ...(insideRealServers ?? [])].map((server) => server.address),
    ].some((each) => clusterIPs.has(each) || serviceCIDRs.some((range) => cidrContains(range, each))),
  );
}

/** Every client to every frontend; the host from its own address and from the frontend's. */
function clientsOf(
  { address: destination, protocol, port, bindAddress }: VirtualServer,
  desired: DesiredState,
) {
  const own = [...desired.nodeAddresses, ...(bindAddress ? [destination] : [])];
  const others = SOURCES.map(address).filter((source) => !desired.nodeAddresses.includes(source));
  return [
    ...others.map((source) => ({ source, fromHost: false })),
    ...own.map((source) => ({ source, fromHost: true })),
  ]
    .filter(({ source }) => familyOf(source) === familyOf(destination))
    .map((client): Connection => ({ ...client, destination, protocol, port }));
}

const within = (ranges: readonly Cidr[], { source }: Connection): boolean =>
  ranges.some((range) => cidrContains(range, source));

const isInside = (connection: Connection, { podRanges }: DesiredState): boolean =>
  connection.fromHost || within(podRanges.node, connection);

/** What a client reaches by the text of the semantics alone. */
function reachable(frontend: VirtualServer, connection: Connection, desired: DesiredState) {
  const { realServers, insideRealServers } = frontend;
  const inside = isInside(connection, desired) ? insideRealServers : null;
  return inside !== null && inside.length > 0 ? inside : realServers;
}

/** The node may use a frontend's address as its own where it is itself among the sources. */
function isAdmitted(frontend: VirtualServer, connection: Connection, desired: DesiredState): boolean {
  const { sourceRanges, address: own } = frontend;
  if (sourceRanges === null || within(sourceRanges, connection)) return true;
  const nodeIs = desired.nodeAddresses.some((each) =>
    sourceRanges.some((range) => cidrContains(range, each)),
  );
  return nodeIs && connection.source === own;
}

/** By its address, or as one Service or another has it: endpoints of the same address may differ in that. */
function isLocal(source: IpAddress, { virtualServers, podRanges }: DesiredState): boolean {
  if (podRanges.node.some((range) => cidrContains(range, source))) return true;
  return [...virtualServers.values()]
    .flatMap(({ realServers, insideRealServers }) => [...realServers, ...(insideRealServers ?? [])])
    .some((server) => server.local && server.address === source);
}

function isMasqueraded(
  frontend: VirtualServer,
  realServer: RealServer,
  connection: Connection,
  desired: DesiredState,
): boolean {
  const { source, fromHost } = connection;
  if (realServer.address === source && isLocal(source, desired)) return true;
  if (frontend.exposure !== 'ClusterIP') {
    if (frontend.trafficPolicy === 'Cluster') return true;
    return fromHost && frontend.bindAddress && source === frontend.address;
  }
  if (fromHost) return true;
  const pods = desired.podRanges.cluster;
  return pods.some(({ family }) => family === familyOf(source)) && !within(pods, connection);
}

describe('trace() of odd but valid objects', () => {
  it('is what the semantics say, for every client of every frontend', () => {
    forAll(RUNS, ({ desired, rows }) => {
      const trace = prepareTrace(rows);
      // An address of another node is not local here: its packets go on.
      const here = [...desired.virtualServers.values()].filter(({ otherNode }) => otherNode === null);
      const asked = here.flatMap((frontend) =>
        clientsOf(frontend, desired).map((connection) => ({ frontend, connection })),
      );
      const traced = asked.map(({ connection }) => {
        const { verdict, candidates } = trace(connection);
        const servers = candidates.map(({ key, masquerade }) => [key, masquerade !== null]);
        return { ...connection, verdict, servers };
      });
      const meant = asked.map(({ frontend, connection }) => {
        const admitted = isAdmitted(frontend, connection, desired);
        const servers = admitted ? reachable(frontend, connection, desired) : [];
        return {
          ...connection,
          verdict: admitted ? (servers.length === 0 ? 'refused' : 'balanced') : 'dropped',
          servers: servers.map((server) => [
            realServerKey(server),
            isMasqueraded(frontend, server, connection, desired),
          ]),
        };
      });
      expect(traced).toEqual(meant);
    });
  }, 300_000);

  it('gives no client from outside an endpoint of another node where the policy is Local', () => {
    forAll(RUNS, ({ desired, rows }) => {
      const trace = prepareTrace(rows);
      for (const frontend of desired.virtualServers.values()) {
        if (frontend.trafficPolicy !== 'Local') continue;
        const local = new Set(frontend.realServers.filter((each) => each.local).map(realServerKey));
        const remote = clientsOf(frontend, desired)
          .filter((connection) => frontend.exposure === 'ClusterIP' || !isInside(connection, desired))
          .flatMap((connection) => trace(connection).candidates)
          .filter(({ key }) => !local.has(key));
        expect(remote).toEqual([]);
      }
    });
  }, 300_000);

  it('does not depend on the order of rows', () => {
    forAll(RUNS / 2, ({ desired, rows }) => {
      const [some, same] = [rows, reversed(rows)].map((each) => {
        const trace = prepareTrace(each);
        return [...desired.virtualServers.values()].flatMap((frontend) =>
          clientsOf(frontend, desired).map(trace),
        );
      });
      expect(same).toEqual(some);
    });
  }, 300_000);
});

function reversed({ nftables, ipvs, addresses, ...rest }: TraceRows): TraceRows {
  const sets = [...nftables.sets].map(
    ([name, set]) => [name, { ...set, elements: turned(set.elements) }] as const,
  );
  const servers = [...ipvs.virtualServers].map(
    ([key, row]) => [key, { ...row, realServers: turned(row.realServers) }] as const,
  );
  return {
    ...rest,
    nftables: { ...nftables, chains: turned(nftables.chains), sets: new Map(sets.reverse()) },
    ipvs: { ...ipvs, virtualServers: new Map(servers.reverse()) },
    addresses: { ...addresses, addresses: turned(addresses.addresses), routes: turned(addresses.routes) },
  };
}

function turned<Key, Value>(map: ReadonlyMap<Key, Value>): Map<Key, Value> {
  return new Map([...map].reverse());
}
