import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { slotWeights } from '../../../src/dataplane/socklb/slots.ts';

describe('slotWeights()', () => {
  it.each([
    { name: 'equal weights are one slot each', weights: [7, 7, 7], slots: [1, 1, 1] },
    { name: 'small weights are as they are', weights: [1, 2, 3], slots: [1, 2, 3] },
    { name: 'a common divisor goes', weights: [100, 200], slots: [1, 2] },
    { name: '0 stays 0', weights: [0, 5], slots: [0, 1] },
    { name: 'all 0 stay 0', weights: [0, 0], slots: [0, 0] },
    { name: 'none are none', weights: [], slots: [] },
    { name: 'a great range is cut, and nothing becomes 0', weights: [1, 65_535], slots: [1, 256] },
  ])('$name', ({ weights, slots }) => {
    expect(slotWeights(weights)).toEqual(slots);
  });

  it('stays in bounds, and keeps the order of weights', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 0x7fff_ffff }), { minLength: 1, maxLength: 50 }),
        (weights) => {
          const slots = slotWeights(weights);
          expect(slots.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(256 + 5 * weights.length);
          weights.forEach((weight, i) => {
            expect((slots[i] ?? 0) === 0).toBe(weight === 0);
            weights.forEach((other, j) => {
              if (weight < other) expect(slots[i]).toBeLessThanOrEqual(slots[j] ?? 0);
            });
          });
        },
      ),
    );
  });
});
