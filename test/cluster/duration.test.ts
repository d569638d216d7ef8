import { describe, expect, it } from 'vitest';
import { parseDurationSeconds } from '../../src/cluster/duration.ts';

describe('parseDurationSeconds()', () => {
  it.each([
    ['0', 0],
    ['90', 90],
    ['1.5', 1.5],
    ['90s', 90],
    ['5m', 300],
    ['1h30m', 5400],
    ['1.5m', 90],
    ['500ms', 0.5],
    ['1m500ms', 60.5],
  ])('reads %s as %d seconds', (text, seconds) => {
    expect(parseDurationSeconds(text)).toBe(seconds);
  });

  it.each([
    '',
    ' 90',
    '-1',
    '-5m',
    '+5',
    '1e3',
    '0x10',
    '5 m',
    'm',
    '5d',
    '5m3',
    '1h30',
    '.5s',
    'Infinity',
  ])('takes %j for no duration', (text) => {
    expect(parseDurationSeconds(text)).toBeUndefined();
  });
});
