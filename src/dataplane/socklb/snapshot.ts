import {
  compareRealServers,
  type RealServerKey,
  realServerKey,
  type VirtualServerKey,
} from '../../model/virtual-server.ts';
import type { Snapshot, SnapshotSocket, SnapshotSockets } from '../../snapshot/snapshot.ts';
import type { FrontendKey } from './layout.ts';
import { type Remain, remainKey } from './remains.ts';
import {
  type BackendRow,
  flagsOf,
  keyOf,
  modeOf,
  type ServiceRow,
  type SocklbRows,
  sortedServices,
} from './rows.ts';

/** What of a snapshot this dataplane has. */
export type SocketsOfSnapshot = Pick<Snapshot, 'sockets'>;

/** The frontends as a snapshot has them, without ids, which are the kernel's alone. */
export function toSnapshot(rows: SocklbRows): { readonly sockets: SnapshotSockets } {
  const terminating = Map.groupBy(terminatingBackends(rows), ({ serviceId }) => serviceId);
  return {
    sockets: {
      mode: modeOf(rows.config.flags) ?? 'off',
      programs: rows.programs,
      services: sortedServices(rows).map((row) => socketOf(row, terminating.get(row.place?.id ?? 0) ?? [])),
    },
  };
}

/**
 * The rows that a snapshot records, with ids as if they had been given in its order. One that does not tell counts as
 * `wanted`, so that a plan against it changes nothing it can't see.
 */
export function fromSnapshot({ sockets }: SocketsOfSnapshot, wanted: SocklbRows): SocklbRows {
  if (sockets === undefined) return wanted;
  const services = new Map<VirtualServerKey, ServiceRow>();
  const remains: Remain[] = [];
  let lastBackendId = 0;
  for (const [i, socket] of sockets.services.entries()) {
    const { address, port, protocol, algorithm, affinitySeconds = 0 } = socket;
    const backends = new Map<RealServerKey, BackendRow>();
    for (const server of socket.realServers) {
      lastBackendId += 1;
      if (server.weight > 0) backends.set(realServerKey(server), { ...server, id: lastBackendId });
      else remains.push(terminatingRemain({ ...server, protocol }, lastBackendId, i + 1));
    }
    const frontend = { address, port, protocol };
    const place = { id: i + 1, generation: 1 };
    const key = keyOf(frontend);
    services.set(key, {
      ...frontend,
      key,
      algorithm,
      affinitySeconds,
      backends,
      place,
      fault: null,
      reason: '',
    });
  }
  return {
    services,
    config: { ...wanted.config, flags: flagsAs(sockets.mode, wanted.config) },
    programs: sockets.programs,
    remains: new Map(remains.map((remain) => [remainKey(remain), remain])),
    lastServiceId: sockets.services.length,
    lastBackendId,
    observedAtMs: 0,
    obstacle: null,
  };
}

/** Which network namespace is the node's, a snapshot does not tell. */
function flagsAs(mode: SnapshotSockets['mode'], { flags }: SocklbRows['config']): number {
  return modeOf(flags) === mode ? flags : flagsOf(mode);
}

type Terminating = Extract<Remain, { readonly kind: 'backend' }>;

/** They have no slots, and keep what they have. */
function terminatingBackends({ remains }: SocklbRows): readonly Terminating[] {
  return [...remains.values()]
    .filter((remain) => remain.kind === 'backend')
    .filter(({ isTerminating }) => isTerminating);
}

function terminatingRemain({ address, port, protocol }: FrontendKey, id: number, serviceId: number): Remain {
  const endpoint = { address, port, protocol };
  return { kind: 'backend', id, serviceId, endpoint, isTerminating: true, sinceMs: 0 };
}

function socketOf(row: ServiceRow, terminating: readonly Terminating[]): SnapshotSocket {
  const { address, port, protocol, algorithm, affinitySeconds, backends } = row;
  const servers = [
    ...[...backends.values()].map((backend) => {
      return { address: backend.address, port: backend.port, weight: backend.weight };
    }),
    ...terminating.flatMap(({ endpoint }) => (endpoint === null ? [] : { ...endpoint, weight: 0 })),
  ];
  return {
    address,
    port,
    protocol,
    algorithm,
    ...(affinitySeconds > 0 && { affinitySeconds }),
    realServers: servers.sort(compareRealServers),
  };
}
