import type { AllocationRules } from '../../src/load-balancer/allocate.ts';
import { decodeLoadBalancer } from '../../src/load-balancer/decode-service.ts';
import type { LoadBalancerFacts } from '../../src/load-balancer/facts.ts';
import type { AddressPool } from '../../src/load-balancer/pools.ts';
import { type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import { parseAddressRange } from '../../src/model/address-range.ts';

export const CLASS = 'svcplane.io/load-balancer';

/** @throws TypeError if it is none */
export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (!address) throw new TypeError(`${text} is no address`);
  return address;
}

export function pool(
  name: string,
  addresses: readonly string[],
  more: Partial<AddressPool> = {},
): AddressPool {
  return {
    name,
    addresses: addresses.map((text) => {
      const range = parseAddressRange(text);
      if (!range) throw new TypeError(`${text} is no range`);
      return range;
    }),
    networkAndBroadcast: false,
    automatic: true,
    namespaces: [],
    serviceSelector: { matchLabels: {}, matchExpressions: [] },
    ...more,
  };
}

export function rules(pools: readonly AddressPool[], more: Partial<AllocationRules> = {}): AllocationRules {
  return { class: CLASS, default: false, shareAcrossNamespaces: false, pools, ...more };
}

export interface Shape {
  readonly name: string;
  readonly namespace?: string;
  /** Seconds: who is older. */
  readonly age?: number;
  readonly labels?: object;
  readonly annotations?: object;
  readonly spec?: object;
  readonly ingress?: readonly (string | object)[];
  readonly conditions?: readonly object[];
  readonly metadata?: object;
}

/** A Service of our class as the API server has it. */
export function serviceObject(shape: Shape) {
  const { name, namespace = 'web', age = 0, labels, annotations, spec, ingress = [], conditions } = shape;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace,
      uid: `uid-${name}`,
      resourceVersion: '1',
      creationTimestamp: new Date(1_700_000_000_000 - age * 1000).toISOString(),
      labels,
      annotations,
      ...shape.metadata,
    },
    spec: {
      type: 'LoadBalancer',
      loadBalancerClass: CLASS,
      ipFamilies: ['IPv4'],
      ports: [{ port: 80, protocol: 'TCP' }],
      ...spec,
    },
    status: {
      loadBalancer: { ingress: ingress.map((each) => (typeof each === 'string' ? { ip: each } : each)) },
      conditions,
    },
  };
}

/** The same as facts. */
export function lbFacts(shape: Shape): LoadBalancerFacts {
  const decoded = decodeLoadBalancer(serviceObject(shape));
  if (!decoded) throw new TypeError('has no name');
  return decoded;
}
