import { familyOf } from '../../model/address.ts';
import { type Cidr, cidrContains, formatCidr } from '../../model/cidr.ts';
import type { DesiredState } from '../../model/desired-state.ts';
import { compareRejected, type Rejected } from '../../model/rejected.ts';
import { SOURCE_HASH } from '../../model/scheduler.ts';
import {
  type RealServer,
  type RealServerKey,
  realServerKey,
  type VirtualServer,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { Projection } from '../dataplane.ts';
import type { IpvsRows, RealServerRow, SysctlRow, VirtualServerConfig, VirtualServerRow } from './rows.ts';
import { IPV6_SYSCTLS, STRICT_ARP_SYSCTLS, SYSCTLS } from './sysctls.ts';

export interface ProjectOptions {
  /** Virtual servers in these ranges belong to others, as while migrating from another proxy. */
  readonly excludeCIDRs: readonly Cidr[];
  /** Whether this node serves IPv6. */
  readonly ipv6: boolean;
  /**
   * Whether this node keeps silent when ARP asks for addresses bound to the dummy; `auto`: while there are some that
   * are neither its own nor ClusterIPs.
   */
  readonly strictARP: 'auto' | boolean;
}

/** The rows of one frontend: its own, and the one for inside clients where it has a mark for them. */
export type ProjectFrontend = (
  virtualServer: VirtualServer,
  mark: number | null,
) => readonly VirtualServerRow[];

/**
 * The IPVS rows that `desired` means.
 * @param rowsOf give a {@link memoisedFrontends} to keep the rows of unchanged virtual servers identical from one call
 *   to the next
 */
export function projectIpvs(
  desired: DesiredState,
  options: ProjectOptions,
  rowsOf: ProjectFrontend = projectFrontend,
): Projection<IpvsRows> {
  const refused: Rejected[] = [];
  const virtualServers = new Map<VirtualServerKey, VirtualServerRow>();
  let anyIpv6 = false;
  let anyAnnounced = false;
  for (const [key, virtualServer] of desired.virtualServers) {
    const reason = refusal(virtualServer, options);
    if (reason !== undefined) {
      refused.push({ subject: `Service ${virtualServer.service}`, reason: `${key}: ${reason}` });
      continue;
    }
    anyIpv6 ||= familyOf(virtualServer.address) === 'IPv6';
    anyAnnounced ||= isAnnounced(virtualServer);
    for (const row of rowsOf(virtualServer, desired.insideMarks.get(key) ?? null)) {
      virtualServers.set(row.key, row);
    }
  }
  const strictArp = options.strictARP === 'auto' ? anyAnnounced : options.strictARP;
  const sysctls = new Map<string, SysctlRow>(
    [...SYSCTLS, ...(anyIpv6 ? IPV6_SYSCTLS : []), ...(strictArp ? STRICT_ARP_SYSCTLS : [])].map(
      ([name, value]) => [name, { value, changed: null }],
    ),
  );
  return {
    rows: {
      virtualServers,
      sysctls,
      observedAtMs: 0,
      unavailableSchedulers: new Set(),
      staleFlows: new Set(),
    },
    refused: refused.sort(compareRejected),
  };
}

/** Masquerading, affinity per client address. Inside clients get the scheduler and affinity of all others. */
export function projectFrontend(
  virtualServer: VirtualServer,
  mark: number | null,
): readonly VirtualServerRow[] {
  const { key, address, port, protocol, service, servicePort, exposure, insideRealServers } = virtualServer;
  const { drainTimeoutSeconds } = virtualServer;
  const row: VirtualServerRow = {
    key,
    identity: { kind: 'address', address, port, protocol },
    config: configOf(virtualServer, protocol === 'TCP' && port === FTP_CONTROL),
    realServers: new Map(virtualServer.realServers.map(projectRealServer)),
    owner: 'svcplane',
    origin: { service, servicePort, exposure, frontend: null, drainTimeoutSeconds },
    reason: virtualServer.origin,
  };
  if (mark === null || insideRealServers === null) return [row];
  const identity = { kind: 'firewallMark', family: familyOf(address), firewallMark: mark } as const;
  const inside: VirtualServerRow = {
    ...row,
    key: virtualServerKey(identity),
    identity,
    config: configOf(
      virtualServer,
      insideRealServers.some((realServer) => realServer.port !== port),
    ),
    realServers: new Map(insideRealServers.map(projectRealServer)),
    origin: { service, servicePort, exposure, frontend: key, drainTimeoutSeconds },
    reason: `${virtualServer.origin}, inside clients of ${key}`,
  };
  return [row, inside];
}

/** A persistent virtual server of this TCP port takes the address's data connections too: most of its ports. */
const FTP_CONTROL = 21;

/**
 * @param keepsPorts whether persistence would keep a packet's port where the real server's should stand: clients of a
 *   mark, and of FTP, are tied to a real server with all their ports. Then affinity is by a hash of the source.
 * @see net/netfilter/ipvs/ip_vs_core.c ip_vs_sched_persist
 */
function configOf(
  { scheduler, persistenceTimeoutSeconds }: VirtualServer,
  keepsPorts: boolean,
): VirtualServerConfig {
  const isHashed = keepsPorts && persistenceTimeoutSeconds !== null;
  return {
    scheduler: isHashed ? SOURCE_HASH : scheduler,
    flags: 0,
    persistenceTimeoutSeconds: isHashed ? null : persistenceTimeoutSeconds,
    netmask: null,
    persistenceEngine: null,
  };
}

/** A {@link projectFrontend} that gives the same objects again for the same virtual server with the same mark. */
export function memoisedFrontends(): ProjectFrontend {
  // Unchanged virtual servers are the same objects from sync to sync.
  const projected = new WeakMap<
    VirtualServer,
    { readonly mark: number | null; readonly rows: readonly VirtualServerRow[] }
  >();
  return (virtualServer, mark) => {
    const known = projected.get(virtualServer);
    if (known?.mark === mark) return known.rows;
    const rows = projectFrontend(virtualServer, mark);
    projected.set(virtualServer, { mark, rows });
    return rows;
  };
}

function projectRealServer({ address, port, weight, origin }: RealServer): [RealServerKey, RealServerRow] {
  const config = {
    address,
    port,
    weight,
    forwarding: 'masquerade',
    upperThreshold: 0,
    lowerThreshold: 0,
    tunnel: null,
  } as const;
  // Spelt out, for what is spread lies apart from its object: 2 MB at 50,000 endpoints.
  const row: RealServerRow = {
    config,
    activeConnections: 0,
    inactiveConnections: 0,
    persistentConnections: 0,
    drain: null,
    reason: origin,
  };
  return [realServerKey(config), row];
}

/** Whether somebody else tells the network where to find the address, with ARP: which every node would answer. */
function isAnnounced({ address, exposure, bindAddress }: VirtualServer): boolean {
  const isExternal = exposure === 'ExternalIP' || exposure === 'LoadBalancer';
  return isExternal && bindAddress && familyOf(address) === 'IPv4';
}

function refusal({ address }: VirtualServer, options: ProjectOptions): string | undefined {
  const excluded = options.excludeCIDRs.find((cidr) => cidrContains(cidr, address));
  if (excluded) return `left to others, for it lies in ${formatCidr(excluded)} of excludeCIDRs`;
  if (!options.ipv6 && familyOf(address) === 'IPv6') return 'this node does not serve IPv6';
  return undefined;
}
