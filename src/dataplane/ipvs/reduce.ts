import { unreachable } from '../../model/brand.ts';
import {
  type RealServerKey,
  realServerKey,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { LedgerDrain, LedgerOrigin } from '../ledger.ts';
import { frontendMadeStale, knowsNoFlows } from './flows.ts';
import type { IpvsOp } from './ops.ts';
import { changedSysctl } from './ownership.ts';
import {
  type IpvsRows,
  NO_CONNECTIONS,
  type RealServerConfig,
  type RealServerRow,
  type SysctlRow,
  type VirtualServerRow,
} from './rows.ts';

/** The rows after the kernel has acknowledged `ops`, in order. Copies what it changes, once. */
export function reduceIpvs(rows: IpvsRows, ops: readonly IpvsOp[]): IpvsRows {
  if (ops.length === 0) return rows;
  const draft = new Draft(rows);
  for (const op of ops) applyOp(draft, op);
  return draft.finish();
}

function applyOp(draft: Draft, op: IpvsOp): void {
  const unknown = draft.knowsNoFlows && op.op === 'addVirtualServer';
  const stale = unknown ? null : frontendMadeStale(op, (key) => draft.origin(key));
  if (stale !== null) draft.setStaleFlows(stale, true);
  switch (op.op) {
    case 'setSysctl':
      draft.setSysctl(op.name, {
        value: op.value,
        changed: changedSysctl(draft.sysctl(op.name)?.changed, op),
      });
      break;
    case 'restoreSysctl':
      draft.setSysctl(op.name, { value: op.value, changed: null });
      break;
    case 'addVirtualServer': {
      const { identity, config, origin, reason } = op;
      const key = virtualServerKey(identity);
      draft.add({ key, identity, config, origin, reason, owner: 'svcplane' });
      break;
    }
    case 'setVirtualServer':
      draft.change(virtualServerKey(op.identity), { config: op.config });
      break;
    case 'adoptVirtualServer':
      draft.change(virtualServerKey(op.identity), {
        owner: 'svcplane',
        origin: op.origin,
        reason: op.reason,
      });
      break;
    case 'deleteVirtualServer':
      draft.delete(virtualServerKey(op.identity));
      break;
    case 'addRealServer':
    case 'setRealServer':
      draft.setRealServer(virtualServerKey(op.identity), op.realServer, null);
      break;
    case 'drainRealServer':
      draft.setRealServer(virtualServerKey(op.identity), op.realServer, op);
      break;
    case 'deleteRealServer':
      draft.deleteRealServer(virtualServerKey(op.identity), op.realServer);
      break;
    case 'deleteFlows':
      draft.setStaleFlows(virtualServerKey({ kind: 'address', ...op }), false);
      break;
    default:
      unreachable(op);
  }
}

/** Rows being changed: each map is copied the first time it is written to, so that a reduce is O(rows + ops). */
class Draft {
  readonly #rows: IpvsRows;
  readonly #virtualServers: Map<VirtualServerKey, VirtualServerRow>;
  readonly #copied = new Map<VirtualServerKey, Map<RealServerKey, RealServerRow>>();
  #sysctls: Map<string, SysctlRow> | null = null;
  #staleFlows: Set<VirtualServerKey> | null = null;

  /** See {@link knowsNoFlows}. */
  readonly knowsNoFlows: boolean;

  constructor(rows: IpvsRows) {
    this.#rows = rows;
    this.knowsNoFlows = knowsNoFlows(rows);
    this.#virtualServers = new Map(rows.virtualServers);
  }

  finish(): IpvsRows {
    return {
      ...this.#rows,
      virtualServers: this.#virtualServers,
      sysctls: this.#sysctls ?? this.#rows.sysctls,
      staleFlows: this.#staleFlows ?? this.#rows.staleFlows,
    };
  }

  /** Without real servers yet. */
  add(row: Omit<VirtualServerRow, 'realServers'>): void {
    const realServers = new Map<RealServerKey, RealServerRow>();
    this.#virtualServers.set(row.key, { ...row, realServers });
    this.#copied.set(row.key, realServers);
  }

  change(key: VirtualServerKey, fields: Partial<VirtualServerRow>): void {
    const row = this.#virtualServers.get(key);
    if (row) this.#virtualServers.set(key, { ...row, ...fields });
  }

  delete(key: VirtualServerKey): void {
    this.#virtualServers.delete(key);
    this.#copied.delete(key);
  }

  /** Keeps the connections of a real server that is there. */
  setRealServer(virtualServer: VirtualServerKey, config: RealServerConfig, drain: LedgerDrain | null): void {
    const realServers = this.#realServersOf(virtualServer);
    const key = realServerKey(config);
    const before = realServers?.get(key) ?? { ...NO_CONNECTIONS, reason: '' };
    realServers?.set(key, {
      ...before,
      config,
      drain: drain && { startedAtMs: drain.startedAtMs, timeoutSeconds: drain.timeoutSeconds },
    });
  }

  deleteRealServer(virtualServer: VirtualServerKey, config: RealServerConfig): void {
    this.#realServersOf(virtualServer)?.delete(realServerKey(config));
  }

  origin(key: VirtualServerKey): LedgerOrigin | null | undefined {
    return this.#virtualServers.get(key)?.origin;
  }

  setStaleFlows(frontend: VirtualServerKey, stale: boolean): void {
    this.#staleFlows ??= new Set(this.#rows.staleFlows);
    if (stale) this.#staleFlows.add(frontend);
    else this.#staleFlows.delete(frontend);
  }

  sysctl(name: string): SysctlRow | undefined {
    return (this.#sysctls ?? this.#rows.sysctls)?.get(name);
  }

  setSysctl(name: string, row: SysctlRow): void {
    this.#sysctls ??= new Map(this.#rows.sysctls ?? []);
    this.#sysctls.set(name, row);
  }

  #realServersOf(key: VirtualServerKey): Map<RealServerKey, RealServerRow> | undefined {
    const copied = this.#copied.get(key);
    if (copied) return copied;
    const row = this.#virtualServers.get(key);
    if (!row) return undefined;
    const realServers = new Map(row.realServers);
    this.#copied.set(key, realServers);
    this.#virtualServers.set(key, { ...row, realServers });
    return realServers;
  }
}
