import { describe, expect, it } from 'vitest';
import { type VirtualServerKey, virtualServerKey } from '../../src/model/virtual-server.ts';
import { prepareTrace } from '../../src/trace/trace.ts';
import { desiredOf } from '../derive.ts';
import { slice } from '../objects.ts';
import { address, connectionOf, traceRowsOf } from './build.ts';
import {
  type Case,
  CLOSED_CLUSTER_IP,
  CLOSED_VIP,
  CONFIG,
  check,
  DROPPED,
  EMPTY,
  example,
  KEPT_ALL,
  KEPT_LOCAL,
  NODE,
  OUTSIDE_ALL,
  REMOTE,
  SLICE,
} from './example.ts';

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

describe('trace() of what no Service has', () => {
  check(
    [
      { name: 'port on a VIP', connection: 'TCP 192.0.2.7 -> 203.0.113.9:81', outcome: CLOSED_VIP },
      { name: 'port on a VIP', connection: 'host TCP 203.0.113.9 -> 203.0.113.9:81', outcome: CLOSED_VIP },
      { name: 'port on a VIP', connection: 'TCP 10.244.1.99 -> 198.51.100.7:81', outcome: CLOSED_VIP },
      { name: 'protocol on a VIP', connection: 'UDP 192.0.2.7 -> 203.0.113.9:80', outcome: CLOSED_VIP },
      { name: 'NodePort of a VIP', connection: 'TCP 192.0.2.7 -> 203.0.113.9:30080', outcome: CLOSED_VIP },
      {
        name: 'port on a ClusterIP',
        connection: 'TCP 192.0.2.7 -> 10.96.0.50:81',
        outcome: CLOSED_CLUSTER_IP,
      },
      {
        name: 'port on a ClusterIP',
        connection: 'host TCP 10.96.0.50 -> 10.96.0.50:81',
        outcome: CLOSED_CLUSTER_IP,
      },
      {
        name: 'port on a ClusterIP',
        connection: 'SCTP 10.244.1.99 -> 10.96.0.50:80',
        outcome: CLOSED_CLUSTER_IP,
      },
      {
        name: 'ClusterIP that is not bound',
        connection: 'TCP 10.244.1.99 -> 10.96.0.99:80',
        outcome: CLOSED_CLUSTER_IP,
      },
      { name: 'port of the node', connection: 'TCP 192.0.2.7 -> 172.16.0.5:22', outcome: 'delivered' },
      { name: 'port of the node', connection: 'host TCP 172.16.0.5 -> 10.244.1.1:22', outcome: 'delivered' },
      { name: 'port of the node', connection: 'host TCP 127.0.0.1 -> 127.0.0.1:30080', outcome: 'delivered' },
      { name: 'another host', connection: 'TCP 10.244.1.99 -> 192.0.2.7:80', outcome: 'passed' },
      { name: 'another host', connection: 'host TCP 172.16.0.5 -> 192.0.2.7:80', outcome: 'passed' },
      {
        name: 'loopback from outside',
        connection: 'TCP 192.0.2.7 -> 127.0.0.1:30080',
        outcome: 'dropped (routing: loopback addresses are not reached from outside)',
      },
    ],
    [example(), SLICE, NODE],
  );
});

describe('trace() to a Service without endpoints', () => {
  check(
    [
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 10.96.0.50:80', outcome: EMPTY },
      { name: 'pod', connection: 'TCP 10.244.1.99 -> 198.51.100.7:80', outcome: EMPTY },
      { name: 'host', connection: 'host TCP 172.16.0.5 -> 172.16.0.5:30080', outcome: EMPTY },
      { name: 'outside the ranges', connection: 'TCP 198.51.100.200 -> 203.0.113.9:80', outcome: DROPPED },
    ],
    [example(), NODE],
  );
});

describe('trace() with policy Local and no local endpoint', () => {
  const remote = 'balanced 10.244.2.30:8080';
  check(
    [
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 198.51.100.7:80', outcome: EMPTY },
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 172.16.0.5:30080', outcome: EMPTY },
      { name: 'pod elsewhere', connection: 'TCP 10.244.2.99 -> 172.16.0.5:30080', outcome: EMPTY },
      { name: 'pod', connection: 'TCP 10.244.1.99 -> 198.51.100.7:80', outcome: remote },
      { name: 'host', connection: 'host TCP 172.16.0.5 -> 172.16.0.5:30080', outcome: remote },
      {
        name: 'host, as it chooses by itself',
        connection: 'host TCP 198.51.100.7 -> 198.51.100.7:80',
        outcome: `${remote}*`,
      },
      { name: 'internal policy', connection: 'TCP 10.244.1.99 -> 10.96.0.50:80', outcome: EMPTY },
    ],
    [example({ internalTrafficPolicy: 'Local' }), slice({ endpoints: [REMOTE] }), NODE],
  );
});

describe('trace() with policy Cluster', () => {
  check(
    [
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 203.0.113.9:80', outcome: OUTSIDE_ALL },
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 172.16.0.5:30080', outcome: OUTSIDE_ALL },
      { name: 'pod', connection: 'TCP 10.244.1.99 -> 198.51.100.7:80', outcome: OUTSIDE_ALL },
      { name: 'host', connection: 'host TCP 172.16.0.5 -> 172.16.0.5:30080', outcome: OUTSIDE_ALL },
      { name: 'masqueradeAll', connection: 'TCP 10.244.1.99 -> 10.96.0.50:80', outcome: OUTSIDE_ALL },
    ],
    [example({ externalTrafficPolicy: 'Cluster' }), SLICE, NODE],
    { ...CONFIG, masqueradeAll: true },
  );
});

describe('trace() of source ranges', () => {
  // Node n0 is among the sources, and sends from the VIP by itself.
  const objects = [example({ loadBalancerSourceRanges: ['172.16.0.0/16', '192.0.2.7/32'] }), SLICE, NODE];
  const trace = prepareTrace(traceRowsOf(desiredOf(objects, CONFIG), CONFIG));
  it.each([
    { connection: 'TCP 192.0.2.7 -> 203.0.113.9:80', verdict: 'inside', range: '192.0.2.7' },
    { connection: 'TCP 192.0.2.8 -> 203.0.113.9:80', verdict: 'outside', range: undefined },
    { connection: 'TCP 192.0.2.8 -> 198.51.100.7:80', verdict: 'none', range: undefined },
    { connection: 'TCP 192.0.2.8 -> 203.0.113.9:81', verdict: 'none', range: undefined },
    { connection: 'host TCP 172.16.0.5 -> 203.0.113.9:80', verdict: 'inside', range: '172.16.0.0/16' },
    { connection: 'host TCP 203.0.113.9 -> 203.0.113.9:80', verdict: 'inside', range: '203.0.113.9' },
  ])('$connection', ({ connection, verdict, range }) => {
    const { sourceRange, admittedBy } = trace(connectionOf(connection));
    expect(sourceRange).toBe(verdict);
    expect(admittedBy?.split(' . ').at(-1)).toBe(range);
  });
});

describe('trace() of firewall marks and weights', () => {
  const rows = traceRowsOf(desiredOf([example(), SLICE, NODE], CONFIG), CONFIG);

  it('names the mark, and the virtual server that it leads to', () => {
    const inside = prepareTrace(rows)(connectionOf('TCP 10.244.1.99 -> 198.51.100.7:80'));
    expect(inside.virtualServer).toBe(`FWM4 ${inside.mark}`);
    expect(inside.mark).toBe(
      desiredOf([example(), SLICE, NODE], CONFIG).insideMarks.get(keyOf('198.51.100.7')),
    );
    const outside = prepareTrace(rows)(connectionOf('TCP 192.0.2.7 -> 198.51.100.7:80'));
    expect(outside).toMatchObject({ mark: null, virtualServer: keyOf('198.51.100.7') });
  });

  it('offers nothing to new connections that drains', () => {
    const [key, weight] = [keyOf('198.51.100.7'), 0];
    const row = rows.ipvs.virtualServers.get(key);
    const realServers = new Map(
      [...(row?.realServers ?? [])].map(([name, each]) => [
        name,
        { ...each, config: { ...each.config, weight } },
      ]),
    );
    const virtualServers = new Map(rows.ipvs.virtualServers);
    if (row) virtualServers.set(key, { ...row, realServers });
    const trace = prepareTrace({ ...rows, ipvs: { ...rows.ipvs, virtualServers } });
    expect(trace(connectionOf('TCP 192.0.2.7 -> 198.51.100.7:80'))).toMatchObject({
      verdict: 'refused',
      by: 'IPVS: no real server',
      virtualServer: key,
      candidates: [],
      draining: ['10.244.1.20:8080'],
    });
  });
});

function keyOf(text: string): VirtualServerKey {
  return virtualServerKey({ kind: 'address', address: address(text), port: 80, protocol: 'TCP' });
}
