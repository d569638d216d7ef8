import { rangeContains } from '../model/address-range.ts';
import { compareText } from '../model/rejected.ts';
import type { LoadBalancerFacts } from './facts.ts';
import type { AddressPool } from './pools.ts';

/** Which Services get addresses, and out of what. */
export interface OwnershipRules {
  /** `spec.loadBalancerClass` of ours. */
  readonly class: string;
  /** Whether Services without a class are ours, too. */
  readonly default: boolean;
  readonly pools: readonly AddressPool[];
}

/** Why the addresses of a Service are somebody else's business; undefined if they are ours. */
export function whyNotOurs(service: LoadBalancerFacts, rules: OwnershipRules): string | undefined {
  const { isLoadBalancer, loadBalancerClass, condition, ingress } = service;
  if (!isLoadBalancer) return 'is not of type LoadBalancer';
  if (loadBalancerClass !== null) {
    return loadBalancerClass === rules.class ? undefined : `loadBalancerClass is ${loadBalancerClass}`;
  }
  if (!rules.default) return 'has no loadBalancerClass, and loadBalancer.default is false';
  // Where we have written before, a pool may have been shrunk since; an address in a pool is taken over with the pool.
  const isFromUs =
    condition !== null || ingress.every(({ address }) => address !== null && isInPool(address, rules.pools));
  return isFromUs ? undefined : 'has an address from another controller';
}

function isInPool(address: Parameters<typeof rangeContains>[1], pools: readonly AddressPool[]): boolean {
  return pools.some(({ addresses }) => addresses.some((range) => rangeContains(range, address)));
}

/** The oldest first, for who came first may keep what two want; then by name. */
export function compareByAge(a: LoadBalancerFacts, b: LoadBalancerFacts): number {
  const [ageA, ageB] = [a.createdAtMs ?? Number.MAX_SAFE_INTEGER, b.createdAtMs ?? Number.MAX_SAFE_INTEGER];
  return ageA - ageB || compareText(a.key, b.key);
}
