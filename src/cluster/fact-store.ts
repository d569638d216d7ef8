import type { IpAddress, IpFamily } from '../model/address.ts';
import { unreachable } from '../model/brand.ts';
import type { Cidr } from '../model/cidr.ts';
import { compareText, type Rejected } from '../model/rejected.ts';
import type { NodeState } from './decode-node.ts';
import {
  absent,
  type Decoded,
  decodeWatched,
  rangesOf,
  WATCHED_KINDS,
  type WatchedKind,
  watchedKey,
} from './decode-watched.ts';
import { equalData } from './equal-data.ts';
import type { ClusterFacts, EndpointSliceFacts, NodeFacts, ServiceFacts } from './facts.ts';
import { Interner } from './intern.ts';
import type { RawObject } from './object-fields.ts';

/** What has become of the facts since somebody asked last. */
export interface FactChanges {
  /**
   * `namespace/name` of Services that changed themselves, or whose slices did, or of which something else is rejected.
   * There need be no such Service any more.
   */
  readonly services: ReadonlySet<string>;
  /** The own Node, other Nodes' addresses or ServiceCIDRs changed: everything is to be derived again. */
  readonly isWhole: boolean;
  /** What made controllers write the slices that changed; none of slices that were there in the first list. */
  readonly triggers: readonly Trigger[];
}

export interface Trigger {
  readonly family: IpFamily;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

/** A list from the beginning. */
export interface FactList {
  put(object: RawObject): void;
  /** Makes the list the truth: what is not in it is gone. Without it, the list changes nothing. */
  finish(): void;
}

/**
 * The facts, object by object, as an API server tells of them. Each object is decoded at once and then dropped; one
 * that says the same as before changes nothing, and its facts keep their identity.
 */
export class FactStore {
  /** Live: the maps are changed in place by later calls; their values are immutable and keep their identity. */
  readonly facts: ClusterFacts;
  readonly #nodeName: string;
  readonly #interner = new Interner();
  readonly #services = new Map<string, ServiceFacts>();
  /** By their own `namespace/name`. */
  readonly #slices = new Map<string, EndpointSliceFacts>();
  readonly #joined = new Map<string, readonly EndpointSliceFacts[]>();
  #node: NodeFacts | null = null;
  #nodeState: NodeState | null = null;
  readonly #otherNodes = new Map<string, readonly IpAddress[]>();
  readonly #nodeOf = new Map<IpAddress, string>();
  readonly #serviceCIDRs = new Map<string, readonly Cidr[]>();
  #ranges: readonly Cidr[] = [];
  /** By kind and key; of objects that are not rejected at all there is nothing. */
  readonly #rejected = new Map(WATCHED_KINDS.map((kind) => [kind, new Map<string, readonly Rejected[]>()]));
  #allRejected: readonly Rejected[] | null = [];
  readonly #listed = new Set<WatchedKind>();
  #changed = new Set<string>();
  #isWhole = false;
  #triggers: Trigger[] = [];

  /** @param nodeName the Node of this name is the own one; of others the addresses count */
  constructor(nodeName: string) {
    this.#nodeName = nodeName;
    const store = this;
    this.facts = {
      services: this.#services,
      slices: this.#joined,
      otherNodes: this.#nodeOf,
      get node() {
        return store.#node;
      },
      get serviceCIDRs() {
        return store.#ranges;
      },
      get rejected() {
        store.#allRejected ??= [...store.#rejected.values()].flatMap((ofKind) => [...ofKind.values()].flat());
        return store.#allRejected;
      },
    };
  }

  /** Of the own Node, what is no fact about Services; null while there is none. A change of it is no FactChanges. */
  get ownNode(): NodeState | null {
    return this.#nodeState;
  }

  /** Takes over one object. */
  put(kind: WatchedKind, object: RawObject): void {
    this.#apply(kind, this.#decode(kind, object));
  }

  /** @param object the object, or its `namespace/name`, or name where it is in no namespace */
  remove(kind: WatchedKind, object: RawObject | string): void {
    const key = typeof object === 'string' ? object : watchedKey(kind, object);
    this.#apply(kind, absent(kind, key, this.#nodeName));
  }

  /** Nothing changes before the list is finished; of the same kind, nothing else may be put meanwhile. */
  beginList(kind: WatchedKind): FactList {
    const listed = new Map<string, Decoded>();
    return {
      put: (object) => {
        const decoded = this.#decode(kind, object);
        listed.set(decoded.key, decoded);
      },
      finish: () => {
        for (const key of this.#keysOf(kind)) if (!listed.has(key)) this.remove(kind, key);
        for (const decoded of listed.values()) this.#apply(kind, decoded);
        this.#listed.add(kind);
      },
    };
  }

  /** What has changed since the last call. */
  takeChanges(): FactChanges {
    const changes = { services: this.#changed, isWhole: this.#isWhole, triggers: this.#triggers };
    this.#changed = new Set();
    this.#isWhole = false;
    this.#triggers = [];
    return changes;
  }

  /** Reads an object, and gives facts that are equal to the present ones the identity of those. */
  #decode(kind: WatchedKind, object: RawObject): Decoded {
    const decoded = decodeWatched(kind, object, this.#nodeName);
    if (decoded.kind === 'Service') {
      const facts = same(decoded.facts, this.#services.get(decoded.key), (each) =>
        this.#interner.service(each),
      );
      return { ...decoded, facts };
    }
    if (decoded.kind === 'EndpointSlice') {
      const facts = same(decoded.facts, this.#slices.get(decoded.key), (each) => this.#interner.slice(each));
      return { ...decoded, facts };
    }
    return decoded;
  }

  #apply(kind: WatchedKind, decoded: Decoded): void {
    const isOtherwiseRejected = this.#reject(kind, decoded);
    switch (decoded.kind) {
      case 'Service': {
        const before = this.#services.get(decoded.key) ?? null;
        if (isOtherwiseRejected || decoded.facts !== before) this.#changed.add(decoded.key);
        setOrDelete(this.#services, decoded.key, decoded.facts);
        break;
      }
      case 'EndpointSlice':
        this.#applySlice(decoded, isOtherwiseRejected);
        break;
      case 'Node':
        this.#nodeState = decoded.state;
        if (equalData(this.#node, decoded.facts)) break;
        this.#node = decoded.facts;
        this.#isWhole = true;
        break;
      case 'OtherNode':
        this.#applyOtherNode(decoded.key, decoded.facts);
        break;
      case 'ServiceCIDR':
        if (equalData(this.#serviceCIDRs.get(decoded.key) ?? null, decoded.facts)) break;
        setOrDelete(this.#serviceCIDRs, decoded.key, decoded.facts);
        this.#ranges = rangesOf(this.#serviceCIDRs);
        this.#isWhole = true;
        break;
      default:
        unreachable(decoded);
    }
  }

  #applySlice(
    { key, facts, triggerMs }: Extract<Decoded, { kind: 'EndpointSlice' }>,
    isOtherwiseRejected: boolean,
  ): void {
    const before = this.#slices.get(key) ?? null;
    for (const service of new Set([before?.service, facts?.service])) {
      if (service === undefined || (before === facts && !isOtherwiseRejected)) continue;
      this.#changed.add(service);
      if (before === facts) continue;
      const slices = (this.#joined.get(service) ?? []).filter((slice) => slice !== before);
      if (facts?.service === service) slices.push(facts);
      const sorted = slices.toSorted((a, b) => compareText(a.origin, b.origin));
      setOrDelete(this.#joined, service, sorted.length > 0 ? sorted : null);
    }
    setOrDelete(this.#slices, key, facts);
    if (facts && facts !== before && triggerMs !== null && this.#listed.has('EndpointSlice'))
      this.#triggers.push({ family: facts.family, atMs: triggerMs });
  }

  /** Of two Nodes that claim an address, the one whose name comes last has it, as in a list of the API server. */
  #applyOtherNode(name: string, addresses: readonly IpAddress[] | null): void {
    const before = this.#otherNodes.get(name) ?? null;
    if (equalData(before, addresses)) return;
    this.#isWhole = true;
    setOrDelete(this.#otherNodes, name, addresses);
    for (const address of before ?? []) {
      if (this.#nodeOf.get(address) !== name) continue;
      const claims = [...this.#otherNodes].filter(([, claimed]) => claimed.includes(address));
      setOrDelete(
        this.#nodeOf,
        address,
        claims
          .map(([node]) => node)
          .sort(compareText)
          .at(-1) ?? null,
      );
    }
    for (const address of addresses ?? [])
      if ((this.#nodeOf.get(address) ?? '') < name) this.#nodeOf.set(address, name);
  }

  /** @returns whether something else is rejected than before */
  #reject(kind: WatchedKind, { key, rejected }: Decoded): boolean {
    const ofKind = this.#rejected.get(kind) ?? new Map();
    if (equalData(ofKind.get(key) ?? [], rejected)) return false;
    setOrDelete(ofKind, key, rejected.length > 0 ? rejected : null);
    this.#allRejected = null;
    return true;
  }

  #keysOf(kind: WatchedKind): ReadonlySet<string> {
    const present: ReadonlyMap<string, unknown> = {
      Service: this.#services,
      EndpointSlice: this.#slices,
      Node: this.#otherNodes,
      ServiceCIDR: this.#serviceCIDRs,
    }[kind];
    const keys = new Set([...present.keys(), ...(this.#rejected.get(kind)?.keys() ?? [])]);
    if (kind === 'Node' && this.#nodeState) keys.add(this.#nodeName);
    return keys;
  }
}

function same<T>(decoded: T | null, present: T | undefined, intern: (facts: T) => T): T | null {
  if (decoded === null) return null;
  return present !== undefined && equalData(decoded, present) ? present : intern(decoded);
}

function setOrDelete<T>(map: Map<string, T>, key: string, value: T | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}
