import {
  type DataplaneName,
  type Operation,
  type OperationKind,
  operationKind,
} from '../dataplane/dataplane.ts';
import { familyOf } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { Stage } from '../sync/stage.ts';
import { DRIFT_CLASSES, driftCounts } from './drift.ts';
import { type HealthState, oldestOf } from './health.ts';
import type { MetricRegistry } from './prometheus-client.ts';
import {
  type AuditRecord,
  acknowledgedIn,
  type GuardRecord,
  type NodeView,
  type SyncRecord,
} from './records.ts';
import { SocketMetrics } from './socket-metrics.ts';

/** Which dataplane an operation is of. */
export type DataplaneOf = (op: Operation) => DataplaneName;

/** Tells it by which stage can read the operation; each name of an operation is asked for once. */
export function dataplaneFinder(stages: readonly Pick<Stage, 'name' | 'parse'>[]): DataplaneOf {
  const known = new Map<string, DataplaneName>();
  return (op) => {
    const before = known.get(op.op);
    if (before !== undefined) return before;
    const owner = stages.find((stage) => stage.parse([op]).ops.length > 0);
    if (!owner) throw new RangeError(`Cannot tell the dataplane of operation ${op.op}`);
    known.set(op.op, owner.name);
    return owner.name;
  };
}

const DATAPLANES: readonly DataplaneName[] = ['nftables', 'ipvs', 'connsync', 'addresses', 'vrrp', 'socklb'];
const KINDS: readonly OperationKind[] = ['add', 'change', 'delete'];
const WATCH_STATES = ['listing', 'watching', 'retrying'] as const;

/** What svcplane says of itself and its node beyond what kube-proxy does; each costs what a sync has changed. */
export class NodeMetrics {
  readonly #metrics: ReturnType<typeof register>;
  readonly #dataplaneOf: DataplaneOf;
  readonly #sockets: SocketMetrics;

  constructor(registry: MetricRegistry, dataplaneOf: DataplaneOf) {
    this.#metrics = register(registry);
    this.#dataplaneOf = dataplaneOf;
    this.#sockets = new SocketMetrics(registry);
    this.#metrics.guardHeld.set(0);
    this.#metrics.guardTrips.inc(0);
  }

  synced(record: SyncRecord): void {
    const { syncs, operations, lastOperations, refused } = this.#metrics;
    syncs.inc({ kind: record.kind, outcome: record.isComplete ? 'complete' : 'incomplete' });
    for (const dataplane of DATAPLANES) {
      for (const kind of KINDS) lastOperations.set({ dataplane, kind }, 0);
    }
    const count = (op: Operation, outcome: string) =>
      operations.inc({ dataplane: this.#dataplaneOf(op), op: op.op, outcome });
    for (const op of acknowledgedIn(record)) {
      count(op, 'acknowledged');
      lastOperations.inc({ dataplane: this.#dataplaneOf(op), kind: operationKind(op) });
    }
    for (const { op, code } of record.rounds.flatMap((round) => round.refused)) {
      count(op, 'refused');
      refused.inc({ dataplane: this.#dataplaneOf(op), code });
    }
    // What an earlier round has left out, a later one has planned again.
    for (const op of record.rounds.at(-1)?.notAttempted ?? []) count(op, 'not_attempted');
  }

  /** A sync that threw. */
  failed(kind: SyncRecord['kind'], error: unknown): void {
    this.#metrics.syncs.inc({ kind, outcome: 'error' });
    this.unread(error);
  }

  /** The kernel could not be read, or be told anything. */
  unread(error: unknown): void {
    this.#metrics.channelErrors.inc({ code: codeOf(error) });
  }

  audited({ atMs, ops, foreign }: AuditRecord): void {
    const { drift, driftFound, lastAudit } = this.#metrics;
    const counts = driftCounts(ops, foreign.length);
    for (const name of DRIFT_CLASSES) {
      drift.set({ class: name }, counts[name]);
      // Foreign rows are no drift that comes and goes: they stay what they are.
      if (name !== 'foreign') driftFound.inc({ class: name }, counts[name]);
    }
    lastAudit.set(atMs / 1000);
  }

  /** @param guard null when nothing is held back any more */
  guarded(guard: GuardRecord | null, isNew: boolean): void {
    this.#metrics.guardHeld.set(guard ? 1 : 0);
    if (guard && isNew) this.#metrics.guardTrips.inc();
  }

  /** A list from the beginning, or a watch begun anew. */
  watched(kind: string, event: 'relist' | 'restart'): void {
    (event === 'relist' ? this.#metrics.relists : this.#metrics.restarts).inc({ kind });
  }

  /** Brings up to date what is looked at only when somebody asks. */
  looked(view: NodeView, health: HealthState, nowMs: number): void {
    const { queueAge, foreign, rejected, draining, ledger, watch, ready } = this.#metrics;
    const oldestMs = oldestOf(health);
    queueAge.set(oldestMs === null ? 0 : Math.max(0, nowMs - oldestMs) / 1000);
    ready.set(health.lastCompleteAtMs === null ? 0 : 1);
    foreign.set(view.foreign.length);
    rejected.set(view.rejected.length);
    draining.set(view.draining);
    for (const [kind, count] of Object.entries(view.ledger)) ledger.set({ kind }, count);
    for (const { kind, state } of health.api) {
      for (const each of WATCH_STATES) watch.set({ kind, state: each }, each === state ? 1 : 0);
    }
    if (view.desired) this.#count(view.desired);
    if (view.sockets) this.#sockets.looked(view.sockets);
  }

  #count({ virtualServers }: DesiredState): void {
    const { servers, realServers } = this.#metrics;
    const counts = { IPv4: [0, 0], IPv6: [0, 0] };
    for (const server of virtualServers.values()) {
      const [ofFamily = 0, backends = 0] = counts[familyOf(server.address)];
      counts[familyOf(server.address)] = [ofFamily + 1, backends + server.realServers.length];
    }
    for (const family of ['IPv4', 'IPv6'] as const) {
      servers.set({ ip_family: family }, counts[family][0] ?? 0);
      realServers.set({ ip_family: family }, counts[family][1] ?? 0);
    }
  }
}

/** The name of an errno, or of the error where it is none of the system's. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

function register(registry: MetricRegistry) {
  const name = (rest: string) => `svcplane_${rest}`;
  return {
    syncs: registry.counter(name('syncs_total'), 'Syncs by what was looked at and how they ended', [
      'kind',
      'outcome',
    ]),
    operations: registry.counter(name('operations_total'), 'Changes of the kernel by how they ended', [
      'dataplane',
      'op',
      'outcome',
    ]),
    lastOperations: registry.gauge(name('sync_last_operations'), 'Changes that the last sync has made', [
      'dataplane',
      'kind',
    ]),
    refused: registry.counter(name('operations_refused_total'), 'Changes that the kernel has refused', [
      'dataplane',
      'code',
    ]),
    channelErrors: registry.counter(
      name('netlink_errors_total'),
      'Failures of a channel to the kernel, or of reading it',
      ['code'],
    ),
    drift: registry.gauge(name('drift'), 'Rows that the last audit has found other than wanted', ['class']),
    driftFound: registry.counter(name('drift_found_total'), 'Rows that audits have found other than wanted', [
      'class',
    ]),
    lastAudit: registry.gauge(name('last_audit_timestamp_seconds'), 'When the last audit has ended'),
    foreign: registry.gauge(name('foreign_objects'), 'Rows in the kernel that somebody else has made'),
    ledger: registry.gauge(name('ledger_entries'), 'Objects in the kernel that are entered as ours', [
      'kind',
    ]),
    draining: registry.gauge(name('draining_real_servers'), 'Real servers whose connections are waited for'),
    guardHeld: registry.gauge(name('guard_held'), '1 while deletions are held back, else 0'),
    guardTrips: registry.counter(name('guard_trips_total'), 'Times that deletions were held back'),
    queueAge: registry.gauge(
      name('queue_age_seconds'),
      'Age of the oldest change not in the kernel; 0 for none',
    ),
    ready: registry.gauge(name('synced'), '1 once a sync was complete, else 0'),
    servers: registry.gauge(name('virtual_servers'), 'Virtual servers that are wanted', ['ip_family']),
    realServers: registry.gauge(name('real_servers'), 'Real servers of all virtual servers that are wanted', [
      'ip_family',
    ]),
    rejected: registry.gauge(name('rejected_objects'), 'Parts of the input that are not served'),
    watch: registry.gauge(name('api_watch_state'), '1 for the state that the watch of a kind is in', [
      'kind',
      'state',
    ]),
    relists: registry.counter(name('api_relists_total'), 'Lists of a kind from the beginning', ['kind']),
    restarts: registry.counter(name('api_watch_restarts_total'), 'Watches of a kind begun anew', ['kind']),
  };
}
