import { schedulerFromKernel } from '../../model/scheduler.ts';
import {
  type RealServerKey,
  realServerKey,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import { identityOf } from '../../snapshot/canonical.ts';
import type { SnapshotRealServer, SnapshotVirtualServer } from '../../snapshot/snapshot.ts';
import type { LedgerOrigin } from '../ledger.ts';
import { reasonOf } from './ops.ts';
import {
  type FlagName,
  flagBits,
  flagNames,
  type IpvsRows,
  type RealServerRow,
  sortedRealServers,
  sortedVirtualServers,
  type VirtualServerRow,
} from './rows.ts';

/**
 * The virtual servers of `rows` as a snapshot has them, in canonical order.
 * @param kind an observed snapshot has owners and connections, a desired one has not
 */
export function snapshotVirtualServers(
  rows: IpvsRows,
  kind: 'desired' | 'observed',
): readonly SnapshotVirtualServer[] {
  return sortedVirtualServers(rows).map((row) => snapshotVirtualServer(row, kind === 'observed'));
}

/**
 * The inverse of {@link snapshotVirtualServers}, for a plan against a recorded kernel; of sysctls it knows nothing.
 * Where a snapshot has no owners, what comes from a Service is ours.
 * @param observedAtMs when it was recorded, or now, ms since the epoch
 */
export function rowsFromSnapshot(
  virtualServers: readonly SnapshotVirtualServer[],
  observedAtMs: number,
): IpvsRows {
  const rows = new Map<VirtualServerKey, VirtualServerRow>();
  for (const virtualServer of virtualServers) {
    const row = rowFromSnapshot(virtualServer);
    rows.set(row.key, row);
  }
  return {
    virtualServers: rows,
    sysctls: null,
    observedAtMs,
    unavailableSchedulers: new Set(),
    staleFlows: new Set(),
  };
}

function snapshotVirtualServer(row: VirtualServerRow, observed: boolean): SnapshotVirtualServer {
  const { identity, config, origin } = row;
  const flags = flagNames(config.flags);
  const schedulerFlags = flags.filter((flag) => flag !== 'onePacket');
  return {
    ...(identity.kind === 'address'
      ? { address: identity.address, port: identity.port, protocol: identity.protocol }
      : {
          address: null,
          port: null,
          protocol: null,
          firewallMark: identity.firewallMark,
          family: identity.family,
        }),
    scheduler: config.scheduler,
    persistenceTimeoutSeconds: config.persistenceTimeoutSeconds,
    ...(config.netmask !== null && { persistenceNetmask: config.netmask }),
    ...(schedulerFlags.length > 0 && { schedulerFlags }),
    ...(flags.includes('onePacket') && { onePacket: true }),
    ...(config.persistenceEngine !== null && { persistenceEngine: config.persistenceEngine }),
    exposure: origin?.exposure ?? null,
    service: origin?.service ?? null,
    servicePort: origin?.servicePort ?? null,
    ...(observed && { owner: row.owner }),
    realServers: sortedRealServers(row).map((realServer) => snapshotRealServer(realServer, observed)),
  };
}

function snapshotRealServer(
  { config, activeConnections, inactiveConnections }: RealServerRow,
  observed: boolean,
): SnapshotRealServer {
  const { address, port, weight, forwarding, upperThreshold, lowerThreshold, tunnel } = config;
  return {
    address,
    port,
    weight,
    forwarding,
    ...(upperThreshold !== 0 && { upperThreshold }),
    ...(lowerThreshold !== 0 && { lowerThreshold }),
    ...(tunnel && { tunnel }),
    ...(observed && { activeConnections, inactiveConnections }),
  };
}

function rowFromSnapshot(virtualServer: SnapshotVirtualServer): VirtualServerRow {
  const identity = identityOf(virtualServer);
  const flags: FlagName[] = [...(virtualServer.schedulerFlags ?? [])];
  if (virtualServer.onePacket) flags.push('onePacket');
  const origin = originOf(virtualServer);
  return {
    key: virtualServerKey(identity),
    identity,
    config: {
      scheduler: schedulerFromKernel(virtualServer.scheduler),
      flags: flagBits(flags),
      persistenceTimeoutSeconds: virtualServer.persistenceTimeoutSeconds,
      netmask: virtualServer.persistenceNetmask ?? null,
      persistenceEngine: virtualServer.persistenceEngine ?? null,
    },
    realServers: new Map(virtualServer.realServers.map(realServerFromSnapshot)),
    owner: virtualServer.owner ?? (origin ? 'svcplane' : 'foreign'),
    origin,
    reason: origin ? reasonOf(origin) : '',
  };
}

function originOf({ service, servicePort, exposure }: SnapshotVirtualServer): LedgerOrigin | null {
  if (service === null || exposure === null) return null;
  return { service, servicePort: servicePort ?? '', exposure, frontend: null };
}

function realServerFromSnapshot(realServer: SnapshotRealServer): [RealServerKey, RealServerRow] {
  const { address, port, weight, forwarding, upperThreshold = 0, lowerThreshold = 0 } = realServer;
  const row: RealServerRow = {
    config: {
      address,
      port,
      weight,
      forwarding,
      upperThreshold,
      lowerThreshold,
      tunnel: realServer.tunnel ?? null,
    },
    activeConnections: realServer.activeConnections ?? 0,
    inactiveConnections: realServer.inactiveConnections ?? 0,
    persistentConnections: 0,
    drain: null,
    reason: '',
  };
  return [realServerKey(realServer), row];
}
