import type { IpAddress } from '../../src/model/address.ts';
import type { Protocol } from '../../src/model/port.ts';
import { service, slice } from '../objects.ts';
import { addressPair, type DualStack, FAMILIES } from './traffic/dual-stack.ts';
import type { PlannedNode, Pod } from './traffic/lab-plan.ts';

export interface TestPort {
  readonly protocol: Protocol;
  readonly port: number;
  readonly nodePort?: number;
}

/** A Service of both families, as far as tests vary it. */
export interface TestService {
  /** Its namespace is `web`. */
  readonly name: string;
  /** Its addresses differ in their last part, 1 to 99 in both families. */
  readonly number: number;
  readonly ports: readonly TestPort[];
  readonly endpoints: readonly Pod[];
  /** Whether it has an externalIP. */
  readonly external?: boolean;
  /** The last part of its load balancer addresses, which Services may share. */
  readonly vip?: number;
  readonly sourceRanges?: readonly string[];
  /** @default 'Cluster' */
  readonly externalTrafficPolicy?: 'Cluster' | 'Local';
}

export const SERVICE_CIDRS: DualStack<string> = { IPv4: '10.96.0.0/16', IPv6: 'fd00:10:96::/112' };

/** Of every node's pods. */
export const POD_CIDRS: DualStack<string> = { IPv4: '10.244.0.0/16', IPv6: 'fd00:244::/32' };

/** What the outside host must send to a node. */
export const SERVICE_ROUTES: readonly string[] = [
  ...FAMILIES.map((family) => SERVICE_CIDRS[family]),
  ...['198.51.100.0/24', '2001:db8:51::/64', '203.0.113.0/24', '2001:db8:113::/64'],
];

/** What every endpoint listens on, whatever the protocol. */
export const TARGET_PORT = 8080;

export function clusterIPs(number: number): DualStack<IpAddress> {
  return addressPair(`10.96.0.${number}`, `fd00:10:96::${number}`);
}

export function externalIPs(number: number): DualStack<IpAddress> {
  return addressPair(`198.51.100.${number}`, `2001:db8:51::${number}`);
}

export function vips(number: number): DualStack<IpAddress> {
  return addressPair(`203.0.113.${number}`, `2001:db8:113::${number}`);
}

/** The Service and its EndpointSlices. */
export function objectsOf(test: TestService): readonly object[] {
  const { name, number, ports, endpoints, external = false, vip, sourceRanges } = test;
  const { externalTrafficPolicy = 'Cluster' } = test;
  const named = ports.map((port) => ({ name: `${port.protocol.toLowerCase()}-${port.port}`, ...port }));
  const addresses = clusterIPs(number);
  return [
    service({
      name,
      spec: {
        type: vip === undefined ? 'NodePort' : 'LoadBalancer',
        clusterIP: addresses.IPv4,
        clusterIPs: Object.values(addresses),
        ipFamilies: FAMILIES,
        ipFamilyPolicy: 'RequireDualStack',
        externalTrafficPolicy,
        ports: named,
        ...(external && { externalIPs: Object.values(externalIPs(number)) }),
        ...(sourceRanges && { loadBalancerSourceRanges: sourceRanges }),
      },
      ...(vip !== undefined && {
        status: { loadBalancer: { ingress: Object.values(vips(vip)).map((ip) => ({ ip })) } },
      }),
    }),
    ...FAMILIES.map((family) =>
      slice({
        service: name,
        name: `${name}-${family.toLowerCase()}`,
        addressType: family,
        ports: named.map(({ name, protocol }) => ({ name, protocol, port: TARGET_PORT })),
        endpoints: endpoints.map(({ addresses, node }) => ({ address: addresses[family], node })),
      }),
    ),
  ];
}

export function nodeObjectOf({ name, addresses, podCIDRs }: PlannedNode): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDR: podCIDRs.IPv4, podCIDRs: Object.values(podCIDRs) },
    status: { addresses: Object.values(addresses).map((address) => ({ type: 'InternalIP', address })) },
  };
}
