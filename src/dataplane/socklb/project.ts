import { familyOf, type IpAddress, parseIpAddress } from '../../model/address.ts';
import { type Cidr, cidrContains, formatCidr } from '../../model/cidr.ts';
import type { DesiredState } from '../../model/desired-state.ts';
import { compareRejected, type Rejected } from '../../model/rejected.ts';
import type { Scheduler } from '../../model/scheduler.ts';
import {
  type RealServer,
  type RealServerKey,
  realServerKey,
  type VirtualServer,
  type VirtualServerKey,
} from '../../model/virtual-server.ts';
import type { Projection } from '../dataplane.ts';
import type { SocketEnding } from './kernel.ts';
import { MAP_SHAPES } from './layout.ts';
import {
  type BackendRow,
  EMPTY_ROWS,
  flagsOf,
  hasTable,
  keyOf,
  type ServiceRow,
  type SocketAlgorithm,
  type SocketMode,
  type SocklbRows,
  slotsIn,
} from './rows.ts';
import { slotWeights } from './slots.ts';

/** How much the maps are filled. */
export interface SocketCapacity {
  readonly services: number;
  readonly slots: number;
  readonly backends: number;
  readonly tables: number;
}

/**
 * An eighth of what changes stays free: a frontend that changes has its old and its new elements for a while. Of tables it
 * is half, for each takes 68 KiB, which count as memory of the Pod: all would take 272 MiB of its 512.
 */
export const CAPACITY: SocketCapacity = {
  services: MAP_SHAPES.lb_svc.maxEntries,
  slots: (MAP_SHAPES.lb_slot.maxEntries / 8) * 7,
  backends: (MAP_SHAPES.lb_backend.maxEntries / 8) * 7,
  tables: MAP_SHAPES.lb_maglev.maxEntries / 2,
};

export interface ProjectOptions {
  readonly mode: SocketMode;
  /** Frontends in these ranges are served by others. */
  readonly excludeCIDRs: readonly Cidr[];
  /** Where NodePorts are served: `primary`, or ranges, of which none is all addresses. */
  readonly nodePortAddresses: 'primary' | readonly Cidr[];
  /** Whether UDP sockets can be ended whose endpoint is gone. @default supported */
  readonly ending?: SocketEnding;
  /** Whether all UDP is left to IPVS where not all of them can. @default false */
  readonly isCautious?: boolean;
  /** Which of all network namespaces is the node's. @default 0, the initial one */
  readonly hostNamespace?: number;
  /** @default CAPACITY */
  readonly capacity?: SocketCapacity;
}

/** As long as IPVS keeps a UDP connection that is silent. @see net/netfilter/ipvs/ip_vs_proto_udp.c udp_timeouts */
export const UDP_FLOW_SECONDS = 300;

/** What becomes of one virtual server. */
export interface ProjectedFrontend {
  /** Its own, and for a NodePort that of the loopback address. */
  readonly rows: readonly ServiceRow[];
  /** Why it is not served, or is served other than it says; null if there is nothing to say. */
  readonly reason: string | null;
}

export type ProjectFrontend = (virtualServer: VirtualServer) => ProjectedFrontend;

/**
 * The rows that `desired` means. What is refused here is served by IPVS, as if there were no socket balancer.
 * @param frontendOf give a {@link memoisedFrontends} to keep the rows of unchanged virtual servers identical
 */
export function projectSocklb(
  desired: DesiredState,
  options: ProjectOptions,
  frontendOf: ProjectFrontend = (virtualServer) => projectFrontend(virtualServer, options),
): Projection<SocklbRows> {
  const services = new Map<VirtualServerKey, ServiceRow>();
  const refused: Rejected[] = [];
  const isOff = options.mode === 'off';
  let used: SocketCapacity = { services: 0, slots: 0, backends: 0, tables: 0 };
  for (const virtualServer of isOff ? [] : desired.virtualServers.values()) {
    const { rows, reason } = frontendOf(virtualServer);
    const told = (why: string) =>
      refused.push({ subject: SUBJECT, reason: `${virtualServer.key} of ${virtualServer.service}: ${why}` });
    if (reason !== null) told(reason);
    for (const row of rows) {
      if (services.has(row.key)) continue;
      const needed = withRow(used, row);
      const full = fullMap(needed, options.capacity ?? CAPACITY);
      if (full !== undefined) {
        told(`left to IPVS, for ${row.key} would be one too many for the ${full}`);
        continue;
      }
      used = needed;
      services.set(row.key, row);
    }
  }
  refused.push(...endingRefusal(options, desired));
  return {
    rows: {
      ...EMPTY_ROWS,
      services,
      config: { flags: flagsOf(options.mode, options.hostNamespace), udpFlowSeconds: UDP_FLOW_SECONDS },
      programs: 'attached',
    },
    refused: refused.sort(compareRejected),
  };
}

/** Not the Service, for which all is well: IPVS serves it. */
export const SUBJECT = 'socket load balancer';

/** Nobody else tells the owner of a connected UDP socket that its endpoint is gone; IPVS takes its packets elsewhere. */
function endingRefusal(options: ProjectOptions, { virtualServers }: DesiredState): readonly Rejected[] {
  const { ending, mode } = options;
  if (mode === 'off' || ending === undefined || ending.outcome === 'supported') return [];
  // Of others none is balanced then.
  if (mode === 'hostOnly' && ending.outcome === 'partly') return [];
  const isServed = (each: VirtualServer) => each.protocol === 'UDP' && refusal(each, options) === undefined;
  if (!virtualServers.values().some(isServed)) return [];
  const which = ending.outcome === 'partly' ? 'of other network namespaces ' : '';
  const reason = leavesUdp(options)
    ? `UDP is left to IPVS, for sockets ${which}could not be told that their endpoint is gone: ${ending.reason}`
    : `UDP sockets ${which}stay connected to an endpoint that is gone: ${ending.reason}`;
  return [{ subject: SUBJECT, reason }];
}

function leavesUdp({ isCautious = false, ending }: ProjectOptions): boolean {
  return isCautious && ending !== undefined && ending.outcome !== 'supported';
}

/** What is used with one row more. */
export function withRow(
  used: SocketCapacity,
  row: Pick<ServiceRow, 'algorithm' | 'backends'>,
): SocketCapacity {
  return {
    services: used.services + 1,
    slots: used.slots + slotsIn(row.backends),
    backends: used.backends + row.backends.size,
    tables: used.tables + (hasTable(row) ? 1 : 0),
  };
}

/** The first map that can't hold so much: `65536 frontends`; undefined if all can. */
export function fullMap(needed: SocketCapacity, capacity: SocketCapacity): string | undefined {
  if (needed.services > capacity.services) return `${capacity.services} frontends`;
  if (needed.slots > capacity.slots) return `${capacity.slots} slots`;
  if (needed.backends > capacity.backends) return `${capacity.backends} backends`;
  return needed.tables > capacity.tables ? `${capacity.tables} Maglev tables` : undefined;
}

/** A {@link ProjectFrontend} that gives the same rows again for the same virtual server. */
export function memoisedFrontends(options: ProjectOptions): ProjectFrontend {
  // Unchanged virtual servers are the same objects from sync to sync.
  const projected = new WeakMap<VirtualServer, ProjectedFrontend>();
  return (virtualServer) => {
    const known = projected.get(virtualServer) ?? projectFrontend(virtualServer, options);
    projected.set(virtualServer, known);
    return known;
  };
}

const NOT_SERVED: ProjectedFrontend = { rows: [], reason: null };

/** Looks at nothing but the one virtual server. */
export function projectFrontend(virtualServer: VirtualServer, options: ProjectOptions): ProjectedFrontend {
  const { address, port, protocol, exposure, scheduler, persistenceTimeoutSeconds, origin } = virtualServer;
  // It is said once for all of them.
  if (protocol === 'UDP' && leavesUdp(options)) return NOT_SERVED;
  const why = refusal(virtualServer, options);
  const how = balancing(scheduler);
  if (why !== undefined || protocol === 'SCTP' || how.algorithm === null) {
    return { rows: [], reason: why ?? how.reason };
  }
  const row: ServiceRow = {
    key: virtualServer.key,
    address,
    port,
    protocol,
    algorithm: how.algorithm,
    affinitySeconds: persistenceTimeoutSeconds ?? 0,
    backends: backendsOf(virtualServer),
    place: null,
    fault: null,
    reason: origin,
  };
  const loopback = exposure === 'NodePort' ? loopbackRow(row, options) : [];
  return { rows: [row, ...loopback], reason: how.reason };
}

const LOOPBACKS = ['127.0.0.1', '::1'].flatMap((text) => parseIpAddress(text) ?? []);

/** A NodePort is reached by the loopback address, too, which IPVS can't balance; unless it is to be served elsewhere. */
function loopbackRow(row: ServiceRow, { nodePortAddresses }: ProjectOptions): readonly ServiceRow[] {
  const family = familyOf(row.address);
  const isServed = (own: IpAddress) =>
    nodePortAddresses !== 'primary' &&
    (nodePortAddresses.length === 0 || nodePortAddresses.some((range) => cidrContains(range, own)));
  return LOOPBACKS.filter((own) => familyOf(own) === family && isServed(own)).map((address) => {
    const frontend = { address, port: row.port, protocol: row.protocol };
    return { ...row, ...frontend, key: keyOf(frontend) };
  });
}

/** All sockets of a node are of clients inside the cluster: policy Local of an external frontend is not for them. */
function backendsOf({
  realServers,
  insideRealServers,
}: VirtualServer): ReadonlyMap<RealServerKey, BackendRow> {
  const served = insideRealServers !== null && insideRealServers.length > 0 ? insideRealServers : realServers;
  const weights = slotWeights(served.map(({ weight }) => weight));
  return new Map(
    served.map((server: RealServer, i) => {
      const { address, port } = server;
      return [realServerKey(server), { address, port, weight: weights[i] ?? 0, id: null }];
    }),
  );
}

function refusal(virtualServer: VirtualServer, { excludeCIDRs }: ProjectOptions): string | undefined {
  const { address, protocol, socketLoadBalancer, otherNode, sourceRanges } = virtualServer;
  const excluded = excludeCIDRs.find((cidr) => cidrContains(cidr, address));
  if (excluded) return `left to others, for it lies in ${formatCidr(excluded)} of excludeCIDRs`;
  if (!socketLoadBalancer) return 'left to IPVS, as its annotation svcplane.io/socket-load-balancer says';
  if (protocol === 'SCTP') return 'left to IPVS, for sockets of SCTP have no hooks';
  if (otherNode !== null) return `left to node ${otherNode}, whose own address it is`;
  if (sourceRanges !== null) return 'left to IPVS, for a socket that connects has no source address yet';
  return undefined;
}

interface Balancing {
  /** null where no way to balance comes near. */
  readonly algorithm: SocketAlgorithm | null;
  readonly reason: string | null;
}

function balancing(scheduler: Scheduler): Balancing {
  switch (String(scheduler)) {
    case 'rr':
    case 'wrr':
      return { algorithm: 'random', reason: null };
    case 'sh':
    case 'mh':
      return { algorithm: 'maglev', reason: null };
    case 'fo':
    case 'ovf':
      return {
        algorithm: null,
        reason: `left to IPVS, for scheduler ${scheduler} spares some of the endpoints`,
      };
    default:
      return {
        algorithm: 'random',
        reason: `sockets choose at random by weight: scheduler ${scheduler} needs what is not known when a socket connects`,
      };
  }
}
