import type { Look } from '../dataplane/dataplane.ts';

/** So long a look keeps others waiting. */
const SLICE_MS = 5;

/** A look has been given up, for something else is to be done first. */
export class GivenWay extends Error {
  override readonly name = 'GivenWay';

  constructor() {
    super('A look has given way to what was asked for meanwhile');
  }
}

/**
 * A look that lets others come to their turn every few milliseconds.
 * @param asked aborted when something is asked for that the look is to give way to; null for a look that does not
 */
export function pacedLook(signal: AbortSignal, asked: AbortSignal | null): Look {
  let sinceMs = performance.now();
  return {
    signal,
    givenUp: asked ? AbortSignal.any([signal, asked]) : signal,
    pause: async () => {
      if (performance.now() - sinceMs >= SLICE_MS) {
        // What came meanwhile is heard of before this goes on.
        await new Promise((resolve) => setImmediate(resolve));
        sinceMs = performance.now();
      }
      signal.throwIfAborted();
      if (asked?.aborted) throw new GivenWay();
    },
  };
}
