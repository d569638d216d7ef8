import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { delayAfter, SYNC_BACKOFF } from '../../src/sync/backoff.ts';

const BACKOFF = { firstMs: 500, maxMs: 30_000 };

describe('delayAfter()', () => {
  test.each([
    { failures: 1, jitter: 0, delay: 500 },
    { failures: 2, jitter: 0, delay: 1000 },
    { failures: 3, jitter: 0.5, delay: 1500 },
    { failures: 7, jitter: 0, delay: 30_000 },
    { failures: 5000, jitter: 0, delay: 30_000 },
  ])('after $failures failures with jitter $jitter is $delay ms', ({ failures, jitter, delay }) => {
    expect(delayAfter(failures, jitter, BACKOFF)).toBe(delay);
  });

  test('is between half of the maximum and the maximum in the end, and the first within a second', () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(random, fc.integer({ min: 7, max: 10_000 }), (jitter, failures) => {
        const delay = delayAfter(failures, jitter, BACKOFF);
        expect(delay).toBeGreaterThanOrEqual(15_000);
        expect(delay).toBeLessThanOrEqual(30_000);
        expect(delayAfter(1, jitter, SYNC_BACKOFF)).toBeLessThanOrEqual(1000);
      }),
    );
  });
});
