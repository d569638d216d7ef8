import { parseIpAddress } from '../model/address.ts';
import { type Cidr, parseCidr } from '../model/cidr.ts';
import type { NodeFacts } from './facts.ts';
import {
  asObject,
  entryIn,
  listIn,
  namespacedName,
  objectIn,
  type RawObject,
  type Reject,
  refused,
  shown,
  textIn,
} from './object-fields.ts';

const ZONE_LABEL = 'topology.kubernetes.io/zone';
const AUTOSCALER_TAINT = 'ToBeDeletedByClusterAutoscaler';

/** Reads a core/v1 Node: addresses (InternalIP and ExternalIP, in their order), podCIDRs and zone. */
export function decodeNode(object: RawObject, reject: Reject): NodeFacts | null {
  const identity = namespacedName(object);
  if (!identity) return refused(reject, 'has no metadata.name');
  const addresses = listIn(objectIn(object, 'status'), 'addresses').flatMap((entry) => {
    const { type, address } = asObject(entry) ?? {};
    if (type !== 'InternalIP' && type !== 'ExternalIP') return [];
    const parsed = parseIpAddress(address);
    if (!parsed) reject(`${type} ${shown(address)} is not an IP address`);
    return parsed ?? [];
  });
  const spec = objectIn(object, 'spec');
  const listed = listIn(spec, 'podCIDRs');
  const podCIDRs = listed.length > 0 ? listed : [textIn(spec, 'podCIDR') ?? []].flat();
  return {
    name: identity.name,
    addresses: [...new Set(addresses)],
    podCIDRs: decodeCidrs(podCIDRs, 'podCIDR', reject),
    zone: entryIn(object, 'labels', ZONE_LABEL) || null,
  };
}

/** What health depends on, and Events name, besides the facts of the own Node. */
export interface NodeState {
  /** metadata.uid; "" if absent */
  readonly uid: string;
  readonly isBeingDeleted: boolean;
  /** The cluster autoscaler is about to delete the node: load balancers outside are to leave it. */
  readonly hasAutoscalerTaint: boolean;
}

/** Reads that of a core/v1 Node. */
export function decodeNodeState(object: RawObject): NodeState {
  const { uid, deletionTimestamp } = objectIn(object, 'metadata');
  return {
    uid: typeof uid === 'string' ? uid : '',
    isBeingDeleted: deletionTimestamp !== undefined && deletionTimestamp !== null,
    hasAutoscalerTaint: listIn(objectIn(object, 'spec'), 'taints').some(
      (taint) => asObject(taint)?.key === AUTOSCALER_TAINT,
    ),
  };
}

/** Reads the ranges of a networking.k8s.io ServiceCIDR. */
export function decodeServiceCIDR(object: RawObject, reject: Reject): readonly Cidr[] {
  return decodeCidrs(listIn(objectIn(object, 'spec'), 'cidrs'), 'cidr', reject);
}

function decodeCidrs(texts: readonly unknown[], field: string, reject: Reject): readonly Cidr[] {
  return texts.flatMap((text) => {
    const cidr = parseCidr(text);
    if (!cidr) reject(`${field} ${shown(text)} is not a CIDR`);
    return cidr ?? [];
  });
}
