import { familyOf, type IpFamily } from '../model/address.ts';
import { rangeContains } from '../model/address-range.ts';
import type { Decision, Verdict } from './draft.ts';
import { type AddressPool, poolSize } from './pools.ts';

/** How much of a pool is given. */
export interface PoolUsage {
  readonly pool: string;
  readonly family: IpFamily;
  /** A pool of IPv6 has more than a number is exact for. */
  readonly size: bigint;
  /** Shared addresses count once; so do those that the pool would not give any more. */
  readonly used: number;
}

/** One for each pool and family that it has addresses of. */
export function poolUsage(
  pools: readonly AddressPool[],
  decisions: Iterable<Decision>,
): readonly PoolUsage[] {
  const given = [...new Set([...decisions].flatMap(({ addresses }) => addresses))];
  return pools.flatMap((pool) =>
    (['IPv4', 'IPv6'] as const)
      .filter((family) => pool.addresses.some((range) => range.family === family))
      .map((family) => ({
        pool: pool.name,
        family,
        size: poolSize(pool, family),
        used: given.filter(
          (address) =>
            familyOf(address) === family && pool.addresses.some((range) => rangeContains(range, address)),
        ).length,
      })),
  );
}

/** How many Services have which verdict; those of others are not counted. */
export function verdictCounts(decisions: Iterable<Decision>): ReadonlyMap<Verdict, number> {
  const counts = new Map<Verdict, number>();
  for (const { verdict } of decisions) {
    if (verdict !== 'notOurs') counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  }
  return counts;
}
