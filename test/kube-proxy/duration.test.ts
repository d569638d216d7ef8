import { describe, expect, it } from 'vitest';
import { parseGoDuration } from '../../src/kube-proxy/duration.ts';

describe('parseGoDuration()', () => {
  it.each([
    ['0', 0],
    ['0s', 0],
    ['30s', 30_000],
    ['1h15m30.5s', 4_530_500],
    ['24h0m0s', 86_400_000],
    ['250ms', 250],
    ['.5s', 500],
    ['1500us', 1.5],
    ['2µs', 0.002],
    ['-1m', -60_000],
    ['+1m', 60_000],
  ])('%s is %s ms', (text, ms) => {
    expect(parseGoDuration(text)).toBeCloseTo(ms, 9);
  });

  it.each(['', '5', '5x', 's', '1h 2m', '1.2.3s', '--1s', '1m30'])('refuses "%s", as Go does', (text) => {
    expect(parseGoDuration(text)).toBeUndefined();
  });
});
