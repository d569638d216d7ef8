import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePort, parseProtocol } from '../../src/model/port.ts';

describe('parsePort()', () => {
  it('takes every integer from 1 to 65535 and no other number', () => {
    fc.assert(
      fc.property(fc.oneof(fc.integer({ min: -10, max: 65_545 }), fc.double()), (value) => {
        const valid = Number.isInteger(value) && value >= 1 && value <= 65_535;
        expect(parsePort(value)).toBe(valid ? value : undefined);
      }),
    );
  });

  it.each([
    0,
    -0,
    65_536,
    80.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    '80',
    80n,
    null,
    undefined,
    [80],
    true,
  ])('refuses %s', (value) => {
    expect(parsePort(value)).toBeUndefined();
  });
});

describe('parseProtocol()', () => {
  it.each(['TCP', 'UDP', 'SCTP'])('takes %s', (value) => {
    expect(parseProtocol(value)).toBe(value);
  });

  it.each(['tcp', 'ICMP', '', ' TCP', null, undefined, 6, ['TCP']])('refuses %j', (value) => {
    expect(parseProtocol(value)).toBeUndefined();
  });
});
