import { describe, expect, it } from 'vitest';
import type { RawObject } from '../../../src/cluster/object-fields.ts';
import { type NftablesOptions, outermost, project } from '../../../src/dataplane/nftables/project.ts';
import { SET_NAMES } from '../../../src/dataplane/nftables/sets.ts';
import { formatCidr } from '../../../src/model/cidr.ts';
import { desiredOf } from '../../derive.ts';
import { node, service, slice } from '../../objects.ts';
import { cidrs, elementsOf, OPTIONS } from './build.ts';
import { GOLDEN_DESIRED } from './goldens.ts';

const LOCAL = slice({ endpoints: [{ address: '10.244.1.20', node: 'n0' }] });
const REMOTE = slice({ endpoints: [{ address: '10.244.2.20', node: 'n1' }] });
const VIP = { loadBalancer: { ingress: [{ ip: '203.0.113.9' }] } };

interface ProjectCase {
  readonly name: string;
  readonly objects: readonly RawObject[];
  readonly config?: object;
  readonly options?: Partial<NftablesOptions>;
  readonly elements: Readonly<Record<string, readonly string[]>>;
}

const loadBalancer = (spec: object = {}) => service({ spec: { type: 'LoadBalancer', ...spec }, status: VIP });
const nodePort = (spec: object = {}) =>
  service({
    spec: {
      type: 'NodePort',
      ports: [{ name: 'http', port: 80, nodePort: 30080, protocol: 'TCP' }],
      ...spec,
    },
  });

const CASES: readonly ProjectCase[] = [
  {
    name: 'a ClusterIP without a known range is an element, with a remote endpoint nothing else',
    objects: [service(), REMOTE],
    elements: { 'cluster-ips4': ['10.96.0.50'] },
  },
  {
    name: 'a ClusterIP in a known range is none',
    objects: [service(), REMOTE],
    config: { serviceCIDRs: ['10.96.0.0/16'] },
    elements: { 'cluster-ips4': ['10.96.0.0/16'] },
  },
  {
    name: 'a local endpoint may reach itself',
    objects: [service(), LOCAL],
    elements: { 'cluster-ips4': ['10.96.0.50'], hairpin4: ['10.244.1.20 . 10.244.1.20'] },
  },
  {
    name: 'a frontend without endpoints is empty, by protocol',
    objects: [
      service({
        spec: {
          ports: [
            { name: 'a', port: 80, protocol: 'TCP' },
            { name: 'b', port: 80, protocol: 'UDP' },
            { name: 'c', port: 80, protocol: 'SCTP' },
          ],
        },
      }),
    ],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      empty4: ['10.96.0.50 . sctp . 80', '10.96.0.50 . tcp . 80', '10.96.0.50 . udp . 80'],
    },
  },
  {
    name: 'a VIP with policy Cluster is masqueraded',
    objects: [loadBalancer(), REMOTE],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      vips4: ['203.0.113.9'],
      masquerade4: ['203.0.113.9 . tcp . 80'],
    },
  },
  {
    name: 'a NodePort is masqueraded, and its address is the node’s own',
    objects: [node(), nodePort(), REMOTE],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      masquerade4: ['172.16.0.5 . tcp . 30080'],
      'node-pods4': ['10.244.1.0/24'],
      pods4: ['10.244.1.0/24'],
    },
  },
  {
    name: 'a VIP with policy Local marks inside clients where they have more endpoints, and is not masqueraded',
    objects: [loadBalancer({ externalTrafficPolicy: 'Local' }), LOCAL],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      vips4: ['203.0.113.9'],
      hairpin4: ['10.244.1.20 . 10.244.1.20'],
      'inside-marks4': [expect.stringMatching(/^203\.0\.113\.9 \. tcp \. 80 : 0x53[0-9a-f]{6}$/)],
    },
  },
  {
    name: 'with policy Local and no endpoint here the outside is refused, the inside is not',
    objects: [loadBalancer({ externalTrafficPolicy: 'Local' }), REMOTE],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      vips4: ['203.0.113.9'],
      empty4: ['203.0.113.9 . tcp . 80'],
      'inside-marks4': [expect.stringMatching(/^203\.0\.113\.9 \. tcp \. 80 : 0x53[0-9a-f]{6}$/)],
    },
  },
  {
    name: 'without any endpoint nothing is marked: everybody is refused',
    objects: [loadBalancer({ externalTrafficPolicy: 'Local' })],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      vips4: ['203.0.113.9'],
      empty4: ['10.96.0.50 . tcp . 80', '203.0.113.9 . tcp . 80'],
    },
  },
  {
    name: 'source ranges: the widest only, and of the family of the VIP',
    objects: [
      loadBalancer({
        loadBalancerSourceRanges: ['192.0.2.0/24', '192.0.2.128/25', '198.51.100.7/32', '2001:db8::/32'],
      }),
      REMOTE,
    ],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      vips4: ['203.0.113.9'],
      masquerade4: ['203.0.113.9 . tcp . 80'],
      restricted4: ['203.0.113.9 . tcp . 80'],
      allowed4: ['203.0.113.9 . tcp . 80 . 192.0.2.0/24', '203.0.113.9 . tcp . 80 . 198.51.100.7'],
    },
  },
  {
    name: 'source ranges with the node in them let it in by the VIP’s own address',
    objects: [node(), loadBalancer({ loadBalancerSourceRanges: ['172.16.0.0/24'] }), REMOTE],
    elements: {
      'cluster-ips4': ['10.96.0.50'],
      vips4: ['203.0.113.9'],
      masquerade4: ['203.0.113.9 . tcp . 80'],
      restricted4: ['203.0.113.9 . tcp . 80'],
      allowed4: ['203.0.113.9 . tcp . 80 . 172.16.0.0/24', '203.0.113.9 . tcp . 80 . 203.0.113.9'],
      'node-pods4': ['10.244.1.0/24'],
      pods4: ['10.244.1.0/24'],
    },
  },
  {
    name: 'a range with an address of the node stays open: ClusterIPs are elements',
    objects: [node(), service(), REMOTE],
    config: { serviceCIDRs: ['10.96.0.0/16', '172.16.0.0/12'] },
    elements: { 'cluster-ips4': ['10.96.0.0/16'], 'node-pods4': ['10.244.1.0/24'], pods4: ['10.244.1.0/24'] },
  },
  {
    name: 'everything as a range is one element, unless the node is in it',
    objects: [service(), REMOTE],
    config: { serviceCIDRs: ['0.0.0.0/0', '10.96.0.0/16'] },
    elements: { 'cluster-ips4': ['0.0.0.0/0'] },
  },
  {
    name: 'excludeCIDRs: a frontend in one has no element, and a range that touches one stays open',
    objects: [service(), service({ name: 'other', spec: { clusterIP: '10.96.1.50' } }), REMOTE],
    config: { serviceCIDRs: ['10.96.0.0/16', '10.97.0.0/16'] },
    options: { excludeCIDRs: cidrs('10.96.1.0/24', '10.0.0.0/32') },
    elements: { 'cluster-ips4': ['10.96.0.50', '10.97.0.0/16'] },
  },
  {
    name: 'excludeCIDRs around a range leave it open',
    objects: [service(), REMOTE],
    config: { serviceCIDRs: ['10.96.0.0/16', '10.97.0.0/16'] },
    options: { excludeCIDRs: cidrs('10.97.0.0/15', '192.0.2.0/24') },
    elements: {},
  },
];

describe('project()', () => {
  it.each(CASES)('$name', ({ objects, config, options, elements }) => {
    const { rows } = project(desiredOf(objects, config), { ...OPTIONS, ...options });
    expect(elementsOf(rows)).toEqual(elements);
  });

  it('gives both families the same, each set an element', () => {
    const keepSourceCIDRs = cidrs('203.0.113.0/28', '2001:db8:9::/64');
    const elements = elementsOf(project(GOLDEN_DESIRED, { ...OPTIONS, keepSourceCIDRs }).rows);
    expect(Object.keys(elements).sort()).toEqual([...SET_NAMES].sort());
  });

  it('adds no element for 10,000 ClusterIPs of a known range', () => {
    const objects = Array.from({ length: 10_000 }, (_, i) => [
      service({ name: `s${i}`, spec: { clusterIP: `10.96.${i >> 8}.${i & 255}` } }),
      slice({ name: `s${i}`, service: `s${i}`, endpoints: [{ address: '10.244.2.20', node: 'n1' }] }),
    ]).flat();
    const { rows } = project(desiredOf(objects, { serviceCIDRs: ['10.96.0.0/16'] }), OPTIONS);
    expect(elementsOf(rows)).toEqual({ 'cluster-ips4': ['10.96.0.0/16'] });
  });

  it('says which object an element follows from', () => {
    const { rows } = project(
      desiredOf([loadBalancer({ loadBalancerSourceRanges: ['192.0.2.0/24'] }), LOCAL]),
      OPTIONS,
    );
    const reasonIn = (set: string) =>
      [...(rows.sets.get(set)?.elements.values() ?? [])].map(({ reason }) => reason);
    expect(reasonIn('vips4')).toEqual(['Service web/front port http']);
    expect(reasonIn('restricted4')).toEqual(['Service web/front port http, loadBalancerSourceRanges']);
    expect(reasonIn('hairpin4')).toEqual(['EndpointSlice web/front-1']);
  });

  it('refuses policy Local where pods of this node can not be told', () => {
    const desired = desiredOf([loadBalancer({ externalTrafficPolicy: 'Local' }), LOCAL]);
    expect(project(desired, OPTIONS).refused).toMatchObject([{ subject: 'externalTrafficPolicy Local' }]);
    expect(project(desired, { ...OPTIONS, detectLocal: 'bridge:cni0' }).refused).toEqual([]);
    expect(project(GOLDEN_DESIRED, OPTIONS).refused).toEqual([]);
  });

  it.each([
    'bridge:',
    'bridge:a b',
    'bridge:a"b',
    'bridge:br*',
    'interfacePrefix:',
    'interfacePrefix:sixteen-letters-',
  ])('detectLocal %s is refused', (detectLocal) => {
    expect(() => project(GOLDEN_DESIRED, { ...OPTIONS, detectLocal })).toThrow(RangeError);
  });
});

describe('outermost()', () => {
  it('leaves out what lies in another, and sorts by number', () => {
    const ranges = cidrs(
      '10.9.0.0/16',
      '10.0.0.0/8',
      '10.0.0.0/8',
      '9.0.0.0/8',
      '::/0',
      'fd00::/8',
      '10.0.0.0/32',
    );
    expect(outermost(ranges).map(formatCidr)).toEqual(['9.0.0.0/8', '10.0.0.0/8', '::/0']);
  });
});
