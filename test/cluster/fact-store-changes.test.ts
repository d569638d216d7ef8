import { describe, expect, it } from 'vitest';
import { FactStore } from '../../src/cluster/fact-store.ts';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { node, service, slice } from '../objects.ts';

const OWN = 'n0';

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
