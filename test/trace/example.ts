import { expect, it } from 'vitest';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { prepareTrace } from '../../src/trace/trace.ts';
import { desiredOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';
import { connectionOf, summary, traceRowsOf } from './build.ts';

export const LOCAL = { address: '10.244.1.20', node: 'n0' };
export const REMOTE = { address: '10.244.2.30', node: 'n1' };
export const NOT_READY = { address: '10.244.1.21', node: 'n0', ready: false };
export const CONFIG = { serviceCIDRs: ['10.96.0.0/16'], clusterCIDRs: ['10.244.0.0/16'] };
export const NODE = node({ addresses: ['172.16.0.5', '10.244.1.1'] });

/** The example of the Service that has every kind of frontend, without affinity unless given. */
export function example(spec: object = {}) {
  return service({
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.50',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 }],
      externalIPs: ['198.51.100.7'],
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 32000,
      loadBalancerSourceRanges: ['192.0.2.0/24'],
      ...spec,
    },
    status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } },
  });
}

export const SLICE = slice({ endpoints: [LOCAL, REMOTE, NOT_READY] });

export interface Case {
  readonly name: string;
  readonly connection: string;
  readonly outcome: string;
}

export function check(cases: readonly Case[], objects: readonly RawObject[], config: object = CONFIG): void {
  const trace = prepareTrace(traceRowsOf(desiredOf(objects, config), config));
  for (const { name, connection, outcome } of cases) {
    it(`${name}: ${connection}`, () => {
      expect(summary(trace(connectionOf(connection)))).toBe(outcome);
    });
  }
}

export const OUTSIDE_ALL = 'balanced 10.244.1.20:8080* 10.244.2.30:8080*';
export const KEPT_ALL = 'balanced 10.244.1.20:8080 10.244.2.30:8080';
export const KEPT_LOCAL = 'balanced 10.244.1.20:8080';
export const DROPPED = 'dropped (outside loadBalancerSourceRanges IPv4)';

export const CLOSED_VIP = 'refused (port of no Service on a VIP IPv4)';
export const CLOSED_CLUSTER_IP = 'refused (port of no Service on a ClusterIP IPv4)';
export const EMPTY = 'refused (no endpoint IPv4)';
