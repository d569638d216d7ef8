import { describe, expect, it } from 'vitest';
import { prepareTrace } from '../../src/trace/trace.ts';
import { desiredOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';
import { connectionOf, summary, traceRowsOf } from './build.ts';
import {
  CLOSED_CLUSTER_IP,
  CONFIG,
  check,
  example,
  KEPT_ALL,
  KEPT_LOCAL,
  LOCAL,
  NODE,
  OUTSIDE_ALL,
  SLICE,
} from './example.ts';

describe('trace() with a route for all ClusterIPs', () => {
  check(
    [
      { name: 'ClusterIP', connection: 'TCP 192.0.2.7 -> 10.96.0.50:80', outcome: OUTSIDE_ALL },
      { name: 'ClusterIP', connection: 'host TCP 172.16.0.5 -> 10.96.0.50:80', outcome: OUTSIDE_ALL },
      { name: 'closed', connection: 'TCP 10.244.1.99 -> 10.96.0.50:81', outcome: CLOSED_CLUSTER_IP },
      { name: 'of no Service', connection: 'TCP 10.244.1.99 -> 10.96.0.99:80', outcome: CLOSED_CLUSTER_IP },
      {
        name: 'of no Service',
        connection: 'host TCP 172.16.0.5 -> 10.96.0.99:80',
        outcome: CLOSED_CLUSTER_IP,
      },
    ],
    [example(), SLICE, NODE],
    { ...CONFIG, clusterIPs: 'route' },
  );
});

describe('trace() with addresses that others serve', () => {
  check(
    [
      { name: 'VIP', connection: 'TCP 192.0.2.7 -> 203.0.113.9:80', outcome: 'passed' },
      { name: 'host', connection: 'host TCP 172.16.0.5 -> 203.0.113.9:80', outcome: 'passed' },
      { name: 'NodePort', connection: 'TCP 192.0.2.7 -> 172.16.0.5:30080', outcome: 'delivered' },
      { name: 'ours', connection: 'TCP 192.0.2.7 -> 198.51.100.7:80', outcome: KEPT_LOCAL },
    ],
    [example(), SLICE, NODE],
    { ...CONFIG, excludeCIDRs: ['203.0.113.0/24', '172.16.0.0/16'] },
  );
});

describe('trace() with outside clients that keep their source', () => {
  check(
    [
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 203.0.113.9:80', outcome: KEPT_ALL },
      { name: 'outside, elsewhere', connection: 'TCP 192.0.2.7 -> 198.51.100.7:80', outcome: OUTSIDE_ALL },
      { name: 'NodePort', connection: 'TCP 192.0.2.7 -> 172.16.0.5:30080', outcome: OUTSIDE_ALL },
      { name: 'pod', connection: 'TCP 10.244.1.99 -> 203.0.113.9:80', outcome: OUTSIDE_ALL },
      { name: 'host', connection: 'host TCP 172.16.0.5 -> 203.0.113.9:80', outcome: OUTSIDE_ALL },
      { name: 'ClusterIP', connection: 'TCP 192.0.2.7 -> 10.96.0.50:80', outcome: OUTSIDE_ALL },
    ],
    [example({ externalTrafficPolicy: 'Cluster', loadBalancerSourceRanges: [] }), SLICE, NODE],
    { ...CONFIG, keepSourceCIDRs: ['203.0.113.0/24'] },
  );
});

describe('trace() with pods told by their link', () => {
  const config = { ...CONFIG, detectLocal: 'interfacePrefix:veth' };
  const trace = prepareTrace(traceRowsOf(desiredOf([example(), SLICE, NODE], config), config));
  it.each([
    { link: 'veth3', outcome: KEPT_ALL },
    { link: 'eth0', outcome: KEPT_LOCAL },
    { link: undefined, outcome: KEPT_LOCAL },
  ])('$link', ({ link, outcome }) => {
    expect(summary(trace(connectionOf('TCP 192.0.2.7 -> 198.51.100.7:80', link)))).toBe(outcome);
  });
});

describe('trace() of two families and three protocols', () => {
  const ports = [
    { name: 'dns', port: 53, protocol: 'UDP', nodePort: 30053 },
    { name: 'sig', port: 38412, protocol: 'SCTP' },
  ];
  const slicePorts = [
    { name: 'dns', port: 5353, protocol: 'UDP' },
    { name: 'sig', port: 38412, protocol: 'SCTP' },
  ];
  const six = 'fd00:244:1::20';
  check(
    [
      { name: 'UDP', connection: 'UDP 192.0.2.7 -> 172.16.0.5:30053', outcome: 'balanced 10.244.1.20:5353*' },
      {
        name: 'SCTP',
        connection: 'SCTP 10.244.1.99 -> 10.96.0.50:38412',
        outcome: 'balanced 10.244.1.20:38412',
      },
      {
        name: 'IPv6',
        connection: 'UDP 2001:db8::7 -> [fd00:10:96::50]:53',
        outcome: `balanced [${six}]:5353*`,
      },
      {
        name: 'IPv6',
        connection: 'UDP 2001:db8::7 -> [2001:db8::5]:30053',
        outcome: `balanced [${six}]:5353*`,
      },
      {
        name: 'hairpin',
        connection: `SCTP ${six} -> [fd00:10:96::50]:38412`,
        outcome: `balanced [${six}]:38412*`,
      },
      {
        name: 'pod',
        connection: 'UDP fd00:244:1::9 -> [fd00:10:96::50]:53',
        outcome: `balanced [${six}]:5353`,
      },
      {
        name: 'closed',
        connection: 'TCP fd00:244:1::9 -> [fd00:10:96::50]:53',
        outcome: 'refused (port of no Service on a ClusterIP IPv6)',
      },
      {
        name: 'host',
        connection: 'host UDP fd00:10:96::50 -> [fd00:10:96::50]:53',
        outcome: `balanced [${six}]:5353*`,
      },
    ],
    [
      service({
        spec: {
          type: 'NodePort',
          clusterIP: '10.96.0.50',
          clusterIPs: ['10.96.0.50', 'fd00:10:96::50'],
          ipFamilies: ['IPv4', 'IPv6'],
          ports,
        },
      }),
      slice({ ports: slicePorts, endpoints: [LOCAL] }),
      slice({
        name: 'front-6',
        addressType: 'IPv6',
        ports: slicePorts,
        endpoints: [{ address: six, node: 'n0' }],
      }),
      node({ addresses: ['172.16.0.5', '2001:db8::5'] }),
    ],
    { serviceCIDRs: ['10.96.0.0/16', 'fd00:10:96::/112'], clusterCIDRs: ['10.244.0.0/16', 'fd00:244::/32'] },
  );
});

describe('trace() to a real server of the host itself', () => {
  check(
    [
      // Linux 7.2: from outside it never comes to postrouting, from the host it does.
      { name: 'outside', connection: 'TCP 192.0.2.7 -> 10.96.0.1:443', outcome: 'balanced 172.16.0.5:6443' },
      {
        name: 'host',
        connection: 'host TCP 10.96.0.1 -> 10.96.0.1:443',
        outcome: 'balanced 172.16.0.5:6443*',
      },
    ],
    [
      service({ spec: { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443 }] } }),
      slice({ ports: [{ name: 'https', port: 6443 }], endpoints: [{ address: '172.16.0.5' }] }),
      NODE,
    ],
  );
});

describe('trace() to a real server that is a frontend', () => {
  const objects = [
    example(),
    SLICE,
    service({ name: 'outer', spec: { clusterIP: '10.96.0.60' } }),
    slice({
      name: 'outer-1',
      service: 'outer',
      ports: [{ name: 'http', port: 80 }],
      endpoints: [{ address: '203.0.113.9' }],
    }),
    NODE,
  ];
  const stopped = (connection: string, config: object) =>
    prepareTrace(traceRowsOf(desiredOf(objects, config), config))(connectionOf(connection)).candidates.map(
      ({ stoppedBy }) => stoppedBy,
    );

  it('ends where IPVS does not look at it again', () => {
    expect(stopped('TCP 192.0.2.7 -> 10.96.0.60:80', CONFIG)).toEqual(['port of no Service on a VIP IPv4']);
    expect(stopped('host TCP 172.16.0.5 -> 10.96.0.60:80', CONFIG)).toEqual([
      'port of no Service on a VIP IPv4',
    ]);
  });

  it('goes on where others serve it', () => {
    const config = { ...CONFIG, excludeCIDRs: ['203.0.113.0/24'] };
    expect(stopped('TCP 192.0.2.7 -> 10.96.0.60:80', config)).toEqual([null]);
  });
});
