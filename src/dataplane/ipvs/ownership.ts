import type { Scheduler } from '../../model/scheduler.ts';
import {
  type RealServerKey,
  realServerKey,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import {
  type DrainKey,
  drainKey,
  type Ledger,
  type LedgerDrain,
  type LedgerOrigin,
  type LedgerSysctl,
} from '../ledger.ts';
import { frontendMadeStale } from './flows.ts';
import type { KernelAnswer, KernelState, KernelVirtualServer } from './kernel.ts';
import { type IpvsOp, reasonOf } from './ops.ts';
import {
  equalOrigin,
  type IpvsRows,
  type RealServerRow,
  type SysctlRow,
  type VirtualServerRow,
} from './rows.ts';

/** Entries of the ledger for what the kernel no longer has, as after a reboot or somebody's `ipvsadm -C`. */
export interface StaleEntries {
  readonly virtualServers: readonly VirtualServerKey[];
  readonly drains: readonly DrainKey[];
  readonly sysctls: readonly string[];
}

export const NO_STALE_ENTRIES: StaleEntries = { virtualServers: [], drains: [], sysctls: [] };

/**
 * What the kernel has, each row marked ours or foreign by the ledger.
 * @param sysctls values by name; the unreadable are missing
 */
export function joinLedger(
  state: KernelState,
  sysctls: ReadonlyMap<string, string>,
  ledger: Ledger,
  observedAtMs: number,
): IpvsRows {
  const virtualServers = new Map<VirtualServerKey, VirtualServerRow>();
  for (const virtualServer of state.virtualServers) {
    const row = joinVirtualServer(virtualServer, ledger);
    virtualServers.set(row.key, row);
  }
  const sysctlRows = new Map<string, SysctlRow>();
  for (const [name, value] of sysctls) {
    sysctlRows.set(name, { value, changed: ledger.sysctls.get(name) ?? null });
  }
  const unavailableSchedulers: ReadonlySet<Scheduler> = new Set(state.unavailableSchedulers);
  const { staleFlows } = ledger;
  return { virtualServers, sysctls: sysctlRows, observedAtMs, unavailableSchedulers, staleFlows };
}

function joinVirtualServer({ identity, config, realServers }: KernelVirtualServer, ledger: Ledger) {
  const key = virtualServerKey(identity);
  const entry = ledger.virtualServers.get(key);
  const rows = new Map<RealServerKey, RealServerRow>();
  for (const realServer of realServers) {
    const real = realServerKey(realServer.config);
    // A record beside another weight is left from a drain that was taken back, or never reached the kernel.
    const draining = entry !== undefined && realServer.config.weight === 0 && ledger.drains.size > 0;
    const drain = draining ? (ledger.drains.get(drainKey(key, real)) ?? null) : null;
    rows.set(real, { ...realServer, drain, reason: '' });
  }
  const row: VirtualServerRow = {
    key,
    identity,
    config,
    realServers: rows,
    owner: entry ? 'svcplane' : 'foreign',
    origin: entry ?? null,
    reason: entry ? reasonOf(entry) : '',
  };
  return row;
}

/** What in `ledger` has no row in `rows`, which were just observed. */
export function staleEntries(ledger: Ledger, rows: IpvsRows): StaleEntries {
  const live = new Set<DrainKey>();
  for (const { key, realServers } of rows.virtualServers.values()) {
    for (const [real, { drain }] of realServers) {
      if (drain !== null) live.add(drainKey(key, real));
    }
  }
  return {
    virtualServers: [...ledger.virtualServers.keys()].filter((key) => !rows.virtualServers.has(key)),
    drains: [...ledger.drains.keys()].filter((key) => !live.has(key)),
    sysctls: [...(rows.sysctls ?? [])].flatMap(([name, { value, changed }]) =>
      changed && changed.set !== value ? [name] : [],
    ),
  };
}

/** The ledger as it must be on disk before the first of `ops` reaches the kernel; itself if nothing changes. */
export function writeAhead(
  ledger: Ledger,
  ops: readonly IpvsOp[],
  stale: StaleEntries,
  nowMs: number,
): Ledger {
  const edits = new LedgerEdits();
  for (const key of stale.virtualServers) edits.virtualServers.set(key, null);
  for (const key of stale.drains) edits.drains.set(key, null);
  for (const name of stale.sysctls) edits.sysctls.set(name, null);
  for (const op of ops) {
    const frontend = frontendMadeStale(op, (key) => ledger.virtualServers.get(key));
    if (frontend !== null) edits.staleFlows.set(frontend, true);
    if (op.op === 'addVirtualServer' || op.op === 'adoptVirtualServer') {
      edits.virtualServers.set(virtualServerKey(op.identity), op.origin);
    } else if (op.op === 'drainRealServer') {
      const drain = { startedAtMs: nowMs, timeoutSeconds: op.timeoutSeconds };
      edits.drains.set(drainKey(virtualServerKey(op.identity), realServerKey(op.realServer)), drain);
    } else if (op.op === 'setSysctl') {
      edits.sysctls.set(op.name, changedSysctl(ledger.sysctls.get(op.name), op));
    }
  }
  return edits.appliedTo(ledger);
}

/**
 * The ledger after `ops`, whose answers are known now. An `unknown` answer keeps what was written ahead: the next
 * observation tells.
 * @param answers one per operation
 */
export function settle(ledger: Ledger, ops: readonly IpvsOp[], answers: readonly KernelAnswer[]): Ledger {
  const edits = new LedgerEdits();
  const deleted = new Set<string>();
  for (const [i, op] of ops.entries()) {
    const outcome = answers[i]?.outcome ?? 'unknown';
    if (outcome === 'unknown') continue;
    if (outcome === 'ok') settleDone(edits, deleted, op);
    else settleUndone(edits, op);
  }
  if (deleted.size > 0) {
    for (const key of ledger.drains.keys()) {
      if (deleted.has(key.slice(0, key.indexOf(' -> ')))) edits.drains.set(key, null);
    }
  }
  return edits.appliedTo(ledger);
}

function settleDone(edits: LedgerEdits, deleted: Set<string>, op: IpvsOp): void {
  if (op.op === 'deleteVirtualServer') {
    const key = virtualServerKey(op.identity);
    edits.virtualServers.set(key, null);
    deleted.add(key);
  } else if (op.op === 'setRealServer' || op.op === 'deleteRealServer') {
    edits.drains.set(drainKey(virtualServerKey(op.identity), realServerKey(op.realServer)), null);
  } else if (op.op === 'restoreSysctl') {
    edits.sysctls.set(op.name, null);
  } else if (op.op === 'deleteFlows') {
    edits.staleFlows.set(virtualServerKey({ kind: 'address', ...op }), null);
  }
}

/** Takes back what was written ahead. */
function settleUndone(edits: LedgerEdits, op: IpvsOp): void {
  if (op.op === 'addVirtualServer') {
    // With EEXIST it is somebody else's; with any other refusal it does not exist.
    edits.virtualServers.set(virtualServerKey(op.identity), null);
  } else if (op.op === 'drainRealServer') {
    edits.drains.set(drainKey(virtualServerKey(op.identity), realServerKey(op.realServer)), null);
  } else if (op.op === 'setSysctl') {
    edits.sysctls.set(op.name, null);
  }
}

/**
 * The record of a sysctl we change, again perhaps: the value to restore is the last one that was not ours.
 */
export function changedSysctl(
  previous: LedgerSysctl | null | undefined,
  { before, value }: { readonly before: string; readonly value: string },
): LedgerSysctl {
  return { before: previous && previous.set === before ? previous.before : before, set: value };
}

/** Changes to a ledger; null removes. */
class LedgerEdits {
  readonly virtualServers = new Map<VirtualServerKey, LedgerOrigin | null>();
  readonly drains = new Map<DrainKey, LedgerDrain | null>();
  readonly sysctls = new Map<string, LedgerSysctl | null>();
  readonly staleFlows = new Map<VirtualServerKey, true | null>();

  /** `ledger` itself if it says all this already, so that nothing is written. */
  appliedTo(ledger: Ledger): Ledger {
    const virtualServers = edited(ledger.virtualServers, this.virtualServers, equalOrigin);
    const drains = edited(ledger.drains, this.drains, equalDrain);
    const sysctls = edited(ledger.sysctls, this.sysctls, (a, b) => a.before === b.before && a.set === b.set);
    const staleFlows = editedSet(ledger.staleFlows, this.staleFlows);
    const same =
      virtualServers === ledger.virtualServers &&
      drains === ledger.drains &&
      sysctls === ledger.sysctls &&
      staleFlows === ledger.staleFlows;
    return same ? ledger : { ...ledger, virtualServers, drains, sysctls, staleFlows };
  }
}

function equalDrain(a: LedgerDrain, b: LedgerDrain): boolean {
  return a.startedAtMs === b.startedAtMs && a.timeoutSeconds === b.timeoutSeconds;
}

function editedSet<K>(set: ReadonlySet<K>, edits: ReadonlyMap<K, true | null>): ReadonlySet<K> {
  const present = new Map(Array.from(set, (key) => [key, true] as const));
  const map = edited(present, edits, () => true);
  return map === present ? set : new Set(map.keys());
}

function edited<K, V>(
  map: ReadonlyMap<K, V>,
  edits: ReadonlyMap<K, V | null>,
  equal: (a: V, b: V) => boolean,
): ReadonlyMap<K, V> {
  let copy: Map<K, V> | null = null;
  for (const [key, value] of edits) {
    const present = map.get(key);
    if (value === null ? present === undefined : present !== undefined && equal(present, value)) continue;
    copy ??= new Map(map);
    if (value === null) copy.delete(key);
    else copy.set(key, value);
  }
  return copy ?? map;
}
