import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeObjects, KINDS } from '../../src/cluster/decode.ts';
import { WATCHED_KINDS, type WatchedKind, watchedKey } from '../../src/cluster/decode-watched.ts';
import { FactStore } from '../../src/cluster/fact-store.ts';
import type { ClusterFacts } from '../../src/cluster/facts.ts';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { comparableFacts } from '../comparable-facts.ts';
import { node, service, slice } from '../objects.ts';

const OWN = 'n0';

const names = fc.constantFrom('a', 'b', 'c');
const namespaces = fc.constantFrom('x', 'y');
const addresses = fc.constantFrom('10.1.0.1', '10.1.0.2', 'fd00::1', 'nonsense');

const services = fc
  .record({
    name: names,
    namespace: namespaces,
    labels: fc.constantFrom({}, {}, { 'service.kubernetes.io/service-proxy-name': 'other' }),
    annotations: fc.constantFrom({}, {}, { 'svcplane.io/scheduler': 'best' }),
    clusterIP: fc.constantFrom('10.96.0.1', '10.96.0.2', 'None'),
    port: fc.constantFrom(80, 443, 70_000),
    resourceVersion: fc.nat({ max: 9 }),
  })
  .map(({ name, namespace, labels, annotations, clusterIP, port, resourceVersion }) => ({
    kind: 'Service' as const,
    object: service({
      name,
      namespace,
      metadata: { labels, annotations, resourceVersion: String(resourceVersion) },
      spec: { clusterIP, ports: [{ port }] },
    }),
  }));

const slices = fc
  .record({
    name: names,
    namespace: namespaces,
    owner: names,
    addressType: fc.constantFrom('IPv4', 'IPv4', 'IPv6', 'FQDN'),
    labels: fc.constantFrom(
      {},
      {},
      { 'service.kubernetes.io/headless': '' },
      { 'kubernetes.io/service-name': '' },
    ),
    endpoints: fc.array(
      fc.record({ address: addresses, ready: fc.boolean(), node: names, zones: fc.subarray(['z1', 'z2']) }),
      { maxLength: 3 },
    ),
  })
  .map(({ owner, ...shape }) => ({
    kind: 'EndpointSlice' as const,
    object: slice({ ...shape, service: owner }),
  }));

const nodes = fc
  .record({
    name: fc.constantFrom(OWN, 'n1', 'n2', 'n3'),
    addresses: fc.array(addresses, { maxLength: 2 }),
    zone: fc.constantFrom('z1', 'z2'),
  })
  .map((shape) => ({ kind: 'Node' as const, object: node(shape) }));

const serviceCIDRs = fc
  .record({ name: names, cidrs: fc.subarray(['10.96.0.0/16', 'fd00:10::/112', '10.0.0.0/99']) })
  .map(({ name, cidrs }) => ({
    kind: 'ServiceCIDR' as const,
    object: { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name }, spec: { cidrs } },
  }));

const objects = fc.oneof(services, slices, nodes, serviceCIDRs);
const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: objects.map((each) => ({ op: 'put' as const, ...each })) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(objects, fc.boolean())
        .map(([each, byKey]) => ({ op: 'remove' as const, byKey, ...each })),
    },
    {
      weight: 1,
      arbitrary: fc
        .record({ kind: fc.constantFrom(...WATCHED_KINDS), of: fc.array(objects), isWhole: fc.boolean() })
        .map((each) => ({ op: 'list' as const, ...each })),
    },
    { weight: 1, arbitrary: fc.constant({ op: 'take' as const }) },
  ),
  { maxLength: 30 },
);
type Step = typeof steps extends fc.Arbitrary<(infer T)[]> ? T : never;

/** The API server's own store: what the last list would hold. */
class Model {
  readonly #objects = new Map<string, { readonly kind: WatchedKind; readonly object: RawObject }>();

  step(step: Step): void {
    if (step.op === 'take') return;
    if (step.op === 'put') this.#put(step.kind, step.object);
    else if (step.op === 'remove') this.#objects.delete(`${step.kind} ${watchedKey(step.kind, step.object)}`);
    else if (step.isWhole) {
      for (const [key, { kind }] of this.#objects) if (kind === step.kind) this.#objects.delete(key);
      for (const { kind, object } of step.of) if (kind === step.kind) this.#put(kind, object);
    }
  }

  facts(): ClusterFacts {
    const sorted = [...this.#objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { object }]) => object);
    return decodeObjects(sorted, OWN);
  }

  #put(kind: WatchedKind, object: RawObject): void {
    this.#objects.set(`${kind} ${watchedKey(kind, object)}`, { kind, object });
  }
}

function withoutType({ apiVersion: _, kind: __, ...object }: RawObject): RawObject {
  return object;
}

function stepOf(store: FactStore, step: Step): void {
  if (step.op === 'put') store.put(step.kind, withoutType(step.object));
  else if (step.op === 'remove')
    store.remove(step.kind, step.byKey ? watchedKey(step.kind, step.object) : step.object);
  else if (step.op === 'list') {
    const list = store.beginList(step.kind);
    for (const { kind, object } of step.of) if (kind === step.kind) list.put(withoutType(object));
    if (step.isWhole) list.finish();
  }
}

describe('FactStore', () => {
  it('decodes the kinds that manifests have', () => {
    expect(Object.keys(KINDS)).toEqual(expect.arrayContaining([...WATCHED_KINDS]));
  });

  it('facts are those of decodeObjects() over what is left, after any steps', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const store = new FactStore(OWN);
        const model = new Model();
        for (const step of all) {
          stepOf(store, step);
          model.step(step);
          expect(comparableFacts(store.facts)).toEqual(comparableFacts(model.facts()));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('takeChanges() names whatever differs from what was there before, and values that do not keep their identity', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const store = new FactStore(OWN);
        let before = new Map(store.facts.services);
        let slicesBefore = new Map(store.facts.slices);
        let rest = { ...store.facts, otherNodes: new Map(store.facts.otherNodes) };
        for (const step of all) {
          stepOf(store, step);
          if (step.op !== 'take') continue;
          const { services: named, isWhole } = store.takeChanges();
          const now = store.facts;
          const keys = new Set(
            [...before, ...slicesBefore, ...now.services, ...now.slices].map(([key]) => key),
          );
          const differing = [...keys].filter(
            (key) =>
              before.get(key) !== now.services.get(key) || slicesBefore.get(key) !== now.slices.get(key),
          );
          expect(named).toEqual(named.union(new Set(differing)));
          if (!isWhole) {
            expect(now.node).toBe(rest.node);
            expect(now.serviceCIDRs).toBe(rest.serviceCIDRs);
            expect(now.otherNodes).toEqual(rest.otherNodes);
          }
          before = new Map(now.services);
          slicesBefore = new Map(now.slices);
          rest = { ...now, otherNodes: new Map(now.otherNodes) };
        }
      }),
      { numRuns: 500 },
    );
  });

  it('put() and lists of what is there already change nothing', () => {
    fc.assert(
      fc.property(fc.array(objects), (all) => {
        const store = new FactStore(OWN);
        const latest = new Map(
          all.map((each) => [`${each.kind} ${watchedKey(each.kind, each.object)}`, each]),
        );
        for (const { kind, object } of latest.values()) store.put(kind, object);
        store.takeChanges();
        const { rejected } = store.facts;
        const touched = [...latest.values()].map(({ kind, object }) => ({
          kind,
          object: {
            ...object,
            metadata: { ...object.metadata, resourceVersion: 'new', managedFields: [{}] },
          },
        }));
        for (const { kind, object } of touched) store.put(kind, object);
        for (const kind of WATCHED_KINDS) {
          const list = store.beginList(kind);
          for (const each of touched) if (each.kind === kind) list.put(each.object);
          list.finish();
        }
        expect(store.takeChanges()).toEqual({ services: new Set(), isWhole: false, triggers: [] });
        expect(store.facts.rejected).toBe(rejected);
      }),
    );
  });
});

describe('FactStore changes', () => {
  const two = (ready: boolean) =>
    slice({ endpoints: [{ address: '10.1.0.1', ready }, { address: '10.1.0.2' }] });

  it('of a slice name its Service, and only that', () => {
    const store = new FactStore(OWN);
    store.put('Service', service());
    store.put('Service', service({ name: 'back' }));
    store.put('EndpointSlice', two(true));
    store.takeChanges();
    store.put('EndpointSlice', two(false));
    expect(store.takeChanges()).toEqual({ services: new Set(['web/front']), isWhole: false, triggers: [] });
  });

  it('of a slice that goes over to another Service name both', () => {
    const store = new FactStore(OWN);
    store.put('EndpointSlice', two(true));
    store.takeChanges();
    store.put('EndpointSlice', { ...slice({ service: 'back' }) });
    expect(store.takeChanges().services).toEqual(new Set(['web/front', 'web/back']));
  });

  it('leave slices of other Services as they are', () => {
    const store = new FactStore(OWN);
    store.put('EndpointSlice', two(true));
    store.put('EndpointSlice', slice({ name: 'back-1', service: 'back' }));
    const before = store.facts.slices.get('web/back');
    store.put('EndpointSlice', two(false));
    expect(store.facts.slices.get('web/back')).toBe(before);
  });

  it('of the reasons why part of a Service is rejected name it', () => {
    const store = new FactStore(OWN);
    const withScheduler = (name: string) =>
      service({ metadata: { annotations: { 'svcplane.io/scheduler': name } } });
    store.put('Service', withScheduler('best'));
    store.takeChanges();
    store.put('Service', withScheduler('worst'));
    expect(store.takeChanges().services).toEqual(new Set(['web/front']));
  });

  it('of another Node are its addresses, not its heartbeats', () => {
    const store = new FactStore(OWN);
    store.put('Node', node({ name: 'n1', addresses: ['172.16.0.6'] }));
    store.takeChanges();
    const beat = node({ name: 'n1', addresses: ['172.16.0.6'] });
    store.put('Node', { ...beat, status: { ...beat.status, conditions: [{ type: 'Ready' }] } });
    expect(store.takeChanges().isWhole).toBe(false);
    store.put('Node', node({ name: 'n1', addresses: ['172.16.0.7'] }));
    expect(store.takeChanges().isWhole).toBe(true);
    expect([...store.facts.otherNodes]).toEqual([['172.16.0.7', 'n1']]);
  });

  it('have the trigger times of slices that changed after the first list, in milliseconds', () => {
    const store = new FactStore(OWN);
    const triggered = (ready: boolean, time: string) => {
      const object = two(ready);
      const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': time };
      return { ...object, metadata: { ...object.metadata, annotations } };
    };
    const first = store.beginList('EndpointSlice');
    first.put(triggered(true, '2026-01-01T00:00:00Z'));
    first.finish();
    expect(store.takeChanges().triggers).toEqual([]);
    store.put('EndpointSlice', triggered(false, '2026-01-01T00:00:01.5Z'));
    store.put('EndpointSlice', triggered(false, '2026-01-01T00:00:02Z'));
    store.remove('EndpointSlice', 'web/front-1');
    const atMs = Date.UTC(2026, 0, 1, 0, 0, 1, 500);
    expect(store.takeChanges().triggers).toEqual([{ family: 'IPv4', atMs }]);
    expect(store.takeChanges().triggers).toEqual([]);
  });
});

describe('FactStore.ownNode', () => {
  const own = node();
  const rows: { name: string; object: RawObject; state: object }[] = [
    {
      name: 'a Node as it mostly is',
      object: { ...own, metadata: { ...own.metadata, uid: 'u1' } },
      state: { uid: 'u1', isBeingDeleted: false, hasAutoscalerTaint: false },
    },
    {
      name: 'a Node that is being deleted',
      object: { ...own, metadata: { ...own.metadata, uid: 'u1', deletionTimestamp: '2026-01-01T00:00:00Z' } },
      state: { uid: 'u1', isBeingDeleted: true, hasAutoscalerTaint: false },
    },
    {
      name: 'a Node that the autoscaler deletes',
      object: { ...own, spec: { ...own.spec, taints: [{ key: 'ToBeDeletedByClusterAutoscaler' }] } },
      state: { uid: '', isBeingDeleted: false, hasAutoscalerTaint: true },
    },
  ];

  it.each(rows)('tells of $name, and is no change of facts', ({ object, state }) => {
    const store = new FactStore(OWN);
    store.put('Node', own);
    store.takeChanges();
    store.put('Node', object);
    expect(store.ownNode).toEqual(state);
    expect(store.takeChanges().isWhole).toBe(false);
    store.remove('Node', OWN);
    expect(store.ownNode).toBeNull();
  });
});

describe('FactStore memory', () => {
  it('has one copy of the names that many endpoints say alike', () => {
    const store = new FactStore(OWN);
    for (const name of ['front-1', 'front-2']) {
      const shape = { address: '10.1.0.1', node: 'a-node-with-a-long-name', zones: ['a-zone'] };
      store.put('EndpointSlice', JSON.parse(JSON.stringify(slice({ name, endpoints: [shape] }))));
    }
    const [first, second] = store.facts.slices.get('web/front') ?? [];
    const hints = first?.endpoints[0]?.zoneHints;
    expect(hints).toEqual(['a-zone']);
    expect(second?.endpoints[0]?.zoneHints).toBe(hints);
  });
});
