import { GO_ZERO_TIME, goTime } from './go-time.ts';

/**
 * How long a change may wait for a complete sync before the proxy counts as ill, in milliseconds: kube-proxy's twice
 * its sync period, which is 30 s by default.
 */
export const HEALTH_TIMEOUT_MS = 60_000;

/** How the watch of one kind of object is. `retrying`: the API server did not answer, or not well. */
export interface ApiWatchState {
  /** `Service`, `EndpointSlice`, … */
  readonly kind: string;
  readonly state: 'listing' | 'watching' | 'retrying';
  /** Since when, ms since the epoch. */
  readonly sinceMs: number;
  /** Why it is retried, in one line; "" otherwise. */
  readonly reason: string;
}

/** What the own Node says about its end. */
export interface NodeEligibility {
  /** It has a deletionTimestamp. */
  readonly isBeingDeleted: boolean;
  /** It carries the taint `ToBeDeletedByClusterAutoscaler`. */
  readonly hasDeletionTaint: boolean;
}

/** All that the answers follow from; times in ms since the epoch. */
export interface HealthState {
  /** When the oldest change came that no sync has begun to act upon; null if none waits. */
  readonly queuedSinceMs: number | null;
  /** The same of what syncs have taken up and not completed. */
  readonly takenSinceMs: number | null;
  /** null before the first. */
  readonly lastCompleteAtMs: number | null;
  /** What the last sync left undone, one line each. */
  readonly failures: readonly string[];
  readonly node: NodeEligibility;
  /** Why deletions are held back; null if none are. */
  readonly guardHeld: string | null;
  /** Empty where files are followed instead of an API server. */
  readonly api: readonly ApiWatchState[];
}

/** Before anything is known. The Node counts as eligible until it says otherwise. */
export const INITIAL_HEALTH: HealthState = {
  queuedSinceMs: null,
  takenSinceMs: null,
  lastCompleteAtMs: null,
  failures: [],
  node: { isBeingDeleted: false, hasDeletionTaint: false },
  guardHeld: null,
  api: [],
};

/** After a change has come that asks for a sync. */
export function withQueued(state: HealthState, nowMs: number): HealthState {
  return state.queuedSinceMs === null ? { ...state, queuedSinceMs: nowMs } : state;
}

/** After a sync has begun: it takes up all that waits. */
export function withSyncBegun(state: HealthState): HealthState {
  return { ...state, queuedSinceMs: null, takenSinceMs: oldestOf(state) };
}

/** After a sync has ended. @param failures what it left undone, one line each; empty if it is complete */
export function withSyncEnded(state: HealthState, nowMs: number, failures: readonly string[]): HealthState {
  if (failures.length > 0) return { ...state, failures };
  return { ...state, failures, takenSinceMs: null, lastCompleteAtMs: nowMs };
}

/** What is answered over HTTP. */
export interface HealthAnswer {
  readonly status: 200 | 503;
  /** JSON */
  readonly body: string;
}

/** Whether no change waits for too long. As kube-proxy, healthy until the first complete sync, however long it takes. */
export function isLive(state: HealthState, nowMs: number): boolean {
  const oldestMs = oldestOf(state);
  return state.lastCompleteAtMs === null || oldestMs === null || nowMs - oldestMs < HEALTH_TIMEOUT_MS;
}

/** Whether the Node is to go on getting traffic from outside. */
export function isEligible({ node }: HealthState): boolean {
  return !node.isBeingDeleted && !node.hasDeletionTaint;
}

/**
 * `/livez`: whether this process does its work.
 * @param startMs when it began
 * @see pkg/proxy/healthcheck/proxy_health.go livezHandler
 */
export function livezAnswer(state: HealthState, nowMs: number, startMs: number): HealthAnswer {
  const isHealthy = isLive(state, nowMs);
  return { status: isHealthy ? 200 : 503, body: `{${timesOf(state, isHealthy, nowMs, startMs)}}` };
}

/**
 * `/healthz`: the same, and whether load balancers are to send traffic to this Node.
 * @see pkg/proxy/healthcheck/proxy_health.go healthzHandler
 */
export function healthzAnswer(state: HealthState, nowMs: number, startMs: number): HealthAnswer {
  const eligible = isEligible(state);
  const isHealthy = isLive(state, nowMs) && eligible;
  const times = timesOf(state, isHealthy, nowMs, startMs);
  return { status: isHealthy ? 200 : 503, body: `{${times}, "nodeEligible": ${eligible}}` };
}

/** The members as kube-proxy writes them, spaces and all. A healthy proxy always says that it has just updated. */
function timesOf(state: HealthState, isHealthy: boolean, nowMs: number, startMs: number): string {
  const current = goTime(nowMs, startMs);
  const { lastCompleteAtMs } = state;
  const unhealthy = lastCompleteAtMs === null ? GO_ZERO_TIME : goTime(lastCompleteAtMs, startMs);
  return `"lastUpdated": "${isHealthy ? current : unhealthy}","currentTime": "${current}"`;
}

/** One question behind `/readyz`. */
export interface ReadinessCheck {
  readonly name: 'synced' | 'failures' | 'queue' | 'api' | 'guard' | 'node';
  readonly ok: boolean;
  /** false: only told, it makes nobody unready. */
  readonly decides: boolean;
  /** In one line; "" where all is well. */
  readonly reason: string;
}

/** The questions, in the order in which they are asked. */
export function readinessChecks(state: HealthState, nowMs: number): readonly ReadinessCheck[] {
  const unsynced = state.lastCompleteAtMs === null ? 'no sync has been complete yet' : '';
  const [failure = '', ...others] = state.failures;
  const more = others.length > 0 ? `, and ${others.length} more` : '';
  const late = isLive(state, nowMs) ? '' : `a change has waited for ${secondsSince(oldestOf(state), nowMs)}`;
  const node = isEligible(state)
    ? ''
    : `Node ${state.node.isBeingDeleted ? 'is being deleted' : 'is tainted'}`;
  return [
    check('synced', unsynced),
    check('failures', `${failure}${more}`),
    check('queue', late),
    check('api', apiTrouble(state.api, nowMs)),
    check('guard', state.guardHeld ?? '', false),
    check('node', node, false),
  ];
}

/** `/readyz`: whether the node is, and is kept, as it should be. */
export function readyzAnswer(state: HealthState, nowMs: number): HealthAnswer {
  const checks = readinessChecks(state, nowMs);
  const ready = checks.every(({ ok, decides }) => ok || !decides);
  return { status: ready ? 200 : 503, body: `${JSON.stringify({ ready, checks })}\n` };
}

function check(name: ReadinessCheck['name'], reason: string, decides = true): ReadinessCheck {
  return { name, ok: reason === '', decides, reason };
}

/** A watch that ends now and then is normal; one that can't be had again for a while is not. */
function apiTrouble(api: readonly ApiWatchState[], nowMs: number): string {
  const ill = api.filter(
    ({ state, sinceMs }) => state === 'retrying' && nowMs - sinceMs >= HEALTH_TIMEOUT_MS,
  );
  return ill
    .map(({ kind, sinceMs, reason }) => `${kind} for ${secondsSince(sinceMs, nowMs)}: ${reason}`)
    .join('; ');
}

function secondsSince(sinceMs: number | null, nowMs: number): string {
  return sinceMs === null ? '' : `${Math.floor((nowMs - sinceMs) / 1000)} s`;
}

/** When the oldest change came that is not in the kernel; null if all are. */
export function oldestOf({ queuedSinceMs, takenSinceMs }: HealthState): number | null {
  if (queuedSinceMs === null || takenSinceMs === null) return queuedSinceMs ?? takenSinceMs;
  return Math.min(queuedSinceMs, takenSinceMs);
}
