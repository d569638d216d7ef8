import { describe, expect, it } from 'vitest';
import { desiredOf, linesOf, reasonsOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';

const LOCAL = { address: '10.244.1.20', node: 'n0' };
const REMOTE = { address: '10.244.2.30', node: 'n1' };

describe('frontendsOf() gives the worked example of a Service with every kind of frontend', () => {
  const front = service({
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.50',
      ports: [{ name: 'http', port: 80, nodePort: 30080 }],
      externalIPs: ['198.51.100.7'],
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 32000,
      loadBalancerSourceRanges: ['192.0.2.0/24'],
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 3600 } },
    },
    status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } },
  });
  const own = node({ addresses: ['172.16.0.5', '10.244.1.1'] });
  const notReady = { address: '10.244.1.21', node: 'n0', ready: false };
  const outside = (endpoints: string) => [
    'TCP 10.96.0.50:80 rr p3600 -> 10.244.1.20:8080 10.244.2.30:8080',
    `TCP 10.244.1.1:30080 rr p3600 ->${endpoints}`,
    `TCP 172.16.0.5:30080 rr p3600 ->${endpoints}`,
    `TCP 198.51.100.7:80 rr p3600 ->${endpoints}`,
    `TCP 203.0.113.9:80 rr p3600 ->${endpoints}`,
  ];

  it('with one ready local endpoint: outside frontends have only it', () => {
    const desired = desiredOf([front, own, slice({ endpoints: [LOCAL, REMOTE, notReady] })]);
    expect(linesOf(desired)).toEqual(outside(' 10.244.1.20:8080'));
    expect(desired.healthChecks).toEqual([{ service: 'web/front', port: 32000, localEndpoints: 1 }]);
    const bound = [...desired.virtualServers.values()].filter(({ bindAddress }) => bindAddress);
    expect(bound.map(({ address }) => address)).toEqual(['10.96.0.50', '198.51.100.7', '203.0.113.9']);
  });

  it('keeps what the next layers need: inside endpoints of Local frontends, source ranges of the VIP', () => {
    const { virtualServers } = desiredOf([front, own, slice({ endpoints: [LOCAL, REMOTE] })]);
    const rows = [...virtualServers.values()];
    const inside = rows.filter(({ insideRealServers }) => insideRealServers?.length === 2);
    expect(inside.map(({ exposure }) => exposure)).toEqual([
      'NodePort',
      'NodePort',
      'ExternalIP',
      'LoadBalancer',
    ]);
    expect(rows.find(({ exposure }) => exposure === 'LoadBalancer')?.sourceRanges).toEqual([
      { family: 'IPv4', network: '192.0.2.0', prefixLength: 24 },
    ]);
    expect(rows.filter(({ sourceRanges }) => sourceRanges !== null)).toHaveLength(1);
  });

  it('leaves an address of another node to that node, for it would be out of reach', () => {
    const spec = { externalIPs: ['172.16.0.6', '172.16.0.5'], externalTrafficPolicy: 'Local' };
    const other = node({ name: 'n1', addresses: ['172.16.0.6'] });
    const { virtualServers } = desiredOf([service({ spec }), own, other, slice({ endpoints: [LOCAL] })]);
    const places = [...virtualServers.values()]
      .filter(({ exposure }) => exposure === 'ExternalIP')
      .map(({ address, bindAddress, otherNode, insideRealServers }) => [
        address,
        bindAddress,
        otherNode,
        insideRealServers?.length,
      ]);
    expect(places).toEqual([
      ['172.16.0.5', false, null, 1],
      ['172.16.0.6', false, 'n1', undefined],
    ]);
  });

  it('without a local endpoint: outside frontends stay, empty', () => {
    const desired = desiredOf([front, own, slice({ endpoints: [REMOTE, notReady] })]);
    expect(linesOf(desired).filter((line) => line.endsWith('->'))).toHaveLength(4);
    expect(desired.healthChecks[0]?.localEndpoints).toBe(0);
  });

  it('with a local endpoint that terminates but serves: it is kept, and not counted as healthy', () => {
    const leaving = { ...LOCAL, ready: false, serving: true, terminating: true };
    const desired = desiredOf([front, own, slice({ endpoints: [leaving, REMOTE] })]);
    expect(linesOf(desired).slice(0, 2)).toEqual([
      'TCP 10.96.0.50:80 rr p3600 -> 10.244.2.30:8080',
      'TCP 10.244.1.1:30080 rr p3600 -> 10.244.1.20:8080',
    ]);
    expect(desired.healthChecks[0]?.localEndpoints).toBe(0);
  });
});

describe('frontendsOf() serves each address a Service asks for', () => {
  const rows: {
    name: string;
    spec?: object;
    status?: object;
    config?: object;
    others?: object[];
    keys: string[];
    reason?: RegExp;
  }[] = [
    { name: 'ClusterIP alone', keys: ['TCP 10.96.0.50:80'] },
    {
      name: 'dual stack: two sets of frontends',
      spec: {
        clusterIPs: ['10.96.0.50', 'fd00:10:96::50'],
        ipFamilies: ['IPv4', 'IPv6'],
        externalIPs: ['2001:db8::7'],
      },
      keys: ['TCP 10.96.0.50:80', 'TCP [2001:db8::7]:80', 'TCP [fd00:10:96::50]:80'],
    },
    {
      name: 'UDP and SCTP on the number of TCP',
      spec: {
        ports: [
          { name: 'a', port: 53, protocol: 'UDP' },
          { name: 'b', port: 53 },
          { name: 'c', port: 53, protocol: 'SCTP' },
        ],
      },
      keys: ['SCTP 10.96.0.50:53', 'TCP 10.96.0.50:53', 'UDP 10.96.0.50:53'],
    },
    {
      name: 'nodePort 0: no NodePort',
      spec: { ports: [{ port: 80, nodePort: 0 }] },
      keys: ['TCP 10.96.0.50:80'],
    },
    {
      name: 'nodePortAddresses narrow NodePorts',
      spec: { ports: [{ name: 'http', port: 80, nodePort: 30080 }] },
      config: { nodeAddresses: ['172.16.0.5', '192.168.7.1'], nodePortAddresses: ['172.16.0.0/12'] },
      keys: ['TCP 10.96.0.50:80', 'TCP 172.16.0.5:30080'],
    },
    {
      name: 'loopback and link-local node addresses serve no NodePort',
      spec: { ports: [{ name: 'http', port: 80, nodePort: 30080 }] },
      config: { nodeAddresses: ['127.0.0.1', '169.254.3.4', '172.16.0.5'] },
      keys: ['TCP 10.96.0.50:80', 'TCP 172.16.0.5:30080'],
    },
    {
      name: 'ipMode Proxy and host names are the business of the load balancer',
      status: {
        loadBalancer: {
          ingress: [
            { ip: '203.0.113.9', ipMode: 'Proxy' },
            { hostname: 'lb.example' },
            { ip: '203.0.113.10', ipMode: 'VIP' },
          ],
        },
      },
      keys: ['TCP 10.96.0.50:80', 'TCP 203.0.113.10:80'],
    },
    {
      name: 'an externalIP of a family without clusterIP',
      spec: { externalIPs: ['2001:db8::7'] },
      keys: ['TCP 10.96.0.50:80'],
      reason: /externalIP 2001:db8::7: the Service has no IPv6 clusterIP/,
    },
    {
      name: 'an externalIP in the ClusterIP range',
      spec: { externalIPs: ['10.96.7.7'] },
      config: { serviceCIDRs: ['10.96.0.0/16'] },
      keys: ['TCP 10.96.0.50:80'],
      reason: /10.96.7.7 lies in the ClusterIP range/,
    },
    {
      name: 'an externalIP in a ServiceCIDR added after the configuration was written',
      spec: { externalIPs: ['10.97.7.7'] },
      config: { serviceCIDRs: ['10.96.0.0/16'] },
      others: [
        {
          apiVersion: 'networking.k8s.io/v1',
          kind: 'ServiceCIDR',
          metadata: { name: 'more' },
          spec: { cidrs: ['10.97.0.0/16'] },
        },
      ],
      keys: ['TCP 10.96.0.50:80'],
      reason: /10.97.7.7 lies in the ClusterIP range/,
    },
    {
      name: 'externalIPs by allow list',
      spec: { externalIPs: ['198.51.100.7', '192.0.2.1'] },
      config: { externalIPs: { policy: 'allowList', ranges: ['198.51.100.0/24'] } },
      keys: ['TCP 10.96.0.50:80', 'TCP 198.51.100.7:80'],
      reason: /192.0.2.1 is in none of the configured/,
    },
    {
      name: 'externalIPs denied',
      spec: { externalIPs: ['198.51.100.7'] },
      config: { externalIPs: { policy: 'deny' } },
      keys: ['TCP 10.96.0.50:80'],
      reason: /denies externalIPs/,
    },
    ...['127.0.0.1', '169.254.1.1', '224.0.0.5', '0.0.0.0'].map((address) => ({
      name: `externalIP ${address}`,
      spec: { externalIPs: [address] },
      keys: ['TCP 10.96.0.50:80'],
      reason: /nobody may claim it/,
    })),
    {
      name: 'one address as externalIP and VIP',
      spec: { externalIPs: ['203.0.113.9'] },
      status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } },
      keys: ['TCP 10.96.0.50:80', 'TCP 203.0.113.9:80'],
    },
    {
      name: 'types and protocols that are empty, as their defaults',
      spec: { type: '', sessionAffinity: '', ports: [{ port: 80, protocol: '' }] },
      keys: ['TCP 10.96.0.50:80'],
    },
  ];
  for (const { name, spec, status, config, others = [], keys, reason } of rows) {
    it(name, () => {
      const desired = desiredOf(
        [
          service({ ...(spec ? { spec } : {}), ...(status ? { status } : {}) }),
          ...others.map((object) => ({ ...object })),
        ],
        config,
      );
      expect([...desired.virtualServers.keys()]).toEqual(keys);
      if (reason) expect(reasonsOf(desired).join('\n')).toMatch(reason);
      else expect(reasonsOf(desired)).toEqual([]);
    });
  }

  it('serves an externalIP that is a node address without binding it', () => {
    const desired = desiredOf([service({ spec: { externalIPs: ['172.16.0.5'] } }), node()]);
    const external = [...desired.virtualServers.values()].find(({ exposure }) => exposure === 'ExternalIP');
    expect(external).toMatchObject({ address: '172.16.0.5', bindAddress: false });
  });

  it('lifts the source filter of a family at /0, and admits nobody of a family that is not listed', () => {
    const dual = (ranges: readonly string[]) => {
      const desired = desiredOf([
        service({
          spec: {
            type: 'LoadBalancer',
            clusterIPs: ['10.96.0.50', 'fd00::50'],
            loadBalancerSourceRanges: ranges,
          },
          status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }, { ip: '2001:db8::9' }] } },
        }),
      ]);
      const vips = [...desired.virtualServers.values()].filter(({ exposure }) => exposure === 'LoadBalancer');
      return vips.map(({ sourceRanges }) => sourceRanges?.map(({ network }) => network) ?? null);
    };
    expect(dual([])).toEqual([null, null]);
    expect(dual(['192.0.2.0/24', '0.0.0.0/0'])).toEqual([null, []]);
    expect(dual(['192.0.2.0/24', 'nonsense'])).toEqual([['192.0.2.0'], []]);
  });
});
