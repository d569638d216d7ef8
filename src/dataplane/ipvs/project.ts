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
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { Projection } from '../dataplane.ts';
import type {
  IpvsRows,
  RealServerConfig,
  RealServerRow,
  SysctlRow,
  VirtualServerConfig,
  VirtualServerRow,
} from './rows.ts';
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

/** The IPVS rows that `desired` means. */
export function projectIpvs(desired: DesiredState, options: ProjectOptions): Projection<IpvsRows> {
  const refused: Rejected[] = [];
  const virtualServers = new Map<VirtualServerKey, VirtualServerRow>();
  for (const [key, virtualServer] of desired.virtualServers) {
    const reason = refusal(virtualServer, options);
    if (reason !== undefined) {
      refused.push({ subject: `Service ${virtualServer.service}`, reason: `${key}: ${reason}` });
      continue;
    }
    for (const server of serversOf(virtualServer, desired.insideMarks.get(key) ?? null)) {
      const row = rowOf(virtualServer, server);
      virtualServers.set(row.key, row);
    }
  }
  const sysctls = new Map<string, SysctlRow>(
    [...wantedSysctls(desired, options)].map(([name, value]) => [name, { value, changed: null }]),
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

/** Values of sysctls by name with dots. */
export function wantedSysctls(
  { virtualServers }: Pick<DesiredState, 'virtualServers'>,
  options: ProjectOptions,
): ReadonlyMap<string, string> {
  let anyIpv6 = false;
  let anyAnnounced = false;
  for (const virtualServer of virtualServers.values()) {
    if (refusal(virtualServer, options) !== undefined) continue;
    anyIpv6 ||= familyOf(virtualServer.address) === 'IPv6';
    anyAnnounced ||= isAnnounced(virtualServer);
  }
  const strictArp = options.strictARP === 'auto' ? anyAnnounced : options.strictARP;
  return new Map([...SYSCTLS, ...(anyIpv6 ? IPV6_SYSCTLS : []), ...(strictArp ? STRICT_ARP_SYSCTLS : [])]);
}

/** What the table is to have of one virtual server; masquerading, without limits. */
export interface WantedServer {
  readonly identity: VirtualServerIdentity;
  readonly config: VirtualServerConfig;
  /** The same object from look to look while nothing in it changes. */
  readonly realServers: readonly Pick<RealServerConfig, 'address' | 'port' | 'weight'>[];
}

/** The virtual servers of the rows that `desired` means: a tenth of their memory, for who only compares. */
export function* wantedServers(desired: DesiredState, options: ProjectOptions): Generator<WantedServer> {
  for (const [key, virtualServer] of desired.virtualServers) {
    if (refusal(virtualServer, options) !== undefined) continue;
    yield* serversOf(virtualServer, desired.insideMarks.get(key) ?? null);
  }
}

interface FrontendServer extends WantedServer {
  readonly realServers: readonly RealServer[];
  /** Whose inside clients it serves; null for that of the frontend itself. */
  readonly insideOf: VirtualServerKey | null;
}

/**
 * The virtual servers of one frontend: its own, and the one for inside clients where it has a mark for them. These get the
 * scheduler and affinity of all others.
 */
function serversOf(virtualServer: VirtualServer, mark: number | null): readonly FrontendServer[] {
  const { key, address, port, protocol, realServers, insideRealServers } = virtualServer;
  const server: FrontendServer = {
    identity: { kind: 'address', address, port, protocol },
    config: configOf(virtualServer, protocol === 'TCP' && port === FTP_CONTROL),
    realServers,
    insideOf: null,
  };
  if (mark === null || insideRealServers === null) return [server];
  const keepsPorts = insideRealServers.some((realServer) => realServer.port !== port);
  const inside: FrontendServer = {
    identity: { kind: 'firewallMark', family: familyOf(address), firewallMark: mark },
    config: configOf(virtualServer, keepsPorts),
    realServers: insideRealServers,
    insideOf: key,
  };
  return [server, inside];
}

function rowOf(
  { service, servicePort, exposure, drainTimeoutSeconds, origin }: VirtualServer,
  { identity, config, realServers, insideOf }: FrontendServer,
): VirtualServerRow {
  return {
    key: virtualServerKey(identity),
    identity,
    config,
    realServers: new Map(realServers.map(projectRealServer)),
    owner: 'svcplane',
    origin: { service, servicePort, exposure, frontend: insideOf, drainTimeoutSeconds },
    reason: insideOf === null ? origin : `${origin}, inside clients of ${insideOf}`,
  };
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
