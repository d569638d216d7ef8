import { familyOf, type IpAddress, type IpFamily } from '../model/address.ts';
import { Claims, type SharingRules } from './claims.ts';
import { type Decision, type Draft, decisionOf, poolFor, recordedAddresses } from './draft.ts';
import type { LoadBalancerFacts } from './facts.ts';
import { compareByAge, type OwnershipRules, whyNotOurs } from './ownership.ts';
import { type AddressPool, addressesOfPool, poolSelects } from './pools.ts';

export interface AllocationRules extends OwnershipRules, SharingRules {}

/**
 * Decides about the addresses of all Services at once, from what their status says and nothing else: the same objects
 * give the same decisions, in whatever order they come.
 *
 * First everybody keeps what is recorded; then those are served who ask for an address by name; then all others, the
 * oldest first. What somebody gives up is not given to others in the same round: it is in a status still, and the
 * write that takes it out may fail.
 *
 * @param services every Service there is, also those of others: what they have is given to nobody
 */
export function allocate(
  services: Iterable<LoadBalancerFacts>,
  rules: AllocationRules,
): ReadonlyMap<string, Decision> {
  const sorted = [...services].sort(compareByAge);
  const decisions = new Map<string, Decision>();
  const round = new Round(rules);
  const ours: LoadBalancerFacts[] = [];
  for (const service of sorted) {
    const why = whyNotOurs(service, rules) ?? whyTooLate(service);
    round.enterForeign(service, why !== undefined);
    if (why === undefined) ours.push(service);
    else decisions.set(service.key, notOurs(service, why));
  }
  const drafts = ours.map((service) => round.keep(service));
  const open = drafts.filter(({ service }) => !service.isDeleting);
  for (const draft of open) round.request(draft);
  for (const draft of open) round.assign(draft);
  for (const draft of drafts) decisions.set(draft.service.key, decisionOf(draft, rules.pools));
  return decisions;
}

/** What is being deleted may have what it has to the end, and gets nothing more. */
function whyTooLate({ isDeleting, ingress }: LoadBalancerFacts): string | undefined {
  return isDeleting && ingress.length === 0 ? 'is being deleted' : undefined;
}

function notOurs({ key, isLoadBalancer, condition }: LoadBalancerFacts, reason: string): Decision {
  // What has another type needs no address; what has another class is for its controller alone to write.
  const verdict = condition !== null && !isLoadBalancer ? 'free' : 'notOurs';
  return { key, verdict, addresses: [], reason };
}

class Round {
  readonly #rules: AllocationRules;
  readonly #claims: Claims;
  /** Where the search for a free address goes on: what was taken before is not looked at again. */
  readonly #searches = new Map<string, Iterator<IpAddress>>();
  readonly #next = new Map<string, IpAddress | undefined>();

  constructor(rules: AllocationRules) {
    this.#rules = rules;
    this.#claims = new Claims(rules);
  }

  /** @param isOthers whether what its status has was given by somebody else, or is given up */
  enterForeign(service: LoadBalancerFacts, isOthers: boolean): void {
    for (const address of service.externalIPs) {
      this.#claims.addForeign(address, `an externalIP of Service ${service.key}`);
    }
    if (!isOthers) return;
    for (const { address } of service.ingress) {
      if (address)
        this.#claims.addForeign(address, `in the status of Service ${service.key}, which is not ours`);
    }
  }

  keep(service: LoadBalancerFacts): Draft {
    const draft: Draft = { service, held: new Map(), given: new Map(), problems: [] };
    for (const [family, address] of recordedAddresses(service)) {
      const lost = this.#claims.whyNotKept(address, service);
      if (lost) {
        draft.problems.push({ verdict: 'conflict', text: `lost ${address}: ${lost}` });
        continue;
      }
      draft.held.set(family, address);
      this.#claims.add(address, service);
      // Whoever came second is not known: no connection is cut for it, but somebody has to know.
      const other = this.#claims.foreignHolder(address);
      if (other) draft.problems.push({ verdict: 'conflict', text: `${address} is also ${other}` });
    }
    const kept = [...draft.held.values()];
    for (const { address } of service.ingress) {
      if (address && !kept.includes(address)) this.#claims.addLeaving(address, service.key);
    }
    return draft;
  }

  request({ service, held, given, problems }: Draft): void {
    if (service.invalidRequest !== null) problems.push({ verdict: 'invalid', text: service.invalidRequest });
    for (const address of service.requested) {
      const family = familyOf(address);
      if (held.get(family) === address) continue;
      if (!service.families.includes(family)) {
        problems.push({ verdict: 'invalid', text: `asks for ${address}, and has no ${family}` });
        continue;
      }
      if (!poolFor(this.#rules.pools, service, address)) {
        problems.push({
          verdict: 'outside',
          text: `asks for ${address}: in no pool that is for this Service`,
        });
        continue;
      }
      const why = this.#claims.whyNotGiven(address, service);
      if (why) problems.push({ verdict: 'conflict', text: `asks for ${address}: ${why}` });
      else {
        given.set(family, address);
        this.#claims.add(address, service);
      }
    }
  }

  /** Looks for an address of each family that has none yet, and is not to have a certain one. */
  assign({ service, held, given, problems }: Draft): void {
    if (service.invalidRequest !== null) return;
    const lacks = service.families.filter((family) => !held.has(family) && !given.has(family));
    const open = lacks.filter((family) => !service.requested.some((each) => familyOf(each) === family));
    const found = new Map(open.map((family) => [family, this.#findAddress(service, family)]));
    const missing = open.filter((family) => !found.get(family));
    const isInVain = service.needsAllFamilies && (missing.length > 0 || lacks.length > open.length);
    for (const [family, address] of found) {
      if (!address || isInVain) continue;
      given.set(family, address);
      this.#claims.add(address, service);
    }
    if (isInVain && held.size === 0) given.clear();
    for (const family of missing) {
      const pools = this.#poolsFor(service, family);
      // One family is what PreferDualStack is content with.
      const isContent = !service.needsAllFamilies && service.families.length > missing.length;
      if (pools.length > 0 || !isContent)
        problems.push({ verdict: 'exhausted', text: noneLeft(family, pools) });
    }
  }

  #findAddress(service: LoadBalancerFacts, family: IpFamily): IpAddress | undefined {
    const pools = this.#poolsFor(service, family);
    const shared = service.sharingKey === null ? [] : this.#claims.sharedBy(service.sharingKey);
    const joined = shared.find(
      (address) =>
        familyOf(address) === family &&
        poolFor(pools, service, address) &&
        this.#claims.whyNotGiven(address, service) === undefined,
    );
    if (joined) return joined;
    for (const pool of pools) {
      const free = this.#firstFree(pool, family);
      if (free) return free;
    }
    return undefined;
  }

  #poolsFor(service: LoadBalancerFacts, family: IpFamily): readonly AddressPool[] {
    return this.#rules.pools.filter(
      (pool) =>
        pool.automatic &&
        poolSelects(pool, service) &&
        pool.addresses.some((range) => range.family === family),
    );
  }

  #firstFree(pool: AddressPool, family: IpFamily): IpAddress | undefined {
    const key = `${pool.name} ${family}`;
    const search = this.#searches.get(key) ?? addressesOfPool(pool, family);
    this.#searches.set(key, search);
    const advance = (): IpAddress | undefined => {
      const { done, value } = search.next();
      return done === true ? undefined : value;
    };
    let address = this.#next.has(key) ? this.#next.get(key) : advance();
    while (address && !this.#claims.isFree(address)) address = advance();
    this.#next.set(key, address);
    return address;
  }
}

function noneLeft(family: IpFamily, pools: readonly AddressPool[]): string {
  if (pools.length === 0) return `no pool has ${family} addresses for this Service`;
  const names = pools.map(({ name }) => name).join(', ');
  return `no ${family} address is left in pool ${names}`;
}
