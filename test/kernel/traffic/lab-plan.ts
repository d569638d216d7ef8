import type { IpAddress } from '../../../src/model/address.ts';
import { addressPair, type DualStack } from './dual-stack.ts';

/** Whatever has a network namespace with one address of each family. */
export interface Attached {
  /** `outside`, `n0`, `n0-pod1`: the same in every run. */
  readonly name: string;
  /** Its network namespace, as `ip netns` knows it: another in every run. */
  readonly namespace: string;
  readonly addresses: DualStack<IpAddress>;
}

export interface Pod extends Attached {
  /** Name of the node it is on. */
  readonly node: string;
}

export interface PlannedNode extends Attached {
  /** The node's address on the bridge of its pods, cni0. */
  readonly gateway: DualStack<IpAddress>;
  readonly podCIDRs: DualStack<string>;
  readonly pods: readonly Pod[];
}

/** A few nodes with their pods and a host outside, on one wire: as they are addressed, whether they exist or not. */
export interface LabPlan {
  readonly outside: Attached;
  readonly nodes: readonly PlannedNode[];
}

export interface LabSize {
  /** @default 3, at most 9 */
  readonly nodes?: number;
  /** On each node. @default 2 */
  readonly podsPerNode?: number;
}

/** Pods of every node. */
export const CLUSTER_CIDRS: DualStack<string> = { IPv4: '10.244.0.0/16', IPv6: 'fd00:244::/32' };

/** @param suffix of the namespaces' names, for labs side by side */
export function planLab({ nodes = 3, podsPerNode = 2 }: LabSize = {}, suffix = 'plan'): LabPlan {
  return {
    outside: { name: 'outside', namespace: `outside-${suffix}`, addresses: wireAddresses(100) },
    nodes: Array.from({ length: nodes }, (_, i) => planNode(i, podsPerNode, suffix)),
  };
}

/** Every pod of the lab. */
export function podsOf(lab: LabPlan): readonly Pod[] {
  return lab.nodes.flatMap(({ pods }) => pods);
}

function planNode(index: number, podCount: number, suffix: string): PlannedNode {
  const name = `n${index}`;
  return {
    name,
    namespace: `${name}-${suffix}`,
    addresses: wireAddresses(10 + index),
    gateway: podAddresses(index, 1),
    podCIDRs: { IPv4: `10.244.${index}.0/24`, IPv6: `fd00:244:${index}::/64` },
    pods: Array.from({ length: podCount }, (_, i) => ({
      name: `${name}-pod${i}`,
      namespace: `${name}-pod${i}-${suffix}`,
      addresses: podAddresses(index, 20 + i),
      node: name,
    })),
  };
}

function wireAddresses(host: number): DualStack<IpAddress> {
  return addressPair(`172.20.0.${host}`, `fd00:172:20::${host}`);
}

function podAddresses(node: number, host: number): DualStack<IpAddress> {
  return addressPair(`10.244.${node}.${host}`, `fd00:244:${node}::${host}`);
}
