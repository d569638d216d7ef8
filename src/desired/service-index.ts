import type { ClusterFacts } from '../cluster/facts.ts';
import type { DesiredState, HealthCheck } from '../model/desired-state.ts';
import { compareRejected, compareText, type Rejected } from '../model/rejected.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';
import { Claimants } from './claimants.ts';
import { type DerivedService, derive, deriveFrom, deriveService } from './derive.ts';
import type { NodeContext } from './frontends.ts';
import { addNeighbours } from './neighbours.ts';
import { patchedBy, patchOf } from './patch.ts';
import { ServiceResources, type Transition } from './service-resources.ts';

/** What Services mean depends on. */
export interface DerivationInput {
  /** May be changed in place between two calls; its values keep their identity while they are equal. */
  readonly facts: ClusterFacts;
  /** Another object counts as another context: keep it while nothing in it changes. */
  readonly context: NodeContext;
}

/**
 * What some Services meant, and what they mean now. Both states have all Services that share anything with one that
 * changed, so that conflicts are settled as among all; and witnesses, unchanged Services thanks to which both need the
 * same of the node as all Services do.
 */
export interface DesiredChange {
  readonly before: DesiredState;
  readonly after: DesiredState;
  /** How many Services were looked at. */
  readonly services: number;
}

/** By name, what a virtual server asks of the node that one of many is enough for, as a link or a sysctl. */
export type NeedsOf = (virtualServer: VirtualServer, desired: DesiredState) => readonly string[];

export interface ServiceIndexOptions {
  readonly needsOf: NeedsOf;
  /** Of how many changed Services and their neighbours it is cheaper to look at all. @default 1000 */
  readonly maxServices?: number;
}

const MAX_SERVICES = 1000;
/** Where there are few Services, all of them may be looked at; where there are many, so many of them. */
const MIN_SERVICES = 100;
const MAX_SHARE = 0.25;

type Transitions = ReadonlyMap<string, Transition>;

/** The meaning of all Services at the last change, kept up to date at a cost that follows the change. */
export class ServiceIndex {
  readonly #options: ServiceIndexOptions;
  #context: NodeContext | undefined;
  #services: Map<string, DerivedService> = new Map();
  #resources: ServiceResources | undefined;
  #needs = new Claimants<string>();
  /** As of the last derivation; outdated by `#changed`. undefined where only another derivation tells. */
  #desired: DesiredState | undefined;
  /** Since then; null while nothing has. */
  #changed: Map<VirtualServerKey, VirtualServer> | null = null;
  readonly #healthChecks = new Map<string, HealthCheck>();
  #sortedHealthChecks: readonly HealthCheck[] | undefined;
  /** By subject; without those of the facts. */
  readonly #rejected = new Map<string, readonly Rejected[]>();
  #rejectedFacts: readonly Rejected[] = [];
  #allRejected: readonly Rejected[] | undefined;

  constructor(options: ServiceIndexOptions) {
    this.#options = options;
  }

  /** Everything anew; unchanged Services keep their very virtual servers. */
  derive({ facts, context }: DerivationInput): DesiredState {
    const before = this.#services;
    const previous = this.#context === context ? { context, perService: before } : undefined;
    const { desired, perService } = derive(facts, context, previous);
    const resources = (previous && this.#resources) ?? new ServiceResources(context);
    for (const [name, derived] of before) {
      if (resources === this.#resources && perService.get(name) !== derived) resources.delete(name, derived);
    }
    for (const [name, derived] of perService) {
      if (resources !== this.#resources || before.get(name) !== derived) resources.add(name, derived);
    }
    this.#context = context;
    this.#services = new Map(perService);
    this.#resources = resources;
    this.#needs = new Claimants();
    this.#claimNeeds(desired, () => true);
    this.#desired = desired;
    this.#changed = null;
    this.#healthChecks.clear();
    for (const check of desired.healthChecks) this.#healthChecks.set(check.service, check);
    this.#sortedHealthChecks = desired.healthChecks;
    this.#rejectedFacts = facts.rejected;
    this.#rejected.clear();
    this.#addRejected(derivedOnly(desired, facts), () => true);
    this.#allRejected = desired.rejected;
    return desired;
  }

  /**
   * What has become of some Services since the last call.
   * @param names `namespace/name` of those that may have changed, and of others that are to be looked at
   * @returns null where only {@link derive} can tell; call it then
   */
  change({ facts, context }: DerivationInput, names: Iterable<string>): DesiredChange | null {
    const resources = this.#resources;
    if (context !== this.#context || !resources) return null;
    const transitions = this.#transitionsOf(names, facts, context, resources);
    if (!transitions) return null;
    const witnesses = this.#witnessesBeside(transitions);
    const isSettled = () =>
      !resources.hasOwnClusterIPs &&
      [...transitions.values()].every(({ before, after }) =>
        [before, after].every((derived) => !derived || resources.hasOwnMarks(derived)),
      );
    const wasSettled = isSettled();
    const hadNodePorts = resources.hasNodePorts;
    const hadNeeds = this.#neededText();
    const desired = this.#desired;
    const before = this.#restricted(transitions, 'before', witnesses, context);
    this.#commit(transitions, resources);
    const after = this.#restricted(transitions, 'after', witnesses, context);
    this.#update(transitions, before, after, facts);
    const isLocal = wasSettled && isSettled() && hadNodePorts === resources.hasNodePorts;
    if (!isLocal || hadNeeds !== this.#neededText()) return null;
    if (!this.#desired) this.#keep(desired, patchOf(before, after));
    return { before, after, services: transitions.size + witnesses.size };
  }

  /** The whole desired state of the last change; derived anew where no patch of an earlier one is enough. */
  get desired(): DesiredState | undefined {
    if (this.#desired && this.#changed) {
      const { healthChecks, rejected } = this;
      this.#desired = { ...patchedBy(this.#desired, this.#changed), healthChecks, rejected };
    } else if (!this.#desired && this.#context) {
      this.#desired = deriveFrom(this.#services, this.#context, this.#rejectedFacts).desired;
    }
    this.#changed = null;
    return this.#desired;
  }

  /** The same list again while none of them changes. */
  get healthChecks(): readonly HealthCheck[] {
    this.#sortedHealthChecks ??= [...this.#healthChecks.values()].sort((a, b) =>
      compareText(a.service, b.service),
    );
    return this.#sortedHealthChecks;
  }

  /** Sorted; the same list again while nothing in it changes. */
  get rejected(): readonly Rejected[] {
    this.#allRejected ??= [...this.#rejectedFacts, ...[...this.#rejected.values()].flat()].sort(
      compareRejected,
    );
    return this.#allRejected;
  }

  /** The named Services and all that may change with them; null if they are too many. */
  #transitionsOf(
    names: Iterable<string>,
    facts: ClusterFacts,
    context: NodeContext,
    resources: ServiceResources,
  ): Transitions | null {
    const transitions = new Map<string, Transition>();
    const previous = { context, perService: this.#services };
    for (const name of names) {
      const before = this.#services.get(name);
      const service = facts.services.get(name);
      const after = service && deriveService(name, service, facts, context, previous);
      if (before || after) transitions.set(name, { before, after });
    }
    const changed = [...transitions].filter(([, { before, after }]) => before !== after);
    // Those that are about to change must see each other, too.
    for (const [name, { after }] of changed) if (after) resources.claim(name, after);
    const { maxServices = MAX_SERVICES } = this.#options;
    const most = Math.min(maxServices, Math.max(MIN_SERVICES, MAX_SHARE * this.#services.size));
    if (addNeighbours(transitions, { services: this.#services, resources, most })) return transitions;
    for (const [name, { before, after }] of changed) {
      if (after) resources.release(name, after);
      if (before) resources.claim(name, before);
    }
    return null;
  }

  /** For each need one Service outside of `transitions` that has it, if there is one. */
  #witnessesBeside(transitions: Transitions): ReadonlyMap<string, DerivedService> {
    const witnesses = new Map<string, DerivedService>();
    for (const need of this.#needs.things()) {
      for (const name of this.#needs.of(need)) {
        const derived = transitions.has(name) ? undefined : this.#services.get(name);
        if (!derived) continue;
        witnesses.set(name, derived);
        break;
      }
    }
    return witnesses;
  }

  #restricted(
    transitions: Transitions,
    side: keyof Transition,
    witnesses: ReadonlyMap<string, DerivedService>,
    context: NodeContext,
  ): DesiredState {
    const perService = new Map(witnesses);
    for (const [name, { [side]: derived }] of transitions) if (derived) perService.set(name, derived);
    return deriveFrom(perService, context, []).desired;
  }

  #commit(transitions: Transitions, resources: ServiceResources): void {
    for (const [name, { before, after }] of transitions) {
      if (before === after) continue;
      if (before) resources.delete(name, before);
      else if (after) resources.release(name, after);
      if (after) resources.add(name, after);
      if (after) this.#services.set(name, after);
      else this.#services.delete(name);
      this.#desired = undefined;
    }
  }

  /** For the next who asks for all of it. @param patch of it; null where only another derivation tells */
  #keep(desired: DesiredState | undefined, patch: ReturnType<typeof patchOf>): void {
    if (!desired || !patch) return;
    this.#desired = desired;
    this.#changed ??= new Map();
    for (const [key, virtualServer] of patch) this.#changed.set(key, virtualServer);
  }

  #update(transitions: Transitions, before: DesiredState, after: DesiredState, facts: ClusterFacts): void {
    if (facts.rejected !== this.#rejectedFacts) {
      this.#rejectedFacts = facts.rejected;
      this.#allRejected = undefined;
      this.#desired = undefined;
    }
    if (this.#desired) return;
    for (const virtualServer of before.virtualServers.values()) {
      if (!transitions.has(virtualServer.service)) continue;
      for (const need of this.#options.needsOf(virtualServer, before)) {
        this.#needs.delete(need, virtualServer.service);
      }
    }
    this.#claimNeeds(after, (service) => transitions.has(service));
    for (const name of transitions.keys()) {
      if (this.#healthChecks.delete(name)) this.#sortedHealthChecks = undefined;
      if (this.#rejected.delete(`Service ${name}`)) this.#allRejected = undefined;
    }
    for (const check of after.healthChecks) {
      if (!transitions.has(check.service)) continue;
      this.#healthChecks.set(check.service, check);
      this.#sortedHealthChecks = undefined;
    }
    const subjects = new Set([...transitions.keys()].map((name) => `Service ${name}`));
    this.#addRejected(after.rejected, (subject) => subjects.has(subject));
  }

  #claimNeeds(desired: DesiredState, isMeant: (service: string) => boolean): void {
    for (const virtualServer of desired.virtualServers.values()) {
      if (!isMeant(virtualServer.service)) continue;
      for (const need of this.#options.needsOf(virtualServer, desired)) {
        this.#needs.add(need, virtualServer.service);
      }
    }
  }

  #addRejected(rejected: readonly Rejected[], isMeant: (subject: string) => boolean): void {
    for (const one of rejected) {
      if (!isMeant(one.subject)) continue;
      this.#rejected.set(one.subject, [...(this.#rejected.get(one.subject) ?? []), one]);
      this.#allRejected = undefined;
    }
  }

  #neededText(): string {
    return [...this.#needs.things()].sort().join();
  }
}

/** What is rejected in `desired` beyond what `facts` say. */
function derivedOnly({ rejected }: DesiredState, facts: ClusterFacts): readonly Rejected[] {
  const known = new Set(facts.rejected);
  return rejected.filter((one) => !known.has(one));
}
