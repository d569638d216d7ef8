/** How long something took, and the longest time in which nobody else had a turn, in ms. */
export interface Turns {
  readonly totalMs: number;
  readonly longestMs: number;
}

/** Runs `body`, and looks meanwhile as often as the event loop comes round. */
export async function measureTurns(body: () => Promise<unknown>): Promise<Turns> {
  const start = performance.now();
  let last = start;
  let longestMs = 0;
  const look = () => {
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
  };
  let next: NodeJS.Immediate;
  const turn = () => {
    look();
    next = setImmediate(turn);
  };
  next = setImmediate(turn);
  await body();
  look();
  clearImmediate(next);
  return { totalMs: performance.now() - start, longestMs };
}
