import { describe, expect, it } from 'vitest';
import { desiredOf, linesOf } from '../derive.ts';
import { type EndpointShape, node, service, slice } from '../objects.ts';

const A = { address: '10.1.0.1', node: 'n0' };
const B = { address: '10.1.0.2', node: 'n1' };
const C = { address: '10.1.0.3', node: 'n2' };
const LEAVING = { ready: false, serving: true, terminating: true };
const GONE = { ready: false, serving: false, terminating: true };

function reached(endpoints: readonly EndpointShape[], spec: object = {}): string {
  const desired = desiredOf([service({ spec }), slice({ endpoints }), node({ zone: 'z1' })]);
  return (
    linesOf(desired)[0]
      ?.replace(/^.*->\s?/, '')
      .replaceAll('10.1.0.', '')
      .replaceAll(':8080', '') ?? ''
  );
}

describe('chooseEndpoints() reaches', () => {
  const rows: { name: string; endpoints: EndpointShape[]; spec?: object; reached: string }[] = [
    { name: 'ready endpoints only', endpoints: [A, { ...B, ready: false }, C], reached: '1 3' },
    { name: 'an endpoint whose ready is nil', endpoints: [{ ...A, ready: null }], reached: '1' },
    {
      name: 'a terminating one only where none is ready',
      endpoints: [A, { ...B, ...LEAVING }],
      reached: '1',
    },
    {
      name: 'the last serving ones while they terminate',
      endpoints: [
        { ...A, ...LEAVING },
        { ...B, ...GONE },
      ],
      reached: '1',
    },
    { name: 'nobody, where none serves', endpoints: [{ ...A, ...GONE }], reached: '' },
    {
      name: 'endpoints hinted to our zone',
      endpoints: [
        { ...A, zones: ['z2'] },
        { ...B, zones: ['z1', 'z3'] },
      ],
      reached: '2',
    },
    {
      name: 'all, where one endpoint has no hint',
      endpoints: [{ ...A, zones: ['z2'] }, { ...B, zones: ['z1'] }, C],
      reached: '1 2 3',
    },
    {
      name: 'all, where no hint names our zone',
      endpoints: [
        { ...A, zones: ['z2'] },
        { ...B, zones: ['z3'] },
      ],
      reached: '1 2',
    },
    {
      name: 'all ready ones: an unready endpoint without hints switches nothing off',
      endpoints: [
        { ...A, zones: ['z1'] },
        { ...B, zones: ['z2'] },
        { ...C, ready: false },
      ],
      reached: '1',
    },
    {
      name: 'node hints before zone hints',
      endpoints: [
        { ...A, zones: ['z1'], nodes: ['n9'] },
        { ...B, zones: ['z2'], nodes: ['n0'] },
      ],
      reached: '2',
    },
    {
      name: 'zone hints where no node hint names us',
      endpoints: [
        { ...A, zones: ['z1'], nodes: ['n9'] },
        { ...B, zones: ['z2'], nodes: ['n8'] },
      ],
      reached: '1',
    },
    {
      name: 'local ones with policy Local',
      endpoints: [A, B],
      spec: { internalTrafficPolicy: 'Local' },
      reached: '1',
    },
    {
      name: 'nobody with policy Local and no local endpoint',
      endpoints: [B, C],
      spec: { internalTrafficPolicy: 'Local' },
      reached: '',
    },
    {
      name: 'nobody with policy Local, even where the Service is also external',
      endpoints: [B],
      spec: { internalTrafficPolicy: 'Local', externalIPs: ['198.51.100.7'] },
      reached: '',
    },
    {
      name: 'the local endpoint with policy Local, whatever zone its hints name',
      endpoints: [
        { ...A, zones: ['z2'] },
        { ...B, zones: ['z1'] },
      ],
      spec: { internalTrafficPolicy: 'Local' },
      reached: '1',
    },
    {
      name: 'the local terminating endpoint with policy Local though remote ones are ready',
      endpoints: [{ ...A, ...LEAVING }, B],
      spec: { internalTrafficPolicy: 'Local' },
      reached: '1',
    },
  ];
  for (const { name, endpoints, spec, reached: expected } of rows) {
    it(name, () => expect(reached(endpoints, spec)).toBe(expected));
  }
});

describe('candidatesOf() joins', () => {
  it('by port name and protocol, with the number the slice gives, which may differ by pod', () => {
    const desired = desiredOf([
      service({
        spec: {
          ports: [
            { name: 'http', port: 80, targetPort: 'http-web-svc' },
            { name: 'dns', port: 53, protocol: 'UDP' },
          ],
        },
      }),
      slice({ name: 'a', ports: [{ name: 'http', port: 8080 }], endpoints: [A] }),
      slice({
        name: 'b',
        ports: [
          { name: 'http', port: 9090 },
          { name: 'dns', port: 5353, protocol: 'UDP' },
        ],
        endpoints: [B],
      }),
    ]);
    expect(linesOf(desired)).toEqual([
      'TCP 10.96.0.50:80 rr -> 10.1.0.1:8080 10.1.0.2:9090',
      'UDP 10.96.0.50:53 rr -> 10.1.0.2:5353',
    ]);
  });

  it('an unnamed Service port with an unnamed slice port', () => {
    const desired = desiredOf([
      service({ spec: { ports: [{ port: 80 }] } }),
      slice({ ports: [{ name: '', port: 8080 }], endpoints: [A] }),
    ]);
    expect(linesOf(desired)).toEqual(['TCP 10.96.0.50:80 rr -> 10.1.0.1:8080']);
  });

  it('one address and port in two slices once, the local entry winning', () => {
    const elsewhere = { ...A, node: 'n7' };
    const desired = desiredOf([
      service({ spec: { internalTrafficPolicy: 'Local' } }),
      slice({ name: 'a', endpoints: [elsewhere] }),
      slice({ name: 'b', endpoints: [A] }),
    ]);
    expect(linesOf(desired)).toEqual(['TCP 10.96.0.50:80 rr -> 10.1.0.1:8080']);
  });

  it('only the first address of an endpoint, and only of the family', () => {
    const two = slice({ endpoints: [A] });
    const endpoints = [{ ...two.endpoints[0], addresses: ['10.1.0.9', '10.1.0.10'] }];
    const v6 = slice({ name: 'six', addressType: 'IPv6', endpoints: [{ address: 'fd00::1' }] });
    expect(linesOf(desiredOf([service(), { ...two, endpoints }, v6]))).toEqual([
      'TCP 10.96.0.50:80 rr -> 10.1.0.9:8080',
    ]);
  });
});
