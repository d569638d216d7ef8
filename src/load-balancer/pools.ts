import type { IpAddress, IpFamily } from '../model/address.ts';
import {
  type AddressRange,
  addressNumber,
  addressOfNumber,
  rangeContains,
  rangesOverlap,
} from '../model/address-range.ts';
import { unreachable } from '../model/brand.ts';

/** Labels as Kubernetes selects by them; without a condition everything matches. */
export interface LabelSelector {
  readonly matchLabels: Readonly<Record<string, string>>;
  readonly matchExpressions: readonly {
    readonly key: string;
    readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
    readonly values: readonly string[];
  }[];
}

/** Addresses that may be given to Services, and to which. */
export interface AddressPool {
  readonly name: string;
  /** In the order in which they are used up. */
  readonly addresses: readonly AddressRange[];
  /** Whether the first and the last address of an IPv4 CIDR, and the first of an IPv6 one, may be given, too. */
  readonly networkAndBroadcast: boolean;
  /** False: only to Services that ask for an address by name. */
  readonly automatic: boolean;
  /** Names; empty: all. */
  readonly namespaces: readonly string[];
  readonly serviceSelector: LabelSelector;
}

/** What a pool looks at of a Service. */
export interface Selectable {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Whether a pool is for this Service. */
export function poolSelects({ namespaces, serviceSelector }: AddressPool, service: Selectable): boolean {
  if (namespaces.length > 0 && !namespaces.includes(service.namespace)) return false;
  return selectorMatches(serviceSelector, service.labels);
}

function selectorMatches(
  { matchLabels, matchExpressions }: LabelSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  const labelOf = (key: string) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  if (Object.entries(matchLabels).some(([key, value]) => labelOf(key) !== value)) return false;
  return matchExpressions.every(({ key, operator, values }) => {
    const value = labelOf(key);
    switch (operator) {
      case 'In':
        return value !== undefined && values.includes(value);
      case 'NotIn':
        return value === undefined || !values.includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return unreachable(operator);
    }
  });
}

/** The part of a range that may be given; null if nothing is left. */
interface Bounds {
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * Without network and broadcast address of an IPv4 CIDR, which routers of old and some hosts do not treat as a host's,
 * and without the first address of an IPv6 one, which is every router's (RFC 4291, 2.6.1). Of the smallest CIDRs all
 * can be used (RFC 3021, RFC 6164), and of ranges by their ends all are meant.
 */
function boundsOf(range: AddressRange, networkAndBroadcast: boolean): Bounds {
  const [first, last] = [addressNumber(range.first), addressNumber(range.last)];
  if (networkAndBroadcast || range.prefixLength === null) return { first, last };
  if (range.family === 'IPv6') return { first: range.prefixLength < 127 ? first + 1n : first, last };
  return range.prefixLength < 31 ? { first: first + 1n, last: last - 1n } : { first, last };
}

/** Whether an address may be given out of a pool, whoever has it now. */
export function poolOffers(pool: AddressPool, address: IpAddress): boolean {
  const range = pool.addresses.find((each) => rangeContains(each, address));
  if (!range) return false;
  const { first, last } = boundsOf(range, pool.networkAndBroadcast);
  const value = addressNumber(address);
  return first <= value && value <= last;
}

/** How many addresses of a family a pool has to give, taken or not. */
export function poolSize(pool: AddressPool, family: IpFamily): bigint {
  return pool.addresses
    .filter((range) => range.family === family)
    .map((range) => boundsOf(range, pool.networkAndBroadcast))
    .reduce((sum, { first, last }) => sum + last - first + 1n, 0n);
}

/** The addresses of a family that a pool may give, in order; as many as are asked for, for there may be 2^64. */
export function* addressesOfPool(pool: AddressPool, family: IpFamily): Generator<IpAddress> {
  for (const range of pool.addresses) {
    if (range.family !== family) continue;
    const { first, last } = boundsOf(range, pool.networkAndBroadcast);
    for (let value = first; value <= last; value++) yield addressOfNumber(family, value);
  }
}

/** Where a range is: of which pool, counted from 0, and of its addresses. */
export interface RangePlace {
  readonly pool: number;
  readonly range: number;
}

/** Two ranges with an address in common, in one pool or in two. */
export interface Overlap {
  readonly earlier: RangePlace;
  readonly later: RangePlace;
}

/** Every overlap of ranges: an address must belong to one pool alone. */
export function overlapsOf(pools: readonly Pick<AddressPool, 'addresses'>[]): readonly Overlap[] {
  const places = pools.flatMap(({ addresses }, pool) =>
    addresses.map((each, range) => ({ each, place: { pool, range } })),
  );
  return places.flatMap(({ each, place: later }, i) =>
    places
      .slice(0, i)
      .filter((other) => rangesOverlap(other.each, each))
      .map(({ place: earlier }) => ({ earlier, later })),
  );
}
