import type { IpAddress, IpFamily } from '../../model/address.ts';
import { hashOf } from '../../model/hash.ts';
import { compareText } from '../../model/rejected.ts';

/** Which virtual router ids are ours on the network of the interface. */
export interface GroupOptions {
  readonly firstId: number;
  readonly lastId: number;
  /** So many of the ids, the first ones, are for addresses that any node may hold. */
  readonly groups: number;
}

/**
 * The virtual router id of an address. It follows from the address alone, so that all nodes agree on it at any time,
 * whatever else they know already. Addresses of policy Local have ids of their own, for each of them may be at another
 * node; where two of them fall on one id, they move together.
 */
export function groupOf(
  address: IpAddress,
  isLocal: boolean,
  { firstId, lastId, groups }: GroupOptions,
): number {
  const [first, count] = isLocal
    ? [firstId + groups, Math.max(1, lastId - firstId - groups + 1)]
    : [firstId, groups];
  return Math.min(lastId, first + (hashOf(address) % count));
}

/**
 * The nodes in the order in which they are to hold a group. Each group has another order (rendezvous hashing), so that
 * groups are shared out, and a node that goes takes none but its own along.
 */
export function orderOf(nodes: Iterable<string>, family: IpFamily, id: number): readonly string[] {
  const scored = Array.from(nodes, (name) => ({ name, score: hashOf(`${family} ${id} ${name}`) }));
  scored.sort((a, b) => b.score - a.score || compareText(a.name, b.name));
  return scored.map(({ name }) => name);
}

/** An address that stands for the group in adverts; see instanceText. */
export function markerOf(family: IpFamily, id: number): string {
  return family === 'IPv4' ? `169.254.86.${id}` : `fe80::5600:${id.toString(16)}`;
}
