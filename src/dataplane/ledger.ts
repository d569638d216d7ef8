import type { IpAddress } from '../model/address.ts';
import type { Exposure, RealServerKey, VirtualServerKey } from '../model/virtual-server.ts';

/** Where a virtual server of ours comes from. */
export interface LedgerOrigin {
  readonly service: string;
  readonly servicePort: string;
  readonly exposure: Exposure;
  /** Of a firewall mark: the frontend whose inside clients bear it. null for a frontend itself. */
  readonly frontend: VirtualServerKey | null;
  /** Of its Service, for when that is gone; null for the configured default, undefined where nobody has said. */
  readonly drainTimeoutSeconds?: number | null;
}

/** A real server of ours that was set to weight 0 to drain. */
export interface LedgerDrain {
  /** ms since the epoch */
  readonly startedAtMs: number;
  /** How long it may keep its connections; null for the configured default. */
  readonly timeoutSeconds: number | null;
}

/** A sysctl we changed: what it was, to be restored, and what we set, so that a later foreign change is seen. */
export interface LedgerSysctl {
  readonly before: string;
  readonly set: string;
}

/** A kernel thread that sends IPVS's connections to other nodes, or takes those of others. */
export type SyncRole = 'master' | 'backup';

/** Backup first: who is to hold an address must know its connections before. */
export const SYNC_ROLES: readonly SyncRole[] = ['backup', 'master'];

/** A daemon of connection synchronisation that we started; another one in its place is not ours. */
export interface LedgerSyncDaemon {
  readonly interface: string;
  readonly id: number;
  /** Of that link when it was started, for another one may have got its name; null where nobody has looked. */
  readonly linkIndex: number | null;
}

/**
 * What in this kernel is ours. Nothing that is not written here is ever deleted. Written ahead: a row is entered
 * before it is made, so that a crash in between leaves nothing of ours unowned. Valid for one boot and one network
 * namespace: after a reboot nothing of ours exists, whatever the file says.
 */
export interface Ledger {
  readonly virtualServers: ReadonlyMap<VirtualServerKey, LedgerOrigin>;
  /** By {@link drainKey}. */
  readonly drains: ReadonlyMap<DrainKey, LedgerDrain>;
  /** Frontends of UDP and SCTP that lost an endpoint, until conntrack has forgotten it. */
  readonly staleFlows: ReadonlySet<VirtualServerKey>;
  readonly addresses: ReadonlySet<IpAddress>;
  /** Local prefix routes, `network/length`. */
  readonly routes: ReadonlySet<string>;
  /** Links we created, by name. */
  readonly links: ReadonlySet<string>;
  /** By name with dots: `net.ipv4.vs.conntrack`. */
  readonly sysctls: ReadonlyMap<string, LedgerSysctl>;
  readonly syncDaemons: ReadonlyMap<SyncRole, LedgerSyncDaemon>;
}

export type DrainKey = `${VirtualServerKey} -> ${RealServerKey}`;

export function drainKey(virtualServer: VirtualServerKey, realServer: RealServerKey): DrainKey {
  return `${virtualServer} -> ${realServer}`;
}

export const EMPTY_LEDGER: Ledger = {
  virtualServers: new Map(),
  drains: new Map(),
  staleFlows: new Set(),
  addresses: new Set(),
  routes: new Set(),
  links: new Set(),
  sysctls: new Map(),
  syncDaemons: new Map(),
};

/** The ledger with nothing left of it but these virtual servers, and what drains in them. */
export function disowned(ledger: Ledger, keep: ReadonlySet<VirtualServerKey>): Ledger {
  const virtualServers = new Map([...ledger.virtualServers].filter(([key]) => keep.has(key)));
  const kept: ReadonlySet<string> = new Set(virtualServers.keys());
  const drains = [...ledger.drains].filter(([key]) => kept.has(key.slice(0, key.indexOf(' -> '))));
  return { ...EMPTY_LEDGER, virtualServers, drains: new Map(drains) };
}

/** The ledger as the dataplanes use it. */
export interface LedgerAccess {
  read(): Ledger;
  /**
   * Replaces the ledger, durable before it returns; writes nothing if `change` returns its argument.
   * @throws if the file can't be written: then nothing may be changed in the kernel either
   */
  update(change: (ledger: Ledger) => Ledger): void;
  /**
   * For changes that need no entry, and come before others that do.
   * @throws as `update` would now
   */
  check(): void;
}

/** How many entries of each kind there are. */
export function entryCounts(ledger: Ledger): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(ledger).map(([kind, entries]: [string, { readonly size: number }]) => [
      kind,
      entries.size,
    ]),
  );
}
