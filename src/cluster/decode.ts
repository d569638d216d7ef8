import type { IpAddress } from '../model/address.ts';
import { type Cidr, formatCidr } from '../model/cidr.ts';
import type { Rejected } from '../model/rejected.ts';
import { compareText } from '../model/rejected.ts';
import { decodeEndpointSlice, decodeEndpoints, isHeadlessSlice, serviceOfSlice } from './decode-endpoints.ts';
import { decodeNode, decodeServiceCIDR } from './decode-node.ts';
import { decodeService } from './decode-service.ts';
import type { ClusterFacts, EndpointSliceFacts, NodeFacts, ServiceFacts } from './facts.ts';
import { isPossibleName, namespacedName, type RawObject, shown, textIn } from './object-fields.ts';

/** The kinds a node reads, with the API versions whose fields we know. */
export const KINDS = {
  Service: ['v1'],
  Endpoints: ['v1'],
  EndpointSlice: ['discovery.k8s.io/v1'],
  Node: ['v1'],
  ServiceCIDR: ['networking.k8s.io/v1', 'networking.k8s.io/v1beta1'],
} as const satisfies Record<string, readonly string[]>;

export type Kind = keyof typeof KINDS;

interface Collected {
  readonly services: Map<string, ServiceFacts>;
  readonly slices: Map<string, EndpointSliceFacts>;
  /** Services that have a slice, be it one that is of no use here. */
  readonly sliced: Set<string>;
  readonly endpoints: Map<string, readonly EndpointSliceFacts[]>;
  readonly serviceCIDRs: Map<string, Cidr>;
  node: NodeFacts | null;
  readonly otherNodes: Map<IpAddress, string>;
  readonly rejected: Rejected[];
}

/**
 * Turns API objects, in the order they were read, into facts. One bad object does not stop the others. An object
 * defined twice counts as `kubectl apply` would have it: the later one stands.
 * @param nodeName the Node of this name is the own one; of others the addresses count
 */
export function decodeObjects(objects: Iterable<RawObject>, nodeName: string): ClusterFacts {
  const collected: Collected = {
    services: new Map(),
    slices: new Map(),
    sliced: new Set(),
    endpoints: new Map(),
    serviceCIDRs: new Map(),
    node: null,
    otherNodes: new Map(),
    rejected: [],
  };
  for (const [key, { kind, object }] of latestByIdentity(objects, collected.rejected)) {
    const reject = (reason: string): void => {
      collected.rejected.push({ subject: key, reason });
    };
    decodeInto(collected, key, kind, object, nodeName, reject);
  }
  const { services, node, otherNodes, rejected } = collected;
  return {
    services,
    slices: joinSlices(collected),
    node,
    otherNodes,
    serviceCIDRs: [...collected.serviceCIDRs.values()],
    rejected,
  };
}

function latestByIdentity(objects: Iterable<RawObject>, rejected: Rejected[]) {
  const latest = new Map<string, { kind: Kind; object: RawObject }>();
  let position = 0;
  for (const object of objects) {
    const kind = textIn(object, 'kind');
    if (!isKind(kind)) continue;
    const subject = subjectAt(kind, object, ++position);
    const refusal = refusalOf(kind, object);
    if (refusal !== undefined) {
      rejected.push({ subject, reason: refusal });
      continue;
    }
    const replaces = latest.delete(subject);
    if (replaces) rejected.push({ subject, reason: 'defined more than once: the last definition is used' });
    latest.set(subject, { kind, object });
  }
  return latest;
}

/** How an object is called and told apart from others: by its place where it has no name to call it by. */
function subjectAt(kind: Kind, object: RawObject, position: number): string {
  const identity = namespacedName(object);
  if (!identity) return `${kind} without a name (#${position})`;
  if (!isPossibleName(identity.name) || !isPossibleName(identity.namespace))
    return `${kind} with an impossible name (#${position})`;
  return subjectOf(kind, keyOf(kind, identity));
}

/** `namespace/name`, or the name of a kind that is in no namespace. */
export function keyOf(kind: Kind, { name, key }: { readonly name: string; readonly key: string }): string {
  return kind === 'Node' || kind === 'ServiceCIDR' ? name : key;
}

/** As `Service web/front`. @param key of keyOf */
export function subjectOf(kind: Kind, key: string): string {
  return `${kind} ${key}`;
}

/** Why an object can't be read, whatever is in it. Other API groups have kinds of our names. */
function refusalOf(kind: Kind, object: RawObject): string | undefined {
  const { namespace = '', name = '' } = namespacedName(object) ?? {};
  const impossible = [name, namespace].find((part) => !isPossibleName(part));
  if (impossible !== undefined) return `${shown(impossible)} is no name of an object`;
  const apiVersion = textIn(object, 'apiVersion');
  const known: readonly string[] = KINDS[kind];
  if (apiVersion !== undefined && known.includes(apiVersion)) return undefined;
  return `apiVersion ${shown(apiVersion)}: only ${known.join(', ')} is read`;
}

function isKind(kind: string | undefined): kind is Kind {
  return kind !== undefined && Object.hasOwn(KINDS, kind);
}

function decodeInto(
  into: Collected,
  key: string,
  kind: Kind,
  object: RawObject,
  nodeName: string,
  reject: (reason: string) => void,
): void {
  if (kind === 'Service') {
    const service = decodeService(object, reject);
    if (service) into.services.set(`${service.namespace}/${service.name}`, service);
  } else if (kind === 'EndpointSlice') {
    const service = serviceOfSlice(object);
    if (service && !isHeadlessSlice(object)) into.sliced.add(service);
    const slice = decodeEndpointSlice(object, reject);
    if (slice) into.slices.set(key, slice);
  } else if (kind === 'Endpoints') into.endpoints.set(key, decodeEndpoints(object, reject));
  else if (kind === 'ServiceCIDR') {
    for (const cidr of decodeServiceCIDR(object, reject)) into.serviceCIDRs.set(formatCidr(cidr), cidr);
  } else {
    const isOwn = namespacedName(object)?.name === nodeName;
    // What is wrong with another node is for that node to say.
    const node = decodeNode(object, isOwn ? reject : () => undefined);
    if (isOwn) into.node = node;
    else if (node) for (const address of node.addresses) into.otherNodes.set(address, node.name);
  }
}

/** By Service; a core/v1 Endpoints counts only where its Service has no slice at all. */
function joinSlices(collected: Collected): ReadonlyMap<string, readonly EndpointSliceFacts[]> {
  const joined = new Map<string, EndpointSliceFacts[]>();
  const add = (slice: EndpointSliceFacts): void => {
    const present = joined.get(slice.service);
    if (present) present.push(slice);
    else joined.set(slice.service, [slice]);
  };
  for (const slice of collected.slices.values()) add(slice);
  for (const slice of [...collected.endpoints.values()].flat())
    if (!collected.sliced.has(slice.service)) add(slice);
  for (const slices of joined.values()) slices.sort((a, b) => compareText(a.origin, b.origin));
  return joined;
}
