import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dueAtMs, IDLE, type Trigger, withChange, withSync } from '../../src/sync/trigger.ts';

const changes = (trigger: Trigger, ...times: readonly number[]): Trigger =>
  times.reduce((before, nowMs) => withChange(before, 'address notice', nowMs), trigger);

describe('dueAtMs()', () => {
  test.each([
    { name: 'nothing pending', trigger: IDLE, due: null },
    { name: 'the first change of all, at once', trigger: changes(IDLE, 7), due: 7 },
    { name: 'the first after a rest, at once', trigger: changes(withSync(1000), 1100), due: 1100 },
    { name: 'one soon after a sync, after 10 ms', trigger: changes(withSync(1000), 1030), due: 1040 },
    { name: 'several, 10 ms after the last', trigger: changes(withSync(1000), 1030, 1038, 1045), due: 1055 },
    {
      name: 'a stream, when the first is 100 ms old',
      trigger: changes(withSync(1000), ...Array.from({ length: 30 }, (_, i) => 1001 + 5 * i)),
      due: 1101,
    },
    { name: 'nothing, after the sync', trigger: withSync(1000), due: null },
  ])('$name', ({ trigger, due }) => {
    expect(dueAtMs(trigger)).toBe(due);
  });

  test('is never later than 100 ms after the first change', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1 });
    fc.assert(
      fc.property(fc.nat(200), gaps, (rest, given) => {
        let nowMs = 1000 + rest;
        const times = given.map((gap) => {
          nowMs += gap;
          return nowMs;
        });
        const due = dueAtMs(changes(withSync(1000), ...times));
        expect(due).toBeLessThanOrEqual((times[0] ?? 0) + 100);
        expect(due).toBeGreaterThanOrEqual(times[0] ?? 0);
      }),
    );
  });
});

describe('withChange()', () => {
  test('keeps every reason once', () => {
    const trigger = withChange(withChange(changes(IDLE, 1, 2), 'files changed', 3), 'address notice', 4);
    expect([...(trigger.pending?.reasons ?? [])]).toEqual(['address notice', 'files changed']);
  });
});
