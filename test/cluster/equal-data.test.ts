import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equalData } from '../../src/cluster/equal-data.ts';

describe('equalData()', () => {
  it.each<{ a: unknown; b: unknown; equal: boolean }>([
    { a: null, b: null, equal: true },
    { a: null, b: {}, equal: false },
    { a: [], b: {}, equal: false },
    { a: 0, b: '0', equal: false },
    { a: { a: 1, b: [2] }, b: { b: [2], a: 1 }, equal: true },
    { a: { a: 1 }, b: { a: 1, b: 2 }, equal: false },
    { a: { a: undefined }, b: { b: undefined }, equal: false },
    { a: { toString: undefined }, b: { a: undefined }, equal: false },
    { a: [1, 2], b: [2, 1], equal: false },
    { a: [1], b: [1, 2], equal: false },
  ])('of $a and $b is $equal', ({ a, b, equal }) => {
    expect(equalData(a, b)).toBe(equal);
    expect(equalData(b, a)).toBe(equal);
  });

  it('is what Node says of JSON', () => {
    // -0 is no JSON number of its own.
    const json = fc.jsonValue({ maxDepth: 3 }).map((value) => JSON.parse(JSON.stringify(value)));
    fc.assert(fc.property(json, json, (a, b) => equalData(a, b) === isDeepStrictEqual(a, b)));
    fc.assert(fc.property(json, (a) => equalData(a, structuredClone(a))));
  });
});
