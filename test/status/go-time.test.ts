import { describe, expect, test } from 'vitest';
import { goTime } from '../../src/status/go-time.ts';

const START = Date.UTC(2026, 10, 21, 20, 0, 0);

describe('goTime()', () => {
  test.each([
    { name: 'a fraction', at: START + 12_345, text: '2026-11-21 20:00:12.345 +0000 UTC m=+12.345000000' },
    { name: 'zeros at its end', at: START + 10_500, text: '2026-11-21 20:00:10.5 +0000 UTC m=+10.500000000' },
    { name: 'no fraction', at: START + 20_000, text: '2026-11-21 20:00:20 +0000 UTC m=+20.000000000' },
    { name: 'the start', at: START, text: '2026-11-21 20:00:00 +0000 UTC m=+0.000000000' },
    { name: 'a time before it', at: START - 1, text: '2026-11-21 19:59:59.999 +0000 UTC m=-0.001000000' },
  ])('$name', ({ at, text }) => {
    expect(goTime(at, START)).toBe(text);
  });
});
