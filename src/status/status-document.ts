import { operationKind } from '../dataplane/dataplane.ts';
import type { Announcement } from '../model/announcement.ts';
import type { Rejected } from '../model/rejected.ts';
import { type DriftClass, driftCounts } from './drift.ts';
import {
  type ApiWatchState,
  type HealthState,
  oldestOf,
  type ReadinessCheck,
  readinessChecks,
} from './health.ts';
import {
  type AuditRecord,
  acknowledgedIn,
  type GuardRecord,
  type NodeView,
  type SocketRecord,
  type SyncRecord,
} from './records.ts';

/** What `svcplane status -o json` prints; times in RFC 3339, UTC. */
export interface StatusDocument {
  readonly version: 1;
  readonly node: string;
  readonly program: { readonly version: string; readonly startedAt: string };
  readonly now: string;
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
  /** null before the first */
  readonly lastSync: LastSync | null;
  /** null before the first */
  readonly lastCompleteSyncAt: string | null;
  /** When the oldest change came that is not in the kernel; null if all are. */
  readonly queuedSince: string | null;
  /** Empty where files are followed instead of an API server. */
  readonly api: readonly (Omit<ApiWatchState, 'sinceMs'> & { readonly since: string })[];
  readonly virtualServers: number;
  readonly realServers: number;
  readonly draining: number;
  /** null before the node is opened */
  readonly sockets: SocketRecord | null;
  /** Groups of addresses that nodes take over from each other by VRRP; empty where this node takes no part. */
  readonly announcements: readonly (Omit<Announcement, 'sinceMs'> & {
    readonly since: string | null;
  })[];
  /** Entries by kind. */
  readonly ledger: Readonly<Record<string, number>>;
  readonly foreign: Listed<string>;
  readonly rejected: Listed<Rejected>;
  /** null while nothing is held back */
  readonly guard: { readonly reason: string; readonly since: string; readonly until: string | null } | null;
  /** null before the first */
  readonly lastAudit:
    | (Readonly<Record<DriftClass, number>> & { readonly at: string; readonly repaired: boolean })
    | null;
  /** What the last sync left undone. */
  readonly failures: Listed<string>;
  /** When that is tried again; null if nothing is. */
  readonly retryAt: string | null;
  /** Ports and sockets that can't be had. */
  readonly listenFailures: readonly string[];
}

/** Some of many. */
export interface Listed<T> {
  readonly count: number;
  /** The first few. */
  readonly first: readonly T[];
}

export interface LastSync {
  readonly kind: SyncRecord['kind'];
  readonly reasons: readonly string[];
  readonly begunAt: string;
  readonly durationMs: number;
  readonly complete: boolean;
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
}

/** What the daemon knows of itself. */
export interface StatusFacts {
  readonly node: string;
  readonly version: string;
  /** ms since the epoch, as all times here */
  readonly startMs: number;
  readonly health: HealthState;
  readonly lastSync: SyncRecord | null;
  readonly lastAudit: AuditRecord | null;
  readonly guard: GuardRecord | null;
  readonly view: NodeView;
  readonly retryAtMs: number | null;
  readonly listenFailures: readonly string[];
}

/** How many of what can be many are listed. */
const LISTED = 5;

/** Pure: the document of one moment. */
export function statusDocument(facts: StatusFacts, nowMs: number): StatusDocument {
  const { health, lastSync, lastAudit, guard, view } = facts;
  const checks = readinessChecks(health, nowMs);
  const servers = [...(view.desired?.virtualServers.values() ?? [])];
  return {
    version: 1,
    node: facts.node,
    program: { version: facts.version, startedAt: timeText(facts.startMs) },
    now: timeText(nowMs),
    ready: checks.every(({ ok, decides }) => ok || !decides),
    checks,
    lastSync: lastSync && lastSyncOf(lastSync),
    lastCompleteSyncAt: optionalTime(health.lastCompleteAtMs),
    queuedSince: optionalTime(oldestOf(health)),
    api: health.api.map(({ kind, state, sinceMs, reason }) => ({
      kind,
      state,
      since: timeText(sinceMs),
      reason,
    })),
    virtualServers: servers.length,
    realServers: servers.reduce((total, { realServers }) => total + realServers.length, 0),
    draining: view.draining,
    sockets: view.sockets,
    announcements: view.announcements.map(({ sinceMs, ...announcement }) => ({
      ...announcement,
      since: optionalTime(sinceMs),
    })),
    ledger: view.ledger,
    foreign: listed(view.foreign),
    rejected: listed(view.rejected),
    guard: guard && {
      reason: guard.reason,
      since: timeText(guard.sinceMs),
      until: optionalTime(guard.untilMs),
    },
    lastAudit: lastAudit && {
      at: timeText(lastAudit.atMs),
      repaired: lastAudit.isRepaired,
      ...driftCounts(lastAudit.ops, lastAudit.foreign.length),
    },
    failures: listed(health.failures),
    retryAt: optionalTime(facts.retryAtMs),
    listenFailures: facts.listenFailures,
  };
}

function lastSyncOf(record: SyncRecord): LastSync {
  const counts = { add: 0, change: 0, delete: 0 };
  for (const op of acknowledgedIn(record)) counts[operationKind(op)] += 1;
  return {
    kind: record.kind,
    reasons: [...record.reasons],
    begunAt: timeText(record.begunAtMs),
    durationMs: Math.round(record.endedAtMs - record.begunAtMs),
    complete: record.isComplete,
    added: counts.add,
    changed: counts.change,
    deleted: counts.delete,
  };
}

function listed<T>(all: readonly T[]): Listed<T> {
  return { count: all.length, first: all.slice(0, LISTED) };
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function optionalTime(ms: number | null): string | null {
  return ms === null ? null : timeText(ms);
}
