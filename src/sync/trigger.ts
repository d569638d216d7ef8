/** Why a sync is due; shown in the log. */
export type Reason =
  | 'start'
  | 'cluster changed'
  | 'files changed'
  | 'configuration changed'
  /** A link other than ours has other addresses. */
  | 'address notice'
  /** Our link, or what is bound to it, is other than we made it. */
  | 'link notice'
  | 'retry'
  | 'drain'
  /** What is held back may go. */
  | 'guard'
  | 'audit';

/** Changes that wait for their sync. */
export interface Pending {
  readonly reasons: ReadonlySet<Reason>;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
}

/** What decides when a change is acted upon; times in milliseconds of one clock that never goes back. */
export interface Trigger {
  readonly pending: Pending | null;
  /** When the last sync began; null before the first. */
  readonly syncedAtMs: number | null;
}

export const IDLE: Trigger = { pending: null, syncedAtMs: null };

/** Changes that belong together, as a Service and its slices, or the addresses of one link, come within this. */
const QUIET_MS = 10;

/** The oldest of many changes waits no longer than this: no stream of them holds a sync off. */
const MAX_AGE_MS = 100;

/** With another change. */
export function withChange({ pending, syncedAtMs }: Trigger, reason: Reason, nowMs: number): Trigger {
  const reasons = new Set([...(pending?.reasons ?? []), reason]);
  return { pending: { reasons, firstAtMs: pending?.firstAtMs ?? nowMs, lastAtMs: nowMs }, syncedAtMs };
}

/** After a sync has begun, which takes care of all changes up to now. */
export function withSync(nowMs: number): Trigger {
  return { pending: null, syncedAtMs: nowMs };
}

/**
 * When the pending changes are due: the first after a rest at once; those that follow it closely when there has been
 * none for 10 ms, the first of them being at most 100 ms old.
 * @returns null if nothing is pending
 */
export function dueAtMs({ pending, syncedAtMs }: Trigger): number | null {
  if (!pending) return null;
  const rested = syncedAtMs === null || pending.firstAtMs - syncedAtMs >= MAX_AGE_MS;
  if (rested) return pending.firstAtMs;
  return Math.min(pending.lastAtMs + QUIET_MS, pending.firstAtMs + MAX_AGE_MS);
}
