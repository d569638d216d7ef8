import { familyOf, type IpAddress } from '../../model/address.ts';
import { cidrContains } from '../../model/cidr.ts';
import type { Unwanted } from '../dataplane.ts';
import { parseRange } from './keys.ts';
import { frontendText } from './project.ts';
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

/** What every frontend may have an element in; of those of `allowed` the frontend is the first part. */
const FRONTEND_SETS = ['masquerade', 'restricted', 'allowed', 'empty', 'inside-marks'] as const;

/** `wanted`, and the elements that unwanted frontends have now. */
export function holdUnwantedElements(
  observed: NftablesRows,
  wanted: NftablesRows,
  { frontends }: Pick<Unwanted, 'frontends'>,
): NftablesRows {
  const addresses = new Set(frontends.map(({ address }) => address));
  const retained = retainNftablesAddresses(observed, wanted, addresses);
  const marks = new Map(frontends.map((frontend) => [frontendText(frontend), frontend.mark]));
  const endpoints = new Set<string>(frontends.flatMap((frontend) => [...frontend.endpoints]));
  const sets = new Map(retained.sets);
  const hold = (name: SetName, isHeld: (key: string, row: ElementRow) => boolean) => {
    const [before, after] = [observed.sets.get(name), sets.get(name)];
    if (!before || !after) return;
    const held = [...before.elements].filter(([key, row]) => !after.elements.has(key) && isHeld(key, row));
    if (held.length > 0) sets.set(name, { ...after, elements: new Map([...after.elements, ...held]) });
  };
  for (const family of ['IPv4', 'IPv6'] as const) {
    for (const base of FRONTEND_SETS) {
      // A mark that has changed hands leads to somebody else's endpoints.
      hold(setName(base, family), (key, { mark }) => {
        const heldMark = marks.get(frontendOf(key));
        return heldMark !== undefined && (mark === null || mark === heldMark);
      });
    }
    hold(setName('hairpin', family), (key) => endpoints.has(key.slice(0, key.indexOf(' '))));
  }
  return { ...retained, sets };
}

/** `10.0.0.1 . tcp . 80` of a key that begins with it. */
function frontendOf(key: string): string {
  return key.split(' . ', 3).join(' . ');
}

/** Whether an address is in the set, by itself or in a range. */
function coverage({ elements }: SetRow): (address: IpAddress) => boolean {
  const ranges = [...elements.keys()]
    .filter((key) => key.includes('/'))
    .flatMap((key) => parseRange(key) ?? []);
  return (address) => elements.has(address) || ranges.some((range) => cidrContains(range, address));
}
