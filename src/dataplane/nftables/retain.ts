import { familyOf, type IpAddress } from '../../model/address.ts';
import { cidrContains } from '../../model/cidr.ts';
import { parseRange } from './keys.ts';
import type { ElementRow, NftablesRows, SetRow } from './rows.ts';
import { type SetBase, type SetName, setName } from './sets.ts';

/**
 * `wanted`, and those of `addresses` that the rules know as a Service's now: ports that no Service has stay closed
 * while connections to others drain.
 */
export function retainNftablesAddresses(
  observed: NftablesRows,
  wanted: NftablesRows,
  addresses: ReadonlySet<IpAddress>,
): NftablesRows {
  let sets: ReadonlyMap<SetName | string, SetRow> = wanted.sets;
  // Connections to a NodePort drain, too: without our chains the kernel would no longer translate what they masquerade.
  const exists = wanted.exists || (observed.exists && addresses.size > 0);
  for (const base of ['cluster-ips', 'vips'] as const satisfies readonly SetBase[]) {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const name = setName(base, family);
      const [before, after] = [observed.sets.get(name), sets.get(name)];
      if (!before || !after) continue;
      const [had, has] = [coverage(before), coverage(after)];
      const retained = [...addresses].filter(
        (address) => familyOf(address) === family && had(address) && !has(address),
      );
      if (retained.length === 0) continue;
      const elements = new Map(after.elements);
      for (const address of retained) elements.set(address, RETAINED);
      sets = new Map(sets).set(name, { ...after, elements });
    }
  }
  return sets === wanted.sets && exists === wanted.exists ? wanted : { ...wanted, exists, sets };
}

const RETAINED: ElementRow = { mark: null, reason: 'connections to it still drain' };

/** Whether an address is in the set, by itself or in a range. */
function coverage({ elements }: SetRow): (address: IpAddress) => boolean {
  const ranges = [...elements.keys()]
    .filter((key) => key.includes('/'))
    .flatMap((key) => parseRange(key) ?? []);
  return (address) => elements.has(address) || ranges.some((range) => cidrContains(range, address));
}
