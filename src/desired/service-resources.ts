import type { IpAddress } from '../model/address.ts';
import { cidrContains } from '../model/cidr.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';
import { Claimants } from './claimants.ts';
import type { DerivedService } from './derive.ts';
import type { NodeContext } from './frontends.ts';
import { MARKS, preferredMark } from './marks.ts';

/** What becomes of one Service; undefined where there is none. */
export interface Transition {
  readonly before: DerivedService | undefined;
  readonly after: DerivedService | undefined;
}

/** A Service that another one meets. */
export interface Neighbour {
  readonly name: string;
  /** Whether its own rows may change with those of the other, or only what the two have in common. */
  readonly isRival: boolean;
}

/**
 * What Services have in common: the rows of one follow from no Service that shares none of this with it. Frontends,
 * which one of several gets; addresses, which are local while somebody has them; endpoints on this node, for the rules
 * know them by address alone.
 */
export class ServiceResources {
  readonly #context: NodeContext;
  readonly #frontends = new Claimants<VirtualServerKey>();
  readonly #clusterIPs = new Claimants<IpAddress>();
  readonly #externalAddresses = new Claimants<IpAddress>();
  readonly #endpoints = new Claimants<IpAddress>();
  /** How many frontends prefer each mark. */
  readonly #marks = new Map<number, number>();
  #ownClusterIPs = 0;
  #nodePorts = 0;

  constructor(context: NodeContext) {
    this.#context = context;
  }

  add(name: string, derived: DerivedService): void {
    this.claim(name, derived);
    this.#count(derived, 1);
  }

  /** @param derived as it was added */
  delete(name: string, derived: DerivedService): void {
    this.release(name, derived);
    this.#count(derived, -1);
  }

  /** Makes a Service known to its neighbours, beside what it has claimed before. */
  claim(name: string, derived: DerivedService): void {
    for (const virtualServer of derived.frontends.virtualServers) {
      const { key, exposure, address } = virtualServer;
      this.#frontends.add(key, name);
      if (exposure === 'ClusterIP') this.#clusterIPs.add(address, name);
      else if (isAddressShared(virtualServer)) this.#externalAddresses.add(address, name);
    }
    for (const address of this.#localEndpoints(derived)) this.#endpoints.add(address, name);
  }

  /** The inverse of {@link claim}; what others of its claims have in common with these goes, too. */
  release(name: string, derived: DerivedService): void {
    for (const { key, address } of derived.frontends.virtualServers) {
      this.#frontends.delete(key, name);
      this.#clusterIPs.delete(address, name);
      this.#externalAddresses.delete(address, name);
    }
    for (const address of this.#localEndpoints(derived)) this.#endpoints.delete(address, name);
  }

  /**
   * The Services that share what changes with one, some more than once. Where somebody else asks for its frontends,
   * or it is itself one that has been met by another, all that it has may change.
   * @param transition both claimed; without a difference, of a Service that another one meets
   */
  *neighbours(name: string, { before, after }: Transition): Generator<Neighbour> {
    const states = [...new Set([before, after])].filter((derived) => derived !== undefined);
    let isMet = before === after;
    for (const rival of states.flatMap((derived) => [...this.rivals(derived)])) {
      if (rival === name) continue;
      isMet = true;
      yield { name: rival, isRival: true };
    }
    for (const address of new Set(changes(before, after, isMet, sharedAddresses).values())) {
      for (const claimants of [this.#clusterIPs, this.#externalAddresses]) {
        for (const other of claimants.of(address)) yield { name: other, isRival: true };
      }
    }
    const endpoints = (derived: DerivedService) =>
      Array.from(this.#localEndpoints(derived), (address) => [address, address] as const);
    for (const address of changes(before, after, isMet, endpoints).values()) {
      for (const other of this.#endpoints.of(address)) yield { name: other, isRival: false };
    }
  }

  /** Who may win or lose a frontend to `derived`, itself included. */
  *rivals({ frontends }: DerivedService): Generator<string> {
    for (const { key, exposure, address } of frontends.virtualServers) {
      yield* this.#frontends.of(key);
      if (exposure === 'ExternalIP') yield* this.#clusterIPs.of(address);
    }
  }

  /** Whether each of its marks follows from its own frontend, no other one having moved on to it, or it from there. */
  hasOwnMarks({ frontends }: DerivedService): boolean {
    return markedFrontends(frontends.virtualServers).every(({ key }) => {
      for (let mark = preferredMark(key); ; mark = (mark + MARKS - 1) % MARKS) {
        const preferring = this.#marks.get(mark) ?? 0;
        if (preferring > 1) return false;
        if (preferring === 0) return true;
      }
    });
  }

  /** Whether a ClusterIP is an address of this node, which external frontends then lose. */
  get hasOwnClusterIPs(): boolean {
    return this.#ownClusterIPs > 0;
  }

  /** Whether any Service asks for a NodePort. */
  get hasNodePorts(): boolean {
    return this.#nodePorts > 0;
  }

  #count({ service, frontends }: DerivedService, by: 1 | -1): void {
    for (const { exposure, bindAddress } of frontends.virtualServers) {
      if (exposure === 'ClusterIP' && !bindAddress) this.#ownClusterIPs += by;
    }
    if (service.ports.some(({ nodePort }) => nodePort !== null)) this.#nodePorts += by;
    for (const { key } of markedFrontends(frontends.virtualServers)) {
      const mark = preferredMark(key);
      const preferring = (this.#marks.get(mark) ?? 0) + by;
      if (preferring > 0) this.#marks.set(mark, preferring);
      else this.#marks.delete(mark);
    }
  }

  #localEndpoints({ frontends }: DerivedService): ReadonlySet<IpAddress> {
    const { node } = this.#context.podRanges;
    const addresses = new Set<IpAddress>();
    for (const { realServers, insideRealServers } of frontends.virtualServers) {
      for (const { address, local } of [...realServers, ...(insideRealServers ?? [])]) {
        if (local || node.some((range) => cidrContains(range, address))) addresses.add(address);
      }
    }
    return addresses;
  }
}

/** What only one of two states has; all that either has if `isAll`. */
function changes<Thing>(
  before: DerivedService | undefined,
  after: DerivedService | undefined,
  isAll: boolean,
  thingsOf: (derived: DerivedService) => Iterable<readonly [string, Thing]>,
): ReadonlyMap<string, Thing> {
  const had = new Map(before && thingsOf(before));
  const has = before === after ? had : new Map(after && thingsOf(after));
  if (isAll) return new Map([...had, ...has]);
  const changed = [...had].filter(([text]) => !has.has(text));
  return new Map([...changed, ...[...has].filter(([text]) => !had.has(text))]);
}

/** By address, and what it is used for. */
function sharedAddresses({ frontends }: DerivedService): readonly (readonly [string, IpAddress])[] {
  return frontends.virtualServers
    .filter(isAddressShared)
    .map(({ address, exposure, bindAddress }) => [
      `${address} ${exposure === 'ClusterIP'} ${bindAddress}`,
      address,
    ]);
}

/** The node's own addresses stay whoever has frontends there, and many Services may: they share no more than ports. */
function isAddressShared({ exposure, bindAddress, otherNode }: VirtualServer): boolean {
  return exposure === 'ClusterIP' || bindAddress || otherNode !== null;
}

function markedFrontends(virtualServers: readonly VirtualServer[]): readonly VirtualServer[] {
  return virtualServers.filter(({ insideRealServers }) => insideRealServers !== null);
}
