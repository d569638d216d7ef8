import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeObjects } from '../../src/cluster/decode.ts';
import { desiredOf, linesOf, reasonsOf } from '../derive.ts';
import { node, service, slice } from '../objects.ts';

describe('decodeObjects() reads', () => {
  it('affinity with its default of three hours', () => {
    const lines = linesOf(desiredOf([service({ spec: { sessionAffinity: 'ClientIP' } })]));
    expect(lines).toEqual(['TCP 10.96.0.50:80 rr p10800 ->']);
  });

  it.each([
    ['0', 0],
    ['1h30m', 5400],
    ['24h', 86_400],
    ['soon', null],
    [undefined, null],
  ])('the drain timeout annotation %j', (text, seconds) => {
    const annotations = text === undefined ? {} : { 'svcplane.io/drain-timeout': text };
    const { virtualServers } = desiredOf([service({ metadata: { annotations } })]);
    expect([...virtualServers.values()].map((server) => server.drainTimeoutSeconds)).toEqual([seconds]);
  });

  it.each([
    ['off', false],
    ['on', true],
    ['no', true],
    [undefined, true],
  ])('the socket load balancer annotation %j', (value, isServed) => {
    const annotations = value === undefined ? {} : { 'svcplane.io/socket-load-balancer': value };
    const { virtualServers } = desiredOf([service({ metadata: { annotations } })]);
    expect([...virtualServers.values()].map((server) => server.socketLoadBalancer)).toEqual([isServed]);
  });

  it('the scheduler annotation and the configured default', () => {
    const annotated = service({ metadata: { annotations: { 'svcplane.io/scheduler': 'mh' } } });
    expect(linesOf(desiredOf([annotated], { scheduler: 'wlc' }))).toEqual(['TCP 10.96.0.50:80 mh ->']);
    expect(linesOf(desiredOf([service()], { scheduler: 'wlc' }))).toEqual(['TCP 10.96.0.50:80 wlc ->']);
  });

  const endpoints = {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'front', namespace: 'web' },
    subsets: [
      {
        addresses: [{ ip: '192.0.2.7' }],
        notReadyAddresses: [{ ip: '192.0.2.8' }],
        ports: [{ name: 'http', port: 5432 }],
      },
    ],
  };

  it('hand-made Endpoints of a Service without a slice', () => {
    expect(linesOf(desiredOf([service(), endpoints]))).toEqual(['TCP 10.96.0.50:80 rr -> 192.0.2.7:5432']);
  });

  it('no Endpoints where a slice of that Service exists, be it empty', () => {
    expect(linesOf(desiredOf([service(), endpoints, slice()]))).toEqual(['TCP 10.96.0.50:80 rr ->']);
    expect(linesOf(desiredOf([service(), endpoints, slice({ addressType: 'FQDN' })]))).toEqual([
      'TCP 10.96.0.50:80 rr ->',
    ]);
  });

  it('Endpoints beside a slice that the watch would not show either', () => {
    const hidden = slice({ labels: { 'service.kubernetes.io/headless': '' } });
    expect(linesOf(desiredOf([service(), endpoints, hidden]))).toEqual([
      'TCP 10.96.0.50:80 rr -> 192.0.2.7:5432',
    ]);
  });

  it('a Service beside one of that name in another API group', () => {
    const knative = { ...service({ spec: {} }), apiVersion: 'serving.knative.dev/v1' };
    for (const objects of [
      [service(), knative],
      [knative, service()],
    ]) {
      const desired = desiredOf(objects);
      expect(linesOf(desired)).toEqual(['TCP 10.96.0.50:80 rr ->']);
      expect(reasonsOf(desired)).toEqual([
        'Service web/front: apiVersion "serving.knative.dev/v1": only v1 is read',
      ]);
    }
  });

  it('a Node whose pod range is null: not yet allocated', () => {
    const facts = decodeObjects([{ ...node(), spec: { podCIDR: null, podCIDRs: null } }], 'n0');
    expect(facts.node?.podCIDRs).toEqual([]);
    expect(facts.rejected).toEqual([]);
  });

  it('of the own Node addresses, podCIDRs and zone, of others the addresses', () => {
    const facts = decodeObjects(
      [node({ name: 'n1', addresses: ['172.16.0.6'] }), node({ zone: 'z1' })],
      'n0',
    );
    expect(facts.node).toEqual({
      name: 'n0',
      addresses: ['172.16.0.5'],
      podCIDRs: [{ family: 'IPv4', network: '10.244.1.0', prefixLength: 24 }],
      zone: 'z1',
    });
    expect([...facts.otherNodes]).toEqual([['172.16.0.6', 'n1']]);
  });

  it('ServiceCIDRs, which then guard the ClusterIP range', () => {
    const range = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name: 'kubernetes' },
      spec: { cidrs: ['10.96.0.0/16', 'fd00:10:96::/112'] },
    };
    const desired = desiredOf([service({ spec: { externalIPs: ['10.96.9.9'] } }), range]);
    expect(desired.serviceCIDRs).toHaveLength(2);
    expect(reasonsOf(desired)).toEqual([
      'Service web/front: externalIP 10.96.9.9 lies in the ClusterIP range: nobody may claim it',
    ]);
  });

  it('a Service with a hundred ports', () => {
    const ports = Array.from({ length: 100 }, (_, i) => ({ name: `p${i}`, port: 1000 + i }));
    expect(desiredOf([service({ spec: { ports } })]).virtualServers.size).toBe(100);
  });
});

describe('decodeObjects() survives', () => {
  const paths = [
    'metadata',
    'spec',
    'status',
    'subsets',
    'endpoints',
    'ports',
    'addressType',
    'apiVersion',
    'kind',
  ];
  const base = fc.constantFrom<object>(service(), slice({ endpoints: [{ address: '10.1.0.1' }] }), node(), {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'front' },
    subsets: [{ addresses: [{ ip: '10.1.0.1' }], ports: [{ port: 1 }] }],
  });

  it('any JSON in any field of any kind', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(base, fc.constantFrom(...paths), fc.jsonValue()), { maxLength: 5 }),
        (changes) => {
          desiredOf(changes.map(([object, path, value]) => ({ ...object, [path]: value })));
        },
      ),
      { numRuns: 500 },
    );
  });

  it('any JSON one level deeper', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(
          'clusterIP',
          'clusterIPs',
          'ports',
          'externalIPs',
          'sessionAffinityConfig',
          'type',
          'loadBalancerSourceRanges',
        ),
        fc.oneof(
          fc.jsonValue(),
          fc.array(fc.jsonValue()),
          fc.array(fc.record({ port: fc.jsonValue(), name: fc.jsonValue() })),
        ),
        (field, value) => {
          const desired = desiredOf([service({ spec: { [field]: value } })]);
          expect(desired.virtualServers.size + desired.rejected.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 500 },
    );
  });
});
