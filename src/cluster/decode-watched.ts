import type { IpAddress } from '../model/address.ts';
import { type Cidr, formatCidr } from '../model/cidr.ts';
import type { Rejected } from '../model/rejected.ts';
import { type Kind, keyOf, subjectOf } from './decode.ts';
import { decodeEndpointSlice, decodeTriggerTime } from './decode-endpoints.ts';
import { decodeNode, decodeNodeState, decodeServiceCIDR, type NodeState } from './decode-node.ts';
import { decodeService } from './decode-service.ts';
import type { EndpointSliceFacts, NodeFacts, ServiceFacts } from './facts.ts';
import { namespacedName, type RawObject } from './object-fields.ts';

/** The kinds of which a daemon is told by the API server. */
export const WATCHED_KINDS = ['Service', 'EndpointSlice', 'Node', 'ServiceCIDR'] as const satisfies Kind[];

export type WatchedKind = (typeof WATCHED_KINDS)[number];

/** What one object says; `null` where nothing of it counts, or it is gone. */
export type Decoded = { readonly key: string; readonly rejected: readonly Rejected[] } & (
  | { readonly kind: 'Service'; readonly facts: ServiceFacts | null }
  | {
      readonly kind: 'EndpointSlice';
      readonly facts: EndpointSliceFacts | null;
      readonly triggerMs: number | null;
    }
  | { readonly kind: 'Node'; readonly facts: NodeFacts | null; readonly state: NodeState | null }
  | { readonly kind: 'OtherNode'; readonly facts: readonly IpAddress[] | null }
  | { readonly kind: 'ServiceCIDR'; readonly facts: readonly Cidr[] | null }
);

/** How an object is told apart from others of its kind: `namespace/name`, or the name where it is in no namespace. */
export function watchedKey(kind: WatchedKind, object: RawObject): string {
  const identity = namespacedName(object);
  // The API server lets no object be without a name: this one is rejected as such, whatever its key.
  return identity ? keyOf(kind, identity) : '';
}

/**
 * Reads one object of a watch or list.
 * @param object of a list it has neither apiVersion nor kind, so they are not looked at
 */
export function decodeWatched(kind: WatchedKind, object: RawObject, nodeName: string): Decoded {
  const key = watchedKey(kind, object);
  const rejected: Rejected[] = [];
  const reject = (reason: string): void => {
    rejected.push({ subject: subjectOf(kind, key), reason });
  };
  switch (kind) {
    case 'Service':
      return { kind, key, rejected, facts: decodeService(object, reject) };
    case 'EndpointSlice': {
      const facts = decodeEndpointSlice(object, reject);
      return { kind, key, rejected, facts, triggerMs: decodeTriggerTime(object) };
    }
    case 'Node': {
      if (key === nodeName)
        return { kind, key, rejected, facts: decodeNode(object, reject), state: decodeNodeState(object) };
      // What is wrong with another node is for that node to say.
      const facts = decodeNode(object, () => undefined)?.addresses ?? null;
      return { kind: 'OtherNode', key, rejected, facts };
    }
    case 'ServiceCIDR':
      return { kind, key, rejected, facts: decodeServiceCIDR(object, reject) };
  }
}

/** An object that is gone. */
export function absent(kind: WatchedKind, key: string, nodeName: string): Decoded {
  const rejected: readonly Rejected[] = [];
  switch (kind) {
    case 'Service':
      return { kind, key, rejected, facts: null };
    case 'EndpointSlice':
      return { kind, key, rejected, facts: null, triggerMs: null };
    case 'Node':
      if (key === nodeName) return { kind, key, rejected, facts: null, state: null };
      return { kind: 'OtherNode', key, rejected, facts: null };
    case 'ServiceCIDR':
      return { kind, key, rejected, facts: null };
  }
}

/** Of several objects, by their names: each range once. */
export function rangesOf(objects: ReadonlyMap<string, readonly Cidr[]>): readonly Cidr[] {
  const sorted = [...objects].sort(([a], [b]) => (a < b ? -1 : 1));
  return [...new Map(sorted.flatMap(([, cidrs]) => cidrs.map((cidr) => [formatCidr(cidr), cidr]))).values()];
}
