import { describe, expect, test } from 'vitest';
import { drainCheckMs } from '../../src/sync/drain-check.ts';

describe('drainCheckMs()', () => {
  test.each([
    { name: 'none drains', started: [], wait: null },
    { name: 'one that has just begun: in a second', started: [100_000], wait: 1000 },
    { name: 'one with a deadline sooner: then', started: [100_000, 40_300], wait: 300 },
    { name: 'one past its deadline: in a second', started: [10_000], wait: 1000 },
    { name: 'one from the future of another clock: in a second', started: [900_000], wait: 1000 },
  ])('$name', ({ started, wait }) => {
    expect(drainCheckMs(started, 100_000, 60_000)).toBe(wait);
  });
});
