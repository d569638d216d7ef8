/** When something that failed is tried again. */
export interface Backoff {
  /** Before the second attempt, in milliseconds. */
  readonly firstMs: number;
  readonly maxMs: number;
}

/** A channel to the kernel that broke is back at once; what is refused for long costs next to nothing to retry. */
export const SYNC_BACKOFF: Backoff = { firstMs: 500, maxMs: 30_000 };

/** A port is mostly taken by somebody who restarts. */
export const LISTEN_BACKOFF: Backoff = { firstMs: 500, maxMs: 10_000 };

/** An API server that restarts is back within seconds, and then has all nodes to answer. */
export const API_BACKOFF: Backoff = { firstMs: 500, maxMs: 30_000 };

/**
 * How long to wait after `failures` attempts that failed, one after the other: twice as long each time, less up to
 * half, so that many nodes do not do it together.
 * @param failures at least 1
 * @param jitter a random number in [0, 1)
 * @returns milliseconds
 */
export function delayAfter(failures: number, jitter: number, { firstMs, maxMs }: Backoff): number {
  // 2 ** 1024 is Infinity, which the maximum takes care of.
  const delayMs = Math.min(maxMs, firstMs * 2 ** (failures - 1));
  return delayMs * (1 - jitter / 2);
}
