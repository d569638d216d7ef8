import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MAGLEV_SIZE } from '../../../src/dataplane/socklb/layout.ts';
import { type MaglevMember, maglevTable } from '../../../src/dataplane/socklb/maglev.ts';

function members(count: number, weightOf: (i: number) => number = () => 1): MaglevMember[] {
  return Array.from({ length: count }, (_, i) => ({
    name: `10.244.${i >> 8}.${i & 255} 8080`,
    id: i + 1,
    weight: weightOf(i),
  }));
}

/** How many places each id has. */
function shares(table: Uint32Array): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const id of table) counts.set(id, (counts.get(id) ?? 0) + 1);
  return counts;
}

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false;
  return n > 1;
}

describe('maglevTable()', () => {
  it('has a prime size, without which a walk would not come everywhere', () => {
    expect(isPrime(MAGLEV_SIZE)).toBe(true);
    expect(maglevTable(members(3))).toHaveLength(MAGLEV_SIZE);
  });

  it('is all 0 without members, and one member’s with one', () => {
    expect(shares(maglevTable([]))).toEqual(new Map([[0, MAGLEV_SIZE]]));
    expect(shares(maglevTable(members(1)))).toEqual(new Map([[1, MAGLEV_SIZE]]));
  });

  it.each([2, 3, 10, 100, 1000])('gives each of %i members the same, to one place', (count) => {
    const counts = [...shares(maglevTable(members(count))).values()];
    expect(counts).toHaveLength(count);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
  });

  it('gives shares by weight', () => {
    const counts = shares(maglevTable(members(3, (i) => [1, 2, 5][i] ?? 1)));
    const unit = MAGLEV_SIZE / 8;
    expect(Math.abs((counts.get(1) ?? 0) - unit)).toBeLessThanOrEqual(8);
    expect(Math.abs((counts.get(2) ?? 0) - 2 * unit)).toBeLessThanOrEqual(8);
    expect(Math.abs((counts.get(3) ?? 0) - 5 * unit)).toBeLessThanOrEqual(8);
  });

  it.each([3, 10, 100])('moves few places but those of one of %i members that goes', (count) => {
    const before = maglevTable(members(count));
    const after = maglevTable(members(count).slice(1));
    let moved = 0;
    before.forEach((id, i) => {
      if (id !== 1 && after[i] !== id) moved += 1;
    });
    // Places that were its own have to go elsewhere; of the others the paper has under 2 % for a table of this size.
    expect(moved / MAGLEV_SIZE).toBeLessThan(0.06);
  });

  it('does not depend on the order of its members', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(members(12), { minLength: 12 }), (shuffled) => {
        expect(maglevTable(shuffled, 251)).toEqual(maglevTable(members(12), 251));
      }),
    );
  });
});
