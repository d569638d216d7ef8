import { describe, expect, test } from 'vitest';
import { drainCheckMs } from '../../src/sync/drain-check.ts';

const since = (startedAtMs: number, timeoutSeconds: number | null = null) => ({
  startedAtMs,
  timeoutSeconds,
});

describe('drainCheckMs()', () => {
  test.each([
    { name: 'none drains', drains: [], wait: null },
    { name: 'one that has just begun: in a second', drains: [since(100_000)], wait: 1000 },
    {
      name: 'one with a deadline sooner: then',
      drains: [since(100_000), since(40_300), since(99_000)],
      wait: 300,
    },
    {
      name: 'one with a sooner deadline of its own: then',
      drains: [since(100_000), since(99_700, 1)],
      wait: 700,
    },
    { name: 'one with a later deadline of its own: in a second', drains: [since(40_300, 90)], wait: 1000 },
    { name: 'one past its deadline: in a second', drains: [since(10_000)], wait: 1000 },
    { name: 'one from the future of another clock: in a second', drains: [since(900_000)], wait: 1000 },
  ])('$name', ({ drains, wait }) => {
    expect(drainCheckMs(drains, 100_000, 60_000)).toBe(wait);
  });
});
