import { describe, expect, it } from 'vitest';
import { desiredOf, reasonsOf } from '../derive.ts';
import { service, slice } from '../objects.ts';

describe('decodeObjects() rejects with a reason', () => {
  const rows: { name: string; objects: object[]; keys?: string[]; reason: string | RegExp }[] = [
    {
      name: 'a headless Service',
      objects: [service({ spec: { clusterIP: 'None' } })],
      reason:
        'Service web/front: headless (clusterIP None): DNS answers with the endpoints, nothing to do on a node',
    },
    {
      name: 'a Service without clusterIP',
      objects: [service({ spec: { clusterIP: '' } })],
      reason: 'Service web/front: has no clusterIP: not yet allocated',
    },
    {
      name: 'type ExternalName',
      objects: [service({ spec: { type: 'ExternalName', externalName: 'db.example', clusterIP: '' } })],
      reason: 'Service web/front: type ExternalName is a DNS alias: nothing to do on a node',
    },
    {
      name: 'a Service of another proxy',
      objects: [service({ metadata: { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } } })],
      reason:
        'Service web/front: belongs to another proxy: label service.kubernetes.io/service-proxy-name is "other"',
    },
    {
      name: 'a port out of range, keeping the others',
      objects: [
        service({
          spec: {
            ports: [
              { name: 'bad', port: 70000 },
              { name: 'http', port: 80 },
            ],
          },
        }),
      ],
      keys: ['TCP 10.96.0.50:80'],
      reason: 'Service web/front: port bad (70000) is not a number from 1 to 65535',
    },
    {
      name: 'a protocol IPVS does not balance',
      objects: [
        service({
          spec: {
            ports: [
              { port: 80, protocol: 'ICMP' },
              { name: 'http', port: 80 },
            ],
          },
        }),
      ],
      keys: ['TCP 10.96.0.50:80'],
      reason: 'Service web/front: port 80: protocol "ICMP" is none of TCP, UDP, SCTP',
    },
    {
      name: 'an unknown scheduler, using the default',
      objects: [service({ metadata: { annotations: { 'svcplane.io/scheduler': 'best' } } })],
      keys: ['TCP 10.96.0.50:80'],
      reason:
        'Service web/front: annotation svcplane.io/scheduler "best" is no IPVS scheduler: the default is used',
    },
    ...['soon', '-1', '24h1s', ''].map((timeout) => ({
      name: `a drain timeout of ${JSON.stringify(timeout)}, using the default`,
      objects: [service({ metadata: { annotations: { 'svcplane.io/drain-timeout': timeout } } })],
      keys: ['TCP 10.96.0.50:80'],
      reason: `Service web/front: annotation svcplane.io/drain-timeout ${JSON.stringify(timeout)} is no duration of 0 to 24h (90, 90s, 1h30m): the default is used`,
    })),
    {
      name: 'a socket load balancer that is neither on nor off, using on',
      objects: [service({ metadata: { annotations: { 'svcplane.io/socket-load-balancer': 'no' } } })],
      keys: ['TCP 10.96.0.50:80'],
      reason:
        'Service web/front: annotation svcplane.io/socket-load-balancer "no" is none of on, off: on is used',
    },
    {
      name: 'a malformed source range, by name',
      objects: [service({ spec: { loadBalancerSourceRanges: ['192.0.2.0/24', '10.0.0.0/33'] } })],
      keys: ['TCP 10.96.0.50:80'],
      reason: 'Service web/front: loadBalancerSourceRanges "10.0.0.0/33" is not a CIDR',
    },
    {
      name: 'a slice port without a name',
      objects: [slice({ ports: [{ port: 8080 }] })],
      reason: 'EndpointSlice web/front-1: port 8080 has no name: write name: "" for an unnamed Service port',
    },
    {
      name: 'a slice port 0',
      objects: [slice({ ports: [{ name: 'http', port: 0 }] })],
      reason: 'EndpointSlice web/front-1: port http: 0 is not a number from 1 to 65535',
    },
    {
      name: 'a slice of names',
      objects: [slice({ addressType: 'FQDN' })],
      reason: 'EndpointSlice web/front-1: addressType FQDN: names are the business of DNS',
    },
    {
      name: 'an endpoint of the other family',
      objects: [slice({ endpoints: [{ address: 'fd00::1' }] })],
      reason: "EndpointSlice web/front-1: endpoint address fd00::1 is not of the slice's addressType IPv4",
    },
    {
      name: 'a version whose fields it does not know',
      objects: [{ ...slice(), apiVersion: 'discovery.k8s.io/v1beta1' }],
      reason:
        'EndpointSlice web/front-1: apiVersion "discovery.k8s.io/v1beta1": only discovery.k8s.io/v1 is read',
    },
    ...['a/b', 'two lines\n', 'x\u001b[2J', 'a'.repeat(254)].map((name) => ({
      name: `a Service that can't have the name ${JSON.stringify(name).slice(0, 20)}`,
      objects: [service({ name }), service()],
      keys: ['TCP 10.96.0.50:80'],
      reason: /^Service with an impossible name \(#1\): "[^\n]* is no name of an object$/,
    })),
    {
      name: 'a port whose name would break the lines of a report',
      objects: [
        service({
          spec: {
            ports: [
              { name: 'x\ny', port: 80 },
              { name: 'http', port: 80 },
            ],
          },
        }),
      ],
      keys: ['TCP 10.96.0.50:80'],
      reason: 'Service web/front: port name "x\\ny" is no name of a port',
    },
    {
      name: 'the first of two definitions',
      objects: [service({ spec: { clusterIP: '10.96.0.1' } }), service()],
      keys: ['TCP 10.96.0.50:80'],
      reason: 'Service web/front: defined more than once: the last definition is used',
    },
  ];
  for (const { name, objects, keys = [], reason } of rows) {
    it(name, () => {
      const desired = desiredOf(objects.map((object) => ({ ...object })));
      expect([...desired.virtualServers.keys()]).toEqual(keys);
      expect(reasonsOf(desired)).toEqual([
        typeof reason === 'string' ? reason : expect.stringMatching(reason),
      ]);
    });
  }
});
