/** When deletions are held back. */
export interface GuardOptions {
  /** Of our virtual servers, 0 to 1: more than this share is held; 1 switches the guard off. */
  readonly maxDeleteShare: number;
  /** Fewer are never held, unless they are all. */
  readonly minDeletes: number;
  /** How long they are held, and how far back earlier deletions count. */
  readonly holdSeconds: number;
}

/** What a sync is about to do, before it does it. */
export interface DeletionCounts {
  /** Our virtual servers. */
  readonly ours: number;
  /** Those of them that are not wanted any more, be it that they drain already. */
  readonly unwanted: number;
}

/** Deletions that are held back. */
export interface Hold {
  /** When it began, on the caller's clock. */
  readonly sinceMs: number;
  /** Our virtual servers then, with what had gone within the window: later additions don't dilute it. */
  readonly ours: number;
  /** Not wanted at the last review. */
  readonly unwanted: number;
}

/** What the guard remembers from sync to sync; plain data. Times in ms since the epoch, of a clock that never steps. */
export interface GuardState {
  /** Of unwanted virtual servers, the oldest first; those that were released do not count. */
  readonly deletions: readonly { readonly atMs: number; readonly count: number }[];
  /** null while nothing is held. */
  readonly hold: Hold | null;
  /** Unwanted virtual servers that may go, and have not gone yet: released by somebody, or by time. */
  readonly released: number;
}

export const UNGUARDED: GuardState = { deletions: [], hold: null, released: 0 };

export interface GuardReview {
  readonly state: GuardState;
  readonly verdict: 'pass' | 'hold';
  /** One line: what is held and what to do, or how a hold has ended; "" where there is nothing to tell. */
  readonly reason: string;
}

/**
 * Whether a sync may take away what is not wanted any more. Too much of it at once, or within the window, is rather
 * an API server that is wrong than a cluster that has changed.
 */
export function reviewGuard(
  before: GuardState,
  counts: DeletionCounts,
  nowMs: number,
  options: GuardOptions,
): GuardReview {
  const { ours, unwanted } = counts;
  const windowMs = options.holdSeconds * 1000;
  const deletions = before.deletions.filter(({ atMs }) => nowMs - atMs < windowMs);
  // One that is wanted again is no longer among the released.
  const released = Math.min(before.released, unwanted);
  const recent = deletions.reduce((sum, { count }) => sum + count, 0);
  const total = unwanted - released + recent;
  const base = before.hold?.ours ?? ours - released + recent;
  const state: GuardState = { deletions, hold: null, released };
  if (unwanted === released || !exceeds(total, base, options)) {
    const reason = before.hold ? `guard: no longer held: ${amount(total, base)} are not wanted` : '';
    return { state, verdict: 'pass', reason };
  }
  const hold: Hold = { sinceMs: before.hold?.sinceMs ?? nowMs, ours: base, unwanted };
  if (nowMs - hold.sinceMs >= windowMs) {
    const reason = `guard: released after ${options.holdSeconds} s: ${amount(total, base)} are deleted`;
    return { state: releasedState(unwanted), verdict: 'pass', reason };
  }
  const until = new Date(hold.sinceMs + windowMs).toISOString();
  const reason =
    `guard: held: ${amount(total, base)} are not wanted any more, and none of them is deleted before ${until}; ` +
    'if they are to go, run svcplane guard release, else see what is wrong with the API server';
  return { state: { ...state, hold }, verdict: 'hold', reason };
}

/** Somebody says that what is held may go: as much as was held when they said so. Nothing changes if nothing is held. */
export function confirmGuard(state: GuardState): GuardState {
  return state.hold ? releasedState(state.hold.unwanted) : state;
}

/** After unwanted virtual servers have been deleted. */
export function recordDeletions(state: GuardState, count: number, nowMs: number): GuardState {
  if (count === 0) return state;
  const fromReleased = Math.min(state.released, count);
  const rest = count - fromReleased;
  const deletions = rest === 0 ? state.deletions : [...state.deletions, { atMs: nowMs, count: rest }];
  return { ...state, deletions, released: state.released - fromReleased };
}

/** When a hold ends by itself, in milliseconds from now: a sync is due then. null while nothing is held. */
export function guardCheckMs({ hold }: GuardState, nowMs: number, options: GuardOptions): number | null {
  return hold && Math.max(0, hold.sinceMs + options.holdSeconds * 1000 - nowMs);
}

/** What has gone before is forgotten: who released this has seen it. */
function releasedState(unwanted: number): GuardState {
  return { deletions: [], hold: null, released: unwanted };
}

function exceeds(total: number, base: number, { maxDeleteShare, minDeletes }: GuardOptions): boolean {
  if (maxDeleteShare >= 1) return false;
  return total >= base || (total >= minDeletes && total > maxDeleteShare * base);
}

function amount(total: number, base: number): string {
  const share = base === 0 ? 100 : Math.round((100 * total) / base);
  return `${total} of ${base} virtual servers (${share} %)`;
}
