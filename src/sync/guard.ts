import type { EndpointCounts } from './emptied.ts';

/** When deletions are held back. */
export interface GuardOptions {
  /** Of our virtual servers, and of Services with endpoints, 0 to 1: more is held; 1 switches the guard off. */
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
  /** Without it endpoints are not judged. */
  readonly endpoints?: EndpointCounts;
}

/** Deletions that are held back. */
export interface Hold {
  /** When it began, on the caller's clock. */
  readonly sinceMs: number;
  /** Our virtual servers then, with what had gone within the window: later additions don't dilute it. */
  readonly ours: number;
  /** Not wanted at the last review. */
  readonly unwanted: number;
  /** Services with endpoints when it began, with what had lost them within the window. */
  readonly served: number;
  /** Those that would have none at the last review. */
  readonly emptied: ReadonlySet<string>;
}

/** What the guard remembers from sync to sync; plain data. Times in ms since the epoch, of a clock that never steps. */
export interface GuardState {
  /** Of unwanted virtual servers, the oldest first; those that were released do not count. */
  readonly deletions: readonly { readonly atMs: number; readonly count: number }[];
  /** null while nothing is held. */
  readonly hold: Hold | null;
  /** Unwanted virtual servers that may go, and have not gone yet: released by somebody, or by time. */
  readonly released: number;
  /** Services that have lost all their endpoints, by when; as long as they have none, and but those that were released. */
  readonly emptied: ReadonlyMap<string, number>;
  /** Services that may lose all their endpoints, and have not yet. */
  readonly releasedServices: ReadonlySet<string>;
  /** Of how many virtual servers and Services with endpoints the last review took its shares; null before one. */
  readonly basis: { readonly ours: number; readonly served: number } | null;
}

export const UNGUARDED: GuardState = {
  deletions: [],
  hold: null,
  released: 0,
  emptied: new Map(),
  releasedServices: new Set(),
  basis: null,
};

export interface GuardReview {
  readonly state: GuardState;
  readonly verdict: 'pass' | 'hold';
  /** One line: what is held and what to do, or how a hold has ended; "" where there is nothing to tell. */
  readonly reason: string;
}

/**
 * Whether a sync may take away what is not wanted any more: virtual servers, and the last endpoints of Services. Too much
 * of it at once, or within the window, is rather an API server that is wrong than a cluster that has changed.
 */
export function reviewGuard(
  before: GuardState,
  counts: DeletionCounts,
  nowMs: number,
  options: GuardOptions,
): GuardReview {
  const windowMs = options.holdSeconds * 1000;
  const { state, servers, services } = weigh(before, counts, nowMs, windowMs);
  const what = [
    ...(servers.isNew && exceeds(servers, options) ? [amount(servers, SERVERS)] : []),
    ...(services.isNew && leavesTooFew(services, options) ? [amount(services, SERVICES)] : []),
  ].join(' and ');
  if (what === '') {
    const reason = before.hold
      ? `guard: no longer held: ${amount(servers, ['virtual servers', 'are not wanted'])}`
      : '';
    return { state: withEmptied(state, counts, nowMs), verdict: 'pass', reason };
  }
  const hold: Hold = {
    sinceMs: before.hold?.sinceMs ?? nowMs,
    ours: servers.base,
    unwanted: counts.unwanted,
    served: services.base,
    emptied: counts.endpoints?.emptied ?? new Set(),
  };
  if (nowMs - hold.sinceMs >= windowMs) {
    const reason = `guard: released after ${options.holdSeconds} s: ${what}`;
    return { state: releasedState(hold), verdict: 'pass', reason };
  }
  const until = new Date(hold.sinceMs + windowMs).toISOString();
  const reason =
    `guard: held: ${what}, and nothing of it goes before ${until}; ` +
    'if it is to go, run svcplane guard release, else see what is wrong with the API server';
  return { state: { ...state, hold }, verdict: 'hold', reason };
}

/** What a part of the node is about to lose. */
export interface PartialLoss {
  /** Virtual servers that are not wanted any more. */
  readonly unwanted: number;
  /** Services that would have no endpoints any more. */
  readonly emptied: ReadonlySet<string>;
}

/** Whether a loss can be told to be harmless by what the last review has seen; else there has to be another. */
export function isHarmless(
  { deletions, emptied, basis }: GuardState,
  loss: PartialLoss,
  nowMs: number,
  options: GuardOptions,
): boolean {
  if (loss.unwanted === 0 && loss.emptied.size === 0) return true;
  if (basis === null) return false;
  const isRecent = (atMs: number) => nowMs - atMs < options.holdSeconds * 1000;
  const recent = deletions.reduce((sum, { atMs, count }) => sum + (isRecent(atMs) ? count : 0), 0);
  const services = new Set(loss.emptied);
  for (const [service, atMs] of emptied) if (isRecent(atMs)) services.add(service);
  const servers = { total: recent + loss.unwanted, base: basis.ours };
  return (
    !(loss.unwanted > 0 && exceeds(servers, options)) &&
    !(loss.emptied.size > 0 && leavesTooFew({ total: services.size, base: basis.served }, options))
  );
}

const SERVERS = ['virtual servers', 'are not wanted any more'] as const;
const SERVICES = ['Services with endpoints', 'have none any more'] as const;

/** How much of something would be gone, with what has gone within the window. */
interface Share {
  readonly total: number;
  /** Of how much. */
  readonly base: number;
}

interface Loss extends Share {
  /** Whether anything of it has not gone yet, nor was released. */
  readonly isNew: boolean;
}

/** Forgets what is over, and sums up what is left. */
function weigh(
  before: GuardState,
  { ours, unwanted, endpoints }: DeletionCounts,
  nowMs: number,
  windowMs: number,
): { readonly state: GuardState; readonly servers: Loss; readonly services: Loss } {
  const deletions = before.deletions.filter(({ atMs }) => nowMs - atMs < windowMs);
  // One that is wanted again is no longer among the released.
  const released = Math.min(before.released, unwanted);
  const recent = deletions.reduce((sum, { count }) => sum + count, 0);
  const servers = {
    total: unwanted - released + recent,
    base: before.hold?.ours ?? ours - released + recent,
    isNew: unwanted > released,
  };
  const { served, emptied: emptying } = endpoints ?? NO_ENDPOINTS;
  const releasedServices = before.releasedServices.intersection(emptying);
  const emptied = new Map(
    [...before.emptied].filter(([service, atMs]) => nowMs - atMs < windowMs && !served.has(service)),
  );
  const pending = emptying.size - releasedServices.size;
  const services = {
    total: pending + emptied.size,
    base: before.hold?.served ?? served.size - releasedServices.size + emptied.size,
    isNew: pending > 0,
  };
  const basis = { ours: servers.base, served: services.base };
  return { state: { deletions, hold: null, released, emptied, releasedServices, basis }, servers, services };
}

const NO_ENDPOINTS: EndpointCounts = { served: new Set(), emptied: new Set() };

/** After a review that lets them go. */
function withEmptied(state: GuardState, { endpoints }: DeletionCounts, nowMs: number): GuardState {
  const going = [...(endpoints?.emptied ?? [])].filter((service) => !state.releasedServices.has(service));
  return recordEmptied(state, going, nowMs);
}

/** Somebody says that what is held may go: as much as was held when they said so. Nothing changes if nothing is held. */
export function confirmGuard(state: GuardState): GuardState {
  return state.hold ? releasedState(state.hold) : state;
}

/** After unwanted virtual servers have been deleted. */
export function recordDeletions(state: GuardState, count: number, nowMs: number): GuardState {
  if (count === 0) return state;
  const fromReleased = Math.min(state.released, count);
  const rest = count - fromReleased;
  const deletions = rest === 0 ? state.deletions : [...state.deletions, { atMs: nowMs, count: rest }];
  return { ...state, deletions, released: state.released - fromReleased };
}

/** After Services have lost all their endpoints. */
export function recordEmptied(state: GuardState, services: Iterable<string>, nowMs: number): GuardState {
  const emptied = new Map(state.emptied);
  for (const service of services) emptied.set(service, nowMs);
  return emptied.size === state.emptied.size ? state : { ...state, emptied };
}

/** When a hold ends by itself, in milliseconds from now: a sync is due then. null while nothing is held. */
export function guardCheckMs({ hold }: GuardState, nowMs: number, options: GuardOptions): number | null {
  return hold && Math.max(0, hold.sinceMs + options.holdSeconds * 1000 - nowMs);
}

/** What has gone before is forgotten: who released this has seen it. */
function releasedState({ unwanted, emptied }: Hold): GuardState {
  return { ...UNGUARDED, released: unwanted, releasedServices: emptied };
}

function exceeds({ total, base }: Share, options: GuardOptions): boolean {
  return options.maxDeleteShare < 1 && (total >= base || exceedsShare({ total, base }, options));
}

/** One Service by itself may go down to nothing, even where it is the only one. */
function leavesTooFew({ total, base }: Share, options: GuardOptions): boolean {
  return (
    options.maxDeleteShare < 1 && ((total >= base && total > 1) || exceedsShare({ total, base }, options))
  );
}

function exceedsShare({ total, base }: Share, { maxDeleteShare, minDeletes }: GuardOptions): boolean {
  return total >= minDeletes && total > maxDeleteShare * base;
}

function amount({ total, base }: Share, [of, become]: readonly [string, string]): string {
  const share = base === 0 ? 100 : Math.round((100 * total) / base);
  return `${total} of ${base} ${of} (${share} %) ${become}`;
}
