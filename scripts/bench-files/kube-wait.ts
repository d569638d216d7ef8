import { pollUntil } from '../../test/kernel/kube/load.ts';
import { lastSyncMs } from './kube-candidates.ts';
import type { KernelView } from './kube-views.ts';

/** It has not got there in time, so that what builds on it cannot be measured. */
export class LimitError extends Error {
  override readonly name = 'LimitError';
}

/** Until a sync later than this, in milliseconds since the epoch. @returns when it was, as `performance.now()` */
export async function syncAfter(afterMs: number, limitMs: number): Promise<number | undefined> {
  let atMs = 0;
  const isSo = async () => {
    atMs = (await lastSyncMs()) ?? 0;
    return atMs > afterMs;
  };
  const seenMs = await pollUntil(isSo, { intervalMs: 50, timeoutMs: limitMs });
  return seenMs === undefined ? undefined : atMs - performance.timeOrigin;
}

/**
 * @returns when it was so: where looking costs much, the end of the sync after which it was
 * @throws LimitError
 */
export async function seenInTime(
  view: KernelView,
  isSo: () => Promise<boolean>,
  { limitMs, failure }: { readonly limitMs: number; readonly failure: string },
): Promise<number> {
  if (!view.isCostly) {
    const seenMs = await pollUntil(isSo, { intervalMs: 5, timeoutMs: limitMs });
    if (seenMs === undefined) throw new LimitError(failure);
    return seenMs;
  }
  const deadline = performance.now() + limitMs;
  for (let afterMs = 0; performance.now() < deadline; ) {
    const seenMs = await syncAfter(afterMs, limitMs);
    if (seenMs === undefined) break;
    if (await isSo()) return seenMs;
    // A millisecond more, for sums of fractions are not exact.
    afterMs = seenMs + performance.timeOrigin + 1;
  }
  throw new LimitError(failure);
}

/** What is not there in time has no figure, and the rest goes on. */
export async function nullAtLimit(waited: Promise<number>): Promise<number | null> {
  try {
    return await waited;
  } catch (error) {
    if (error instanceof LimitError) return null;
    throw error;
  }
}
