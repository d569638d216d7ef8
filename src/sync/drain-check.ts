/** A connection that has ended keeps its real server no longer than this. */
const MAX_WAIT_MS = 1000;

/**
 * When draining real servers should be looked at again: when the first deadline passes, and each second until then.
 * @param startedAtMs when each of them began to drain, ms since the epoch
 * @returns milliseconds; null if none drains
 */
export function drainCheckMs(startedAtMs: Iterable<number>, nowMs: number, timeoutMs: number): number | null {
  let waitMs: number | null = null;
  for (const startMs of startedAtMs) {
    const leftMs = startMs + timeoutMs - nowMs;
    // One that is over and still there could not be deleted: that is tried again, but not without a rest.
    waitMs = Math.min(waitMs ?? MAX_WAIT_MS, leftMs > 0 ? leftMs : MAX_WAIT_MS);
  }
  return waitMs;
}
