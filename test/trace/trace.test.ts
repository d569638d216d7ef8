import { describe, expect, it } from 'vitest';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { prepareTrace } from '../../src/trace/trace.ts';
import { desiredOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';
import { connectionOf, summary, traceRowsOf } from './build.ts';

const LOCAL = { address: '10.244.1.20', node: 'n0' };
const REMOTE = { address: '10.244.2.30', node: 'n1' };
const NOT_READY = { address: '10.244.1.21', node: 'n0', ready: false };
const CONFIG = { serviceCIDRs: ['10.96.0.0/16'], clusterCIDRs: ['10.244.0.0/16'] };
const NODE = node({ addresses: ['172.16.0.5', '10.244.1.1'] });

/** The example of the Service that has every kind of frontend, without affinity unless given. */
function example(spec: object = {}) {
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

const SLICE = slice({ endpoints: [LOCAL, REMOTE, NOT_READY] });

interface Case {
  readonly name: string;
  readonly connection: string;
  readonly outcome: string;
}

function check(cases: readonly Case[], objects: readonly RawObject[], config: object = CONFIG): void {
  const trace = prepareTrace(traceRowsOf(desiredOf(objects, config), config));
  for (const { name, connection, outcome } of cases) {
    it(`${name}: ${connection}`, () => {
      expect(summary(trace(connectionOf(connection)))).toBe(outcome);
    });
  }
}

const OUTSIDE_ALL = 'balanced 10.244.1.20:8080* 10.244.2.30:8080*';
const KEPT_ALL = 'balanced 10.244.1.20:8080 10.244.2.30:8080';
const KEPT_LOCAL = 'balanced 10.244.1.20:8080';
const DROPPED = 'dropped (outside loadBalancerSourceRanges IPv4)';

describe('trace() of the worked example', () => {
  const rows = (who: string, outcomes: Readonly<Record<string, string>>): Case[] =>
    Object.entries(outcomes).map(([to, outcome]) => ({
      name: who.split(' TCP')[0] ?? '',
      connection: `${who.includes('host') ? 'host ' : ''}TCP ${who.split(' ').at(-1)} -> ${to}`,
      outcome,
    }));
  check(
    [
      ...rows('outside TCP 192.0.2.7', {
        '10.96.0.50:80': OUTSIDE_ALL,
        '172.16.0.5:30080': KEPT_LOCAL,
        '10.244.1.1:30080': KEPT_LOCAL,
        '198.51.100.7:80': KEPT_LOCAL,
        '203.0.113.9:80': KEPT_LOCAL,
      }),
      ...rows('outside the ranges TCP 198.51.100.200', {
        '10.96.0.50:80': OUTSIDE_ALL,
        '172.16.0.5:30080': KEPT_LOCAL,
        '198.51.100.7:80': KEPT_LOCAL,
        '203.0.113.9:80': DROPPED,
      }),
      ...rows('host TCP 172.16.0.5', {
        '10.96.0.50:80': OUTSIDE_ALL,
        '172.16.0.5:30080': KEPT_ALL,
        '10.244.1.1:30080': KEPT_ALL,
        '198.51.100.7:80': KEPT_ALL,
        '203.0.113.9:80': DROPPED,
      }),
      ...rows('host, as it chooses by itself TCP 10.96.0.50', { '10.96.0.50:80': OUTSIDE_ALL }),
      ...rows('host, as it chooses by itself TCP 198.51.100.7', { '198.51.100.7:80': OUTSIDE_ALL }),
      ...rows('host, as it chooses by itself TCP 203.0.113.9', { '203.0.113.9:80': DROPPED }),
      ...rows('pod of this node TCP 10.244.1.99', {
        '10.96.0.50:80': KEPT_ALL,
        '172.16.0.5:30080': KEPT_ALL,
        '198.51.100.7:80': KEPT_ALL,
        '203.0.113.9:80': DROPPED,
      }),
      ...rows('pod elsewhere TCP 10.244.2.99', {
        '10.96.0.50:80': KEPT_ALL,
        '172.16.0.5:30080': KEPT_LOCAL,
        '198.51.100.7:80': KEPT_LOCAL,
        '203.0.113.9:80': DROPPED,
      }),
      ...rows('its own endpoint TCP 10.244.1.20', {
        '10.96.0.50:80': 'balanced 10.244.1.20:8080* 10.244.2.30:8080',
        '172.16.0.5:30080': 'balanced 10.244.1.20:8080* 10.244.2.30:8080',
      }),
    ],
    [example(), SLICE, NODE],
  );
});
