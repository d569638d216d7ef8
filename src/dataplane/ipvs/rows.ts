import type { IpAddress } from '../../model/address.ts';
import type { Scheduler } from '../../model/scheduler.ts';
import {
  compareIdentities,
  compareRealServers,
  parseVirtualServerKey,
  type RealServerKey,
  type VirtualServerIdentity,
  type VirtualServerKey,
} from '../../model/virtual-server.ts';
import { SERVICE_FLAG } from '../../netlink/uapi/ipvs.ts';
import type { Forwarding, Tunnel } from '../../snapshot/snapshot.ts';
import type { LedgerDrain, LedgerOrigin, LedgerSysctl } from '../ledger.ts';

/** What a virtual server does with a packet; everything but its identity. */
export interface VirtualServerConfig {
  readonly scheduler: Scheduler;
  /** IP_VS_SVC_F_* without `persistent`, which the timeout tells, and without `hashed`. */
  readonly flags: number;
  /** Client affinity in seconds; null without. */
  readonly persistenceTimeoutSeconds: number | null;
  /** Clients that share affinity: IPv4 mask text or IPv6 prefix length; null for a single address. */
  readonly netmask: string | null;
  readonly persistenceEngine: string | null;
}

/** A real server as configured; address and port are its identity, the rest is compared. */
export interface RealServerConfig {
  readonly address: IpAddress;
  /** Host order; 0 takes the packet's own port. */
  readonly port: number;
  /** 0 takes no new connections. */
  readonly weight: number;
  readonly forwarding: Forwarding;
  /** Connections above which the kernel sends no new ones; 0 for no limit. */
  readonly upperThreshold: number;
  readonly lowerThreshold: number;
  readonly tunnel: Tunnel | null;
}

/** Connections through one real server. Active ones are established; the others open, or close, or are none (UDP). */
export interface ConnectionCounts {
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly persistentConnections: number;
}

export interface RealServerRow extends ConnectionCounts {
  readonly config: RealServerConfig;
  /** Since we took its weight to let it drain; null if we did not. */
  readonly drain: LedgerDrain | null;
  /** The object that names it: `EndpointSlice web/front-x7k2p`; "" in observed rows. */
  readonly reason: string;
}

export interface VirtualServerRow {
  readonly key: VirtualServerKey;
  readonly identity: VirtualServerIdentity;
  readonly config: VirtualServerConfig;
  readonly realServers: ReadonlyMap<RealServerKey, RealServerRow>;
  readonly owner: 'svcplane' | 'foreign';
  /** null where nobody has told us, as for foreign virtual servers */
  readonly origin: LedgerOrigin | null;
  /** The same in words, for operations: `Service web/front port http`; "" without an origin. */
  readonly reason: string;
}

export interface SysctlRow {
  /** As the kernel prints it, without the line end. */
  readonly value: string;
  /** What we changed; null if we did not. */
  readonly changed: LedgerSysctl | null;
}

/** The IPVS part of one network namespace, observed or wanted. */
export interface IpvsRows {
  readonly virtualServers: ReadonlyMap<VirtualServerKey, VirtualServerRow>;
  /** By name with dots; one that is missing can't be read here. null: none is known, as in a recorded snapshot. */
  readonly sysctls: ReadonlyMap<string, SysctlRow> | null;
  /** When the rows were read, ms since the epoch; drain deadlines are measured by it. 0 in wanted rows. */
  readonly observedAtMs: number;
  /** Schedulers this kernel was asked for and does not have. Empty in wanted rows. */
  readonly unavailableSchedulers: ReadonlySet<Scheduler>;
  /** Frontends that lost an endpoint to which conntrack may send clients still. Empty in wanted rows. */
  readonly staleFlows: ReadonlySet<VirtualServerKey>;
}

/** No virtual server, and nothing known of the sysctls: what a plan on a machine without IPVS starts from. */
export const EMPTY_ROWS: IpvsRows = {
  virtualServers: new Map(),
  sysctls: null,
  observedAtMs: 0,
  unavailableSchedulers: new Set(),
  staleFlows: new Set(),
};

/** Flags that a row keeps, as `ipvsadm` names them. */
const FLAG_BITS = {
  onePacket: SERVICE_FLAG.onePacket,
  'flag-1': SERVICE_FLAG.scheduler1,
  'flag-2': SERVICE_FLAG.scheduler2,
  'flag-3': SERVICE_FLAG.scheduler3,
} as const;

export type FlagName = keyof typeof FLAG_BITS;

const FLAG_NAMES: readonly FlagName[] = ['onePacket', 'flag-1', 'flag-2', 'flag-3'];

export const NO_CONNECTIONS: ConnectionCounts = {
  activeConnections: 0,
  inactiveConnections: 0,
  persistentConnections: 0,
};

/** Whether two virtual servers of one key are configured alike; real servers, owner and origin aside. */
export function equalConfig(a: VirtualServerConfig, b: VirtualServerConfig): boolean {
  return (
    a === b ||
    (a.scheduler === b.scheduler &&
      a.flags === b.flags &&
      a.persistenceTimeoutSeconds === b.persistenceTimeoutSeconds &&
      a.netmask === b.netmask &&
      a.persistenceEngine === b.persistenceEngine)
  );
}

/** Whether two real servers of one key are configured alike; connections aside. */
export function equalRealServerConfig(a: RealServerConfig, b: RealServerConfig): boolean {
  return (
    a === b ||
    (a.weight === b.weight &&
      a.forwarding === b.forwarding &&
      a.upperThreshold === b.upperThreshold &&
      a.lowerThreshold === b.lowerThreshold &&
      equalTunnel(a.tunnel, b.tunnel))
  );
}

/** Whether two rows of one key do the same: their configuration and that of all their real servers. */
export function equalRows(a: VirtualServerRow, b: VirtualServerRow): boolean {
  return equalConfig(a.config, b.config) && equalRealServers(a, b);
}

/** Whether two virtual servers have the same real servers, configured alike. */
export function equalRealServers(a: VirtualServerRow, b: VirtualServerRow): boolean {
  if (a.realServers.size !== b.realServers.size) return false;
  for (const [key, realServer] of a.realServers) {
    const other = b.realServers.get(key);
    if (!other || !equalRealServerConfig(realServer.config, other.config)) return false;
  }
  return true;
}

/** Whether two origins are the same frontend of the same Service port, and drain alike. */
export function equalOrigin(a: LedgerOrigin | null, b: LedgerOrigin | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.service === b.service &&
    a.servicePort === b.servicePort &&
    a.exposure === b.exposure &&
    // A recorded snapshot does not say whose inside clients a firewall mark is for.
    (a.frontend === b.frontend || a.frontend === null || b.frontend === null) &&
    // Nor how long it may drain.
    (a.drainTimeoutSeconds === b.drainTimeoutSeconds ||
      a.drainTimeoutSeconds === undefined ||
      b.drainTimeoutSeconds === undefined)
  );
}

/** An identity that clients can name, unlike a firewall mark. */
export type Frontend = Extract<VirtualServerIdentity, { readonly kind: 'address' }>;

/** What clients of a row talk to: the row itself, or the frontend of a firewall mark of ours; null if not known. */
export function frontendOf({
  identity,
  origin,
}: Pick<VirtualServerRow, 'identity' | 'origin'>): Frontend | null {
  if (identity.kind === 'address') return identity;
  const frontend = origin?.frontend ? parseVirtualServerKey(origin.frontend) : undefined;
  return frontend?.kind === 'address' ? frontend : null;
}

function equalTunnel(a: Tunnel | null, b: Tunnel | null): boolean {
  if (a === null || b === null) return a === b;
  return a.type === b.type && a.port === b.port && a.checksum === b.checksum;
}

/** In canonical order. */
export function sortedVirtualServers(rows: IpvsRows): VirtualServerRow[] {
  return [...rows.virtualServers.values()].sort((a, b) => compareIdentities(a.identity, b.identity));
}

/** In canonical order. */
export function sortedRealServers(row: VirtualServerRow): RealServerRow[] {
  return [...row.realServers.values()].sort((a, b) => compareRealServers(a.config, b.config));
}

/** Names of the flags set in `flags`, by bit. */
export function flagNames(flags: number): FlagName[] {
  return FLAG_NAMES.filter((name) => flags & FLAG_BITS[name]);
}

/** The inverse of {@link flagNames}. */
export function flagBits(names: readonly FlagName[]): number {
  return names.reduce((bits, name) => bits | FLAG_BITS[name], 0);
}

/** Keys of the virtual servers somebody else made, in canonical order. */
export function foreignVirtualServers(rows: IpvsRows): VirtualServerKey[] {
  return sortedVirtualServers(rows)
    .filter((row) => row.owner === 'foreign')
    .map((row) => row.key);
}
