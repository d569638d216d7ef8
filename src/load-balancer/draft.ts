import { familyOf, type IpAddress, type IpFamily } from '../model/address.ts';
import type { LoadBalancerFacts } from './facts.ts';
import { type AddressPool, poolOffers, poolSelects } from './pools.ts';

/**
 * What becomes of the addresses of a Service.
 *
 * * `assign`: it gets an address, or another one; `keep`: it has what it asks for
 * * `free`: it was ours and needs none any more
 * * `conflict`: somebody else has the address; `exhausted`: no pool has one left
 * * `outside`: it asks for an address that no pool has for it; `invalid`: it asks for something that is no address
 * * `shrunk`: it keeps an address that no pool has for it any more
 * * `notOurs`: nothing is written
 */
export type Verdict =
  | 'assign'
  | 'keep'
  | 'free'
  | 'conflict'
  | 'exhausted'
  | 'outside'
  | 'invalid'
  | 'shrunk'
  | 'notOurs';

/** What the status of one Service is to say. */
export interface Decision {
  /** `namespace/name` */
  readonly key: string;
  readonly verdict: Verdict;
  /** What its status is to have; of `notOurs` nothing is said. In the order of the Service's families. */
  readonly addresses: readonly IpAddress[];
  /** One line. */
  readonly reason: string;
}

export interface Problem {
  readonly verdict: 'conflict' | 'exhausted' | 'outside' | 'invalid';
  readonly text: string;
}

/** A Service of ours while it is decided about. */
export interface Draft {
  readonly service: LoadBalancerFacts;
  /** What it goes on having. */
  readonly held: Map<IpFamily, IpAddress>;
  /** What it gets, in the place of what it has. */
  readonly given: Map<IpFamily, IpAddress>;
  readonly problems: Problem[];
}

/** The pool that would give this address to this Service now. */
export function poolFor(
  pools: readonly AddressPool[],
  service: LoadBalancerFacts,
  address: IpAddress,
): AddressPool | undefined {
  return pools.find((pool) => poolOffers(pool, address) && poolSelects(pool, service));
}

/** The first recorded address of each family that the Service has. */
export function recordedAddresses(service: LoadBalancerFacts): ReadonlyMap<IpFamily, IpAddress> {
  const recorded = new Map<IpFamily, IpAddress>();
  for (const { address } of service.ingress) {
    const family = address === null ? undefined : familyOf(address);
    if (address === null || family === undefined || recorded.has(family)) continue;
    if (service.families.includes(family)) recorded.set(family, address);
  }
  return recorded;
}

/** @returns the decision that a draft has come to */
export function decisionOf(draft: Draft, pools: readonly AddressPool[]): Decision {
  const { service, held, given, problems } = draft;
  const addresses = service.families.flatMap((family) => given.get(family) ?? held.get(family) ?? []);
  const placed = addresses.map((address) => ({ address, pool: poolFor(pools, service, address) }));
  const [problem] = problems;
  const astray = placed.filter(({ pool }) => !pool).map(({ address }) => address);
  if (problem) {
    const kept = addresses.length > 0 ? [`has ${addresses.join(', ')}`] : [];
    const reason = [...problems.map(({ text }) => text), ...kept].join('; ');
    return { key: service.key, verdict: problem.verdict, addresses, reason };
  }
  if (astray.length > 0) {
    const reason = `${astray.join(', ')}: in no pool that is for this Service any more, kept as long as the Service is there`;
    return { key: service.key, verdict: 'shrunk', addresses, reason };
  }
  const reason = placed.map(({ address, pool }) => `${address} of pool ${pool?.name}`).join(', ');
  return { key: service.key, verdict: given.size > 0 ? 'assign' : 'keep', addresses, reason };
}
