import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allocate } from '../../src/load-balancer/allocate.ts';
import {
  ADDRESS_CONDITION,
  ADDRESSES_ANNOTATION,
  decodeLoadBalancer,
  SHARING_ANNOTATION,
} from '../../src/load-balancer/decode-service.ts';
import type { Decision } from '../../src/load-balancer/draft.ts';
import type { LoadBalancerFacts } from '../../src/load-balancer/facts.ts';
import { addressesOfPool } from '../../src/load-balancer/pools.ts';
import { conditionOf, hasToBeWritten } from '../../src/load-balancer/status-patch.ts';
import { CLASS, pool, rules, type Shape, serviceObject } from './build.ts';

const RUNS = process.env.SVCPLANE_TROUBLE === 'all' ? 10_000 : 200;

/** Small, so that everything happens often. */
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
const POOLS = [
  rules([pool('four', ['10.0.0.0/29']), pool('six', ['fd00::/125'])], { default: true }),
  rules([pool('four', ['10.0.0.2-10.0.0.4']), pool('six', ['fd00::/126'])], { default: true }),
  rules([pool('x', ['10.0.0.0/30'], { namespaces: ['x'] }), pool('all', ['10.0.0.4/31', 'fd00::/125'])]),
  rules([pool('four', ['10.0.1.0/30'])], { shareAcrossNamespaces: true }),
];

interface World {
  readonly services: Map<string, Shape>;
  rules: (typeof POOLS)[number];
  clock: number;
}

const shape = fc.record({
  namespace: fc.constantFrom('x', 'x', 'y'),
  port: fc.constantFrom(80, 443),
  key: fc.constantFrom(undefined, 'k', 'k', 'l'),
  request: fc.constantFrom(
    undefined,
    undefined,
    undefined,
    '10.0.0.2',
    '10.0.0.3,fd00::2',
    '10.0.1.1',
    'nonsense',
  ),
  families: fc.constantFrom(['IPv4'], ['IPv6'], ['IPv4', 'IPv6'], ['IPv6', 'IPv4']),
  policy: fc.constantFrom('SingleStack', 'PreferDualStack', 'RequireDualStack'),
  class: fc.constantFrom(CLASS, CLASS, CLASS, undefined, 'example.com/lb'),
  type: fc.constantFrom('LoadBalancer', 'LoadBalancer', 'LoadBalancer', 'ClusterIP'),
});

/** What may happen; `write` takes so many of the writes that are due, in order, and loses the rest. */
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('put' as const), name: fc.constantFrom(...NAMES), shape }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('delete' as const), name: fc.constantFrom(...NAMES) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pools' as const), index: fc.nat(POOLS.length - 1) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('write' as const), count: fc.nat(4), isReversed: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function factsOf(world: World): LoadBalancerFacts[] {
  return [...world.services.values()].flatMap((each) => decodeLoadBalancer(serviceObject(each)) ?? []);
}

function decide(world: World): readonly Decision[] {
  const facts = factsOf(world);
  const decisions = allocate(facts, world.rules);
  // Whatever the order of what is told.
  expect([...allocate(facts.toReversed(), world.rules)].sort()).toEqual([...decisions].sort());
  return facts.flatMap((each) => {
    const decision = decisions.get(each.key);
    return decision && hasToBeWritten(each, decision) ? decision : [];
  });
}

/** Takes one decision over into the status; an address that is new must be nobody's at that moment. */
function write(world: World, decision: Decision): void {
  const [service, others] = split(world, decision.key);
  const before = service.ingress.map(({ address }) => address);
  for (const address of decision.addresses.filter((each) => !before.includes(each))) {
    const wrong = others.filter((other) => has(other, address) && !mayShare(service, other, world));
    expect(wrong.map(({ key }) => `${decision.key} gets ${address} of ${key}`)).toEqual([]);
  }
  for (const [name, each] of world.services) {
    if (`${each.namespace}/${each.name}` !== decision.key) continue;
    const condition = conditionOf(decision);
    world.services.set(name, {
      ...each,
      ingress: decision.addresses,
      conditions: condition ? [{ type: ADDRESS_CONDITION, ...condition }] : [],
    });
  }
}

function settle(world: World): void {
  for (let round = 0; ; round++) {
    const due = decide(world);
    if (due.length === 0) return;
    // Somebody moves, and then somebody else can.
    expect(round).toBeLessThan(2 * NAMES.length);
    // In whatever order they get through.
    for (const decision of round % 2 === 0 ? due.toReversed() : due) write(world, decision);
  }
}

function take(world: World, each: Step): void {
  switch (each.do) {
    case 'put':
      put(world, each.name, each.shape);
      break;
    case 'delete':
      world.services.delete(each.name);
      break;
    case 'pools':
      world.rules = POOLS[each.index] ?? world.rules;
      break;
    case 'write':
      takeSome(world, each);
      break;
    case 'settle':
      settle(world);
      break;
  }
}

function takeSome(world: World, { count, isReversed }: Extract<Step, { do: 'write' }>): void {
  const due = decide(world);
  for (const decision of (isReversed ? due.toReversed() : due).slice(0, count)) write(world, decision);
}

/** Made, or changed as the API server lets it: the class stays while the type does, and the status goes with the type. */
function put(
  world: World,
  name: string,
  wanted: typeof shape extends fc.Arbitrary<infer T> ? T : never,
): void {
  const found = world.services.get(name);
  const before = found && Object(found.spec);
  const isLoadBalancer = wanted.type === 'LoadBalancer';
  const stays = before?.type === 'LoadBalancer' && isLoadBalancer;
  world.services.set(name, {
    name,
    namespace: found?.namespace ?? wanted.namespace,
    age: found?.age ?? -world.clock++,
    annotations: {
      ...(wanted.key === undefined ? {} : { [SHARING_ANNOTATION]: wanted.key }),
      ...(wanted.request === undefined ? {} : { [ADDRESSES_ANNOTATION]: wanted.request }),
    },
    spec: {
      type: wanted.type,
      loadBalancerClass: stays ? before.loadBalancerClass : isLoadBalancer ? wanted.class : undefined,
      ipFamilies: wanted.families,
      ipFamilyPolicy: wanted.policy,
      ports: [{ port: wanted.port, protocol: 'TCP' }],
    },
    ingress: stays ? (found?.ingress ?? []) : [],
    conditions: found?.conditions ?? [],
  });
}

function split(world: World, key: string): [LoadBalancerFacts, LoadBalancerFacts[]] {
  const facts = factsOf(world);
  const own = facts.find((each) => each.key === key);
  if (!own) throw new RangeError(key);
  return [own, facts.filter((each) => each !== own)];
}

const has = (service: LoadBalancerFacts, address: string) =>
  service.ingress.some((each) => each.address === address);

/** Said here once more, in other words than in claims.ts. */
function mayShare(
  a: LoadBalancerFacts,
  b: LoadBalancerFacts,
  { rules: { shareAcrossNamespaces } }: World,
): boolean {
  const isSameKey = a.sharingKey !== null && a.sharingKey === b.sharingKey;
  const [portsA, portsB] = [a, b].map(({ ports }) => new Set(ports.map(({ port }) => port)));
  return (
    isSameKey &&
    (shareAcrossNamespaces || a.namespace === b.namespace) &&
    !!portsA?.isDisjointFrom(portsB ?? new Set())
  );
}

function doubleUse(world: World): readonly string[] {
  const facts = factsOf(world).filter((each) => each.isLoadBalancer);
  return facts.flatMap((a, i) =>
    facts
      .slice(i + 1)
      .flatMap((b) =>
        a.ingress
          .filter(({ address }) => address !== null && has(b, address) && !mayShare(a, b, world))
          .map(({ address }) => `${address}: ${a.key} and ${b.key}`),
      ),
  );
}

/** Of Services that are not ours by now (default was switched off) nothing is repaired. */
const managed = (world: World) =>
  [...world.services.values()].every(
    ({ spec }) => Object(spec).loadBalancerClass !== undefined || world.rules.default,
  );

function history(steps: readonly Step[]): World {
  const world: World = { services: new Map(), rules: POOLS[0] ?? rules([]), clock: 0 };
  for (const each of steps) take(world, each);
  return world;
}

const histories = fc.array(step, { maxLength: 30, size: 'max' });

describe('allocate() over random histories', () => {
  it('gives no address twice, though writes are lost and everything changes', { timeout: 600_000 }, () => {
    fc.assert(
      fc.property(histories, (steps) => {
        const world = history(steps);
        settle(world);
        if (managed(world)) expect(doubleUse(world)).toEqual([]);
      }),
      { numRuns: RUNS },
    );
  });

  it('leaves everybody alone, whatever becomes of others and of the pools', { timeout: 600_000 }, () => {
    fc.assert(
      fc.property(histories, histories, fc.constantFrom(...NAMES), (steps, more, name) => {
        const world = history(steps);
        settle(world);
        const before = world.services.get(name);
        const isSteady = before && Object(before.spec).loadBalancerClass === CLASS && !isRequest(before);
        if (!isSteady || (before.ingress ?? []).length < Object(before.spec).ipFamilies.length) return;
        // Beside somebody who was let alone since the default was switched off, and may be older.
        if (doubleUse(world).length > 0) return;
        for (const each of more) if (!('name' in each && each.name === name)) take(world, each);
        settle(world);
        // Unless who is older has come to share it no longer.
        if (!before.annotations || !(SHARING_ANNOTATION in before.annotations)) {
          expect(world.services.get(name)?.ingress).toEqual(before.ingress);
        }
      }),
      { numRuns: RUNS },
    );
  });

  it('can give everything again that was freed', { timeout: 600_000 }, () => {
    fc.assert(
      fc.property(histories, (steps) => {
        const world = history(steps);
        world.services.clear();
        world.rules = POOLS[0] ?? world.rules;
        for (let i = 0; i < 6; i++) {
          world.services.set(`n${i}`, { name: `n${i}`, age: -i, namespace: 'x' });
        }
        settle(world);
        const given = [...world.services.values()].flatMap(({ ingress = [] }) => ingress);
        const [four] = world.rules.pools;
        expect(given).toEqual(four ? [...addressesOfPool(four, 'IPv4')] : []);
      }),
      { numRuns: Math.ceil(RUNS / 10) },
    );
  });
});

function isRequest({ annotations }: Shape): boolean {
  return annotations !== undefined && ADDRESSES_ANNOTATION in annotations;
}
