import {
  ADDRESS_CONDITION,
  ADDRESSES_ANNOTATION,
  SHARING_ANNOTATION,
} from '../../src/load-balancer/decode-service.ts';
import { pool, rules, type Shape } from './build.ts';

export const MAIN = pool('main', ['10.10.0.0/29']);
const DUAL = pool('dual', ['10.10.0.0/29', 'fd00:10::/126']);
const asksFor = (text: string) => ({ annotations: { [ADDRESSES_ANNOTATION]: text } });
const shares = (key: string) => ({ annotations: { [SHARING_ANNOTATION]: key } });
const on = (port: number, more: object = {}) => ({ spec: { ports: [{ port, protocol: 'TCP' }], ...more } });
const MARK = [{ type: ADDRESS_CONDITION, status: 'True', reason: 'AddressAssigned', message: '' }];
const FULL = ['1', '2', '3', '4', '5', '6'].map(
  (end): Shape => ({ name: `full-${end}`, age: 100, ingress: [`10.10.0.${end}`] }),
);

/** What is there, and what `allocate` makes of it. */
export interface AllocationCase {
  readonly name: string;
  readonly services: readonly Shape[];
  readonly by?: ReturnType<typeof rules>;
  /** By name: verdict, addresses, and what the reason contains. */
  readonly gives: Readonly<
    Record<string, readonly [verdict: string, addresses: readonly string[], reason?: string]>
  >;
}

export const CASES: readonly AllocationCase[] = [
  {
    name: 'gives the lowest free addresses, the oldest Service first, and neither network nor broadcast',
    services: [{ name: 'young' }, { name: 'old', age: 9 }],
    gives: { old: ['assign', ['10.10.0.1'], 'of pool main'], young: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'gives network and broadcast address where configured',
    services: [{ name: 'a' }],
    by: rules([pool('all', ['10.10.0.0/29'], { networkAndBroadcast: true })]),
    gives: { a: ['assign', ['10.10.0.0']] },
  },
  {
    name: 'keeps what is recorded, though an older Service waits and lower addresses are free',
    services: [
      { name: 'waits', age: 9 },
      { name: 'has', ingress: ['10.10.0.1'] },
      { name: 'far', ingress: ['10.10.0.5'] },
    ],
    gives: { has: ['keep', ['10.10.0.1']], far: ['keep', ['10.10.0.5']], waits: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'says which pool is exhausted',
    services: [...FULL, { name: 'late' }],
    gives: { late: ['exhausted', [], 'no IPv4 address is left in pool main'] },
  },
  {
    name: 'says that no pool is for a Service',
    services: [{ name: 'a', namespace: 'other' }],
    by: rules([pool('mine', ['10.10.0.0/29'], { namespaces: ['web'] })]),
    gives: { a: ['exhausted', [], 'no pool has IPv4 addresses for this Service'] },
  },
  {
    name: 'honours the annotation, and before the field',
    services: [{ name: 'a', ...asksFor('10.10.0.4'), spec: { loadBalancerIP: '10.10.0.5' } }],
    gives: { a: ['assign', ['10.10.0.4']] },
  },
  {
    name: 'honours spec.loadBalancerIP, and gives it to nobody who asks for none',
    services: [
      { name: 'older', age: 9 },
      { name: 'asks', spec: { loadBalancerIP: '10.10.0.1' } },
    ],
    gives: { asks: ['assign', ['10.10.0.1']], older: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'refuses an address outside of every pool, and gives no other one',
    services: [{ name: 'a', ...asksFor('192.0.2.1') }],
    gives: { a: ['outside', [], 'asks for 192.0.2.1: in no pool that is for this Service'] },
  },
  {
    name: 'refuses the broadcast address as outside',
    services: [{ name: 'a', ...asksFor('10.10.0.7') }],
    gives: { a: ['outside', []] },
  },
  {
    name: 'refuses what somebody has, by name, and keeps what the Service has until then',
    services: [
      { name: 'has', ingress: ['10.10.0.3'] },
      { name: 'wants', ingress: ['10.10.0.4'], ...asksFor('10.10.0.3') },
    ],
    gives: { has: ['keep', ['10.10.0.3']], wants: ['conflict', ['10.10.0.4'], 'Service web/has has it'] },
  },
  {
    name: 'moves to an address that is asked for, and gives the old one to nobody in the same round',
    services: [{ name: 'moves', age: 9, ingress: ['10.10.0.1'], ...asksFor('10.10.0.6') }, { name: 'waits' }],
    gives: { moves: ['assign', ['10.10.0.6']], waits: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'says what is wrong with a request',
    services: [{ name: 'a', ...asksFor('10.10.0.x') }],
    gives: { a: ['invalid', [], `annotation ${ADDRESSES_ANNOTATION} has "10.10.0.x", which is no address`] },
  },
  {
    name: 'shares by key on different ports',
    services: [
      { name: 'a', age: 9, ...shares('k'), ...on(80) },
      { name: 'b', age: 8, ...shares('k'), ...on(443) },
      { name: 'c', age: 7, ...shares('k'), ...on(80) },
    ],
    gives: { a: ['assign', ['10.10.0.1']], b: ['assign', ['10.10.0.1']], c: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'shares not with another namespace, unless configured',
    services: [
      { name: 'a', age: 9, ...shares('k'), ...on(80) },
      { name: 'b', namespace: 'other', ...shares('k'), ...on(443) },
    ],
    gives: { b: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'shares across namespaces where configured',
    services: [
      { name: 'a', age: 9, ...shares('k'), ...on(80) },
      { name: 'b', namespace: 'other', ...shares('k'), ...on(443) },
    ],
    by: rules([MAIN], { shareAcrossNamespaces: true }),
    gives: { b: ['assign', ['10.10.0.1']] },
  },
  {
    name: 'lets nobody join whose Local endpoints are others, but leaves those together that are',
    services: [
      {
        name: 'a',
        age: 9,
        ingress: ['10.10.0.1'],
        ...shares('k'),
        ...on(80, { externalTrafficPolicy: 'Local' }),
      },
      { name: 'b', age: 8, ingress: ['10.10.0.1'], ...shares('k'), ...on(443) },
      {
        name: 'c',
        age: 7,
        ...shares('k'),
        ...on(444, { externalTrafficPolicy: 'Local', selector: { app: 'c' } }),
      },
    ],
    gives: { a: ['keep', ['10.10.0.1']], b: ['keep', ['10.10.0.1']], c: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'takes the address from the younger of two that may not share it, and says so',
    services: [
      { name: 'old', age: 9, ingress: ['10.10.0.1'] },
      { name: 'young', ingress: ['10.10.0.1'] },
    ],
    gives: {
      old: ['keep', ['10.10.0.1']],
      young: ['conflict', ['10.10.0.2'], 'lost 10.10.0.1: Service web/old has it'],
    },
  },
  {
    name: 'lets nobody join an address that a Service has in its status still and may not keep',
    services: [
      { name: 'a', age: 9, ingress: ['10.10.0.1'], ...shares('k'), ...on(80) },
      { name: 'loses', age: 8, ingress: ['10.10.0.1'], ...on(443) },
      { name: 'joins', ...shares('k'), ...on(443) },
    ],
    gives: {
      a: ['keep', ['10.10.0.1']],
      loses: ['conflict', ['10.10.0.2']],
      joins: ['assign', ['10.10.0.3']],
    },
  },
  {
    name: 'keeps an address when the pool is shrunk, and says so',
    services: [{ name: 'a', ingress: ['10.10.0.200'] }],
    gives: { a: ['shrunk', ['10.10.0.200'], 'in no pool'] },
  },
  {
    name: 'gives both families to a dual-stack Service, in its order',
    services: [{ name: 'a', spec: { ipFamilies: ['IPv6', 'IPv4'] } }],
    by: rules([DUAL]),
    gives: { a: ['assign', ['fd00:10::1', '10.10.0.1']] },
  },
  {
    name: 'is content with one family where the other has no pool, unless both are required',
    services: [
      { name: 'prefers', age: 9, spec: { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'PreferDualStack' } },
      { name: 'requires', spec: { ipFamilies: ['IPv4', 'IPv6'], ipFamilyPolicy: 'RequireDualStack' } },
    ],
    gives: { prefers: ['assign', ['10.10.0.1']], requires: ['exhausted', [], 'no pool has IPv6'] },
  },
  {
    name: 'lets alone what another class or, without being the default, no class has',
    services: [
      { name: 'other', spec: { loadBalancerClass: 'example.com/lb' } },
      { name: 'none', spec: { loadBalancerClass: undefined } },
      { name: 'plain', spec: { type: 'ClusterIP', loadBalancerClass: undefined } },
    ],
    gives: { other: ['notOurs', []], none: ['notOurs', []], plain: ['notOurs', []] },
  },
  {
    name: 'as the default takes Services without a class, but not what another controller has given',
    services: [
      { name: 'theirs', age: 9, spec: { loadBalancerClass: undefined }, ingress: ['203.0.113.9'] },
      {
        name: 'named',
        age: 8,
        spec: { loadBalancerClass: undefined },
        ingress: [{ hostname: 'lb.example.com' }],
      },
      {
        name: 'shrunk',
        age: 8,
        spec: { loadBalancerClass: undefined },
        ingress: ['203.0.113.8'],
        conditions: MARK,
      },
      { name: 'taken-over', age: 7, spec: { loadBalancerClass: undefined }, ingress: ['10.10.0.2'] },
      { name: 'fresh', spec: { loadBalancerClass: undefined } },
    ],
    by: rules([MAIN], { default: true }),
    gives: {
      theirs: ['notOurs', [], 'another controller'],
      named: ['notOurs', []],
      shrunk: ['shrunk', ['203.0.113.8']],
      'taken-over': ['keep', ['10.10.0.2']],
      fresh: ['assign', ['10.10.0.1']],
    },
  },
  {
    name: 'gives nobody what the status of others or an externalIP has',
    services: [
      { name: 'other', spec: { loadBalancerClass: 'example.com/lb' }, ingress: ['10.10.0.1'] },
      {
        name: 'external',
        spec: { type: 'ClusterIP', loadBalancerClass: undefined, externalIPs: ['10.10.0.2'] },
      },
      { name: 'a' },
      { name: 'asks', ...asksFor('10.10.0.1') },
    ],
    gives: { a: ['assign', ['10.10.0.3']], asks: ['conflict', [], 'is in the status of Service web/other'] },
  },
  {
    name: 'takes an address from nobody for an externalIP that somebody has named later',
    services: [
      { name: 'a', ingress: ['10.10.0.1'] },
      {
        name: 'thief',
        age: 99,
        spec: { type: 'ClusterIP', loadBalancerClass: undefined, externalIPs: ['10.10.0.1'] },
      },
    ],
    gives: { a: ['conflict', ['10.10.0.1'], 'is also an externalIP of Service web/thief'] },
  },
  {
    name: 'frees what is no LoadBalancer any more',
    services: [{ name: 'a', spec: { type: 'ClusterIP', loadBalancerClass: undefined }, conditions: MARK }],
    gives: { a: ['free', []] },
  },
  {
    name: 'gives nothing to what is being deleted, and leaves what it has',
    services: [
      { name: 'new', metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } },
      { name: 'has', ingress: ['10.10.0.1'], metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } },
      { name: 'next' },
    ],
    gives: { new: ['notOurs', []], has: ['keep', ['10.10.0.1']], next: ['assign', ['10.10.0.2']] },
  },
  {
    name: 'uses a pool that is not automatic for requests only',
    services: [{ name: 'a' }, { name: 'asks', ...asksFor('10.10.1.1') }],
    by: rules([pool('dear', ['10.10.1.0/29'], { automatic: false })]),
    gives: { a: ['exhausted', []], asks: ['assign', ['10.10.1.1']] },
  },
  {
    name: 'selects pools by labels',
    services: [{ name: 'gold', labels: { tier: 'gold' } }, { name: 'plain' }],
    by: rules([
      pool('gold', ['10.10.1.0/29'], {
        serviceSelector: {
          matchLabels: {},
          matchExpressions: [{ key: 'tier', operator: 'In', values: ['gold'] }],
        },
      }),
      MAIN,
    ]),
    gives: { gold: ['assign', ['10.10.1.1']], plain: ['assign', ['10.10.0.1']] },
  },
];
