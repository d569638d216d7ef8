/** A connection that has ended keeps its real server no longer than this. */
const MAX_WAIT_MS = 1000;

/** A real server that drains. */
export interface Drain {
  /** ms since the epoch */
  readonly startedAtMs: number;
  /** How long it may keep its connections; null for the default. */
  readonly timeoutSeconds: number | null;
}

/**
 * When draining real servers should be looked at again: when the first deadline passes, and each second until then.
 * @returns milliseconds; null if none drains
 */
export function drainCheckMs(
  drains: Iterable<Drain>,
  nowMs: number,
  defaultTimeoutMs: number,
): number | null {
  let waitMs: number | null = null;
  for (const { startedAtMs, timeoutSeconds } of drains) {
    const timeoutMs = timeoutSeconds === null ? defaultTimeoutMs : timeoutSeconds * 1000;
    const leftMs = startedAtMs + timeoutMs - nowMs;
    // One that is over and still there could not be deleted: that is tried again, but not without a rest.
    waitMs = Math.min(waitMs ?? MAX_WAIT_MS, leftMs > 0 ? leftMs : MAX_WAIT_MS);
  }
  return waitMs;
}

/** The sooner of two times; null is never. */
export function earlier(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
}
