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
