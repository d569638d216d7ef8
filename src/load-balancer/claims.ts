import { compareAddresses, type IpAddress } from '../model/address.ts';
import type { LoadBalancerFacts } from './facts.ts';

/** How Services may share an address. */
export interface SharingRules {
  /** Whether the key alone is enough; else they must be of one namespace, too, so that nobody can join by guessing. */
  readonly shareAcrossNamespaces: boolean;
}

/** Who has which address. */
export class Claims {
  readonly #rules: SharingRules;
  readonly #ours = new Map<IpAddress, LoadBalancerFacts[]>();
  /** Subjects that share with nobody: as `externalIP of Service web/front`. */
  readonly #foreign = new Map<IpAddress, string>();
  /** Services whose status has it still, though they are to have it no longer. */
  readonly #leaving = new Map<IpAddress, string[]>();
  readonly #byKey = new Map<string, Set<IpAddress>>();

  constructor(rules: SharingRules) {
    this.#rules = rules;
  }

  /** Enters an address of one of ours; nothing is checked. */
  add(address: IpAddress, service: LoadBalancerFacts): void {
    const holders = this.#ours.get(address);
    if (!holders) this.#ours.set(address, [service]);
    else if (!holders.includes(service)) holders.push(service);
    if (service.sharingKey === null) return;
    const addresses = this.#byKey.get(service.sharingKey) ?? new Set();
    this.#byKey.set(service.sharingKey, addresses.add(address));
  }

  /** @param subject the first that is entered is shown */
  addForeign(address: IpAddress, subject: string): void {
    if (!this.#foreign.has(address)) this.#foreign.set(address, subject);
  }

  /** Enters an address that one of ours gives up: nobody gets it before that is written. @param key of the Service */
  addLeaving(address: IpAddress, key: string): void {
    this.#leaving.set(address, [...(this.#leaving.get(address) ?? []), key]);
  }

  /** Who else has it that is none of ours; undefined if nobody. */
  foreignHolder(address: IpAddress): string | undefined {
    return this.#foreign.get(address);
  }

  /** Whether nobody at all has it. */
  isFree(address: IpAddress): boolean {
    return [this.#ours, this.#foreign, this.#leaving].every((claims) => !claims.has(address));
  }

  /**
   * Why a Service that has an address may not go on having it beside those of ours that were entered before; undefined
   * if it may.
   */
  whyNotKept(address: IpAddress, service: LoadBalancerFacts): string | undefined {
    for (const holder of this.#ours.get(address) ?? []) {
      const reason = holder === service ? undefined : this.#whyNotTogether(holder, service);
      if (reason) return reason;
    }
    return undefined;
  }

  /** Why a Service may not get an address; undefined if it may. */
  whyNotGiven(address: IpAddress, service: LoadBalancerFacts): string | undefined {
    const foreign = this.#foreign.get(address);
    if (foreign) return `is ${foreign}`;
    const kept = this.whyNotKept(address, service);
    if (kept) return kept;
    const leaving = this.#leaving.get(address)?.find((key) => key !== service.key);
    if (leaving) return `is in the status of Service ${leaving} still`;
    // Who shares already goes on when a policy changes: an address that is lost is worse than one badly shared.
    const other = this.#ours
      .get(address)
      ?.find((holder) => holder !== service && holder.endpointsKey !== service.endpointsKey);
    return (
      other && `Service ${other.key} has it with another externalTrafficPolicy, or other Local endpoints`
    );
  }

  /** Addresses of Services with this sharing key, in numeric order. */
  sharedBy(key: string): readonly IpAddress[] {
    return [...(this.#byKey.get(key) ?? [])].sort(compareAddresses);
  }

  #whyNotTogether(holder: LoadBalancerFacts, service: LoadBalancerFacts): string | undefined {
    const subject = `Service ${holder.key}`;
    if (holder.sharingKey === null || holder.sharingKey !== service.sharingKey) {
      return `${subject} has it, and not the same sharing key`;
    }
    if (holder.namespace !== service.namespace && !this.#rules.shareAcrossNamespaces) {
      return `${subject} has it, in another namespace (loadBalancer.shareAcrossNamespaces is false)`;
    }
    const clash = service.ports.find(({ protocol, port }) =>
      holder.ports.some((other) => other.port === port && other.protocol === protocol),
    );
    return clash && `${subject} has it, and port ${clash.port}/${clash.protocol} on it`;
  }
}
