import type { GeneratedObject } from '../../../scripts/generate-services.ts';
import type { IpAddress } from '../../../src/model/address.ts';
import { addressPair, type DualStack, FAMILIES } from './dual-stack.ts';
import type { LabPlan, PlannedNode, Pod } from './lab-plan.ts';

export const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
export const POLICIES = ['Cluster', 'Local'] as const;
export type Policy = (typeof POLICIES)[number];

/** Which endpoints a Service has: on the first node, on the second, on both, none, or one that is on its way out. */
export const ENDPOINTS = ['local', 'remote', 'both', 'none', 'terminating'] as const;
export type Endpoints = (typeof ENDPOINTS)[number];

/** A combination of what a Service can say. */
export interface Variant {
  readonly external: Policy;
  readonly internal: Policy;
  readonly endpoints: Endpoints;
  readonly affinity: boolean;
}

/** A Service of one variant, with addresses and ports that no other has. */
export interface LabService extends Variant {
  /** In namespace `traffic`. */
  readonly name: string;
  readonly clusterIP: DualStack<IpAddress>;
  /** An externalIP that is no node's address. */
  readonly externalIP: DualStack<IpAddress>;
  /** The ingress address of the load balancer. */
  readonly vip: DualStack<IpAddress>;
  /** Of each protocol; on the Service's own addresses and, as an externalIP, on the first node's. */
  readonly port: number;
  readonly nodePort: number;
}

export const SERVICE_CIDRS: DualStack<string> = { IPv4: '10.96.0.0/16', IPv6: 'fd00:10:96::/112' };

/** What the outside host must send to a node: ClusterIPs, externalIPs, load balancer addresses. */
export const ROUTES: readonly string[] = [
  ...FAMILIES.map((family) => SERVICE_CIDRS[family]),
  '198.51.100.0/24',
  '2001:db8:51::/64',
  '203.0.113.0/24',
  '2001:db8:113::/64',
];

/** What every endpoint listens on. */
export const TARGET_PORT = 8080;

const NAMESPACE = 'traffic';

/** Every variant, in an order that never changes. */
export const SERVICES: readonly LabService[] = POLICIES.flatMap((external) =>
  POLICIES.flatMap((internal) =>
    ENDPOINTS.flatMap((endpoints) =>
      [false, true].map((affinity): Variant => ({ external, internal, endpoints, affinity })),
    ),
  ),
).map((variant, i) => serviceOf(variant, i + 1));

/** The Service of a variant. */
export function serviceFor(variant: Variant): LabService {
  const found = SERVICES.find(
    ({ external, internal, endpoints, affinity }) =>
      external === variant.external &&
      internal === variant.internal &&
      endpoints === variant.endpoints &&
      affinity === variant.affinity,
  );
  if (!found) throw new RangeError(`No Service of variant ${JSON.stringify(variant)}`);
  return found;
}

function serviceOf(variant: Variant, number: number): LabService {
  const { external, internal, endpoints, affinity } = variant;
  return {
    ...variant,
    name: `ext-${external}-int-${internal}-${endpoints}${affinity ? '-affinity' : ''}`.toLowerCase(),
    clusterIP: addressPair(`10.96.1.${number}`, `fd00:10:96::${number}`),
    externalIP: addressPair(`198.51.100.${number}`, `2001:db8:51::${number}`),
    vip: addressPair(`203.0.113.${number}`, `2001:db8:113::${number}`),
    port: 8000 + number,
    nodePort: 30_000 + number,
  };
}

/** The pod on the first node, and the one on the second, that serve. */
export function endpointPods(lab: LabPlan): { readonly local: Pod; readonly remote: Pod } {
  const [local, remote] = [lab.nodes[0]?.pods[0], lab.nodes[1]?.pods[0]];
  if (!local || !remote) throw new RangeError('the lab has no two nodes with pods');
  return { local, remote };
}

/** Those among them that take new connections to a Service, whatever its policies. */
export function servingPods(lab: LabPlan, endpoints: Endpoints): readonly Pod[] {
  const { local, remote } = endpointPods(lab);
  return { local: [local], remote: [remote], both: [local, remote], none: [], terminating: [local] }[
    endpoints
  ];
}

/** Nodes, Services and EndpointSlices. */
export function objectsOf(lab: LabPlan): readonly GeneratedObject[] {
  const first = lab.nodes[0];
  if (!first) throw new RangeError('the lab has no node');
  return [
    ...lab.nodes.map(nodeObject),
    ...SERVICES.flatMap((service) => [serviceObject(service, first), ...sliceObjects(service, lab)]),
  ];
}

function nodeObject({ name, addresses, podCIDRs }: PlannedNode): GeneratedObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDR: podCIDRs.IPv4, podCIDRs: FAMILIES.map((family) => podCIDRs[family]) },
    status: { addresses: FAMILIES.map((family) => ({ type: 'InternalIP', address: addresses[family] })) },
  };
}

function serviceObject(service: LabService, first: PlannedNode): GeneratedObject {
  const { name, clusterIP, externalIP, vip, port, nodePort, external, internal, affinity } = service;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: NAMESPACE },
    spec: {
      type: 'LoadBalancer',
      clusterIP: clusterIP.IPv4,
      clusterIPs: FAMILIES.map((family) => clusterIP[family]),
      ipFamilies: FAMILIES,
      externalIPs: FAMILIES.flatMap((family) => [externalIP[family], first.addresses[family]]),
      externalTrafficPolicy: external,
      internalTrafficPolicy: internal,
      sessionAffinity: affinity ? 'ClientIP' : 'None',
      ports: PROTOCOLS.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port, nodePort })),
    },
    status: { loadBalancer: { ingress: FAMILIES.map((family) => ({ ip: vip[family], ipMode: 'VIP' })) } },
  };
}

/** None for a Service without endpoints: of an empty list and no list the latter is the less usual. */
function sliceObjects({ name, endpoints }: LabService, lab: LabPlan): readonly GeneratedObject[] {
  const pods = servingPods(lab, endpoints);
  if (pods.length === 0) return [];
  const ready = endpoints !== 'terminating';
  return FAMILIES.map((family) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${family.toLowerCase()}`,
      namespace: NAMESPACE,
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType: family,
    ports: PROTOCOLS.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: TARGET_PORT })),
    endpoints: pods.map(({ addresses, node, name: pod }) => ({
      addresses: [addresses[family]],
      nodeName: node,
      conditions: { ready, serving: true, terminating: !ready },
      targetRef: { kind: 'Pod', namespace: NAMESPACE, name: pod },
    })),
  }));
}
