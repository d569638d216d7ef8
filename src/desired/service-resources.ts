import type { IpAddress } from '../model/address.ts';
import { cidrContains } from '../model/cidr.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';
import { Claimants } from './claimants.ts';
import type { DerivedService } from './derive.ts';
import type { NodeContext } from './frontends.ts';
import { MARKS, preferredMark } from './marks.ts';

/**
 * What Services have in common: nobody's rows follow from a Service that shares none of these with it. Frontends,
 * which one of several gets; addresses, which are local while one has them; endpoints on this node, for the rules know
 * them by address alone.
 */
export class ServiceResources {
  readonly #context: NodeContext;
  readonly #frontends = new Claimants<VirtualServerKey>();
  readonly #addresses = new Claimants<IpAddress>();
  readonly #endpoints = new Claimants<IpAddress>();
  /** How many frontends prefer each mark. */
  readonly #marks = new Map<number, number>();
  #ownClusterIPs = 0;
  #nodePorts = 0;

  constructor(context: NodeContext) {
    this.#context = context;
  }

  add(name: string, derived: DerivedService): void {
    for (const virtualServer of derived.frontends.virtualServers) {
      this.#frontends.add(virtualServer.key, name);
      if (isAddressShared(virtualServer)) this.#addresses.add(virtualServer.address, name);
      for (const address of this.#localEndpoints(virtualServer)) this.#endpoints.add(address, name);
    }
    this.#count(derived, 1);
  }

  /** @param derived as it was added */
  delete(name: string, derived: DerivedService): void {
    for (const { key, address, realServers, insideRealServers } of derived.frontends.virtualServers) {
      this.#frontends.delete(key, name);
      this.#addresses.delete(address, name);
      for (const endpoint of realServers) this.#endpoints.delete(endpoint.address, name);
      for (const endpoint of insideRealServers ?? []) this.#endpoints.delete(endpoint.address, name);
    }
    this.#count(derived, -1);
  }

  /** The Services that share something with `derived`, itself included if it was added; some more than once. */
  *neighbours({ frontends }: DerivedService): Generator<string> {
    for (const virtualServer of frontends.virtualServers) {
      yield* this.#frontends.of(virtualServer.key);
      if (isAddressShared(virtualServer)) yield* this.#addresses.of(virtualServer.address);
      for (const address of this.#localEndpoints(virtualServer)) yield* this.#endpoints.of(address);
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

  *#localEndpoints({ realServers, insideRealServers }: VirtualServer): Generator<IpAddress> {
    const { node } = this.#context.podRanges;
    for (const endpoints of [realServers, insideRealServers ?? []]) {
      for (const { address, local } of endpoints) {
        if (local || node.some((range) => cidrContains(range, address))) yield address;
      }
    }
  }
}

/** The node's own addresses stay whoever has frontends there, and many Services may: they share no more than ports. */
function isAddressShared({ exposure, bindAddress, otherNode }: VirtualServer): boolean {
  return exposure === 'ClusterIP' || bindAddress || otherNode !== null;
}

function markedFrontends(virtualServers: readonly VirtualServer[]): readonly VirtualServer[] {
  return virtualServers.filter(({ insideRealServers }) => insideRealServers !== null);
}
