import { describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { IncrementalNode } from './incremental-node.ts';

const serviceOf = (i: number) => service({ name: `s${i}`, spec: { clusterIP: `10.96.0.${i}` } });

/** A node in sync with so many Services. */
async function nodeWith(count: number, maxUnjudgedDeletes?: number): Promise<IncrementalNode> {
  const node = new IncrementalNode(maxUnjudgedDeletes === undefined ? {} : { maxUnjudgedDeletes });
  for (let i = 1; i <= count; i++) {
    node.put([
      { kind: 'Service', object: serviceOf(i), isGone: false },
      { kind: 'EndpointSlice', object: slice({ name: `s${i}-1`, service: `s${i}` }), isGone: false },
    ]);
  }
  await node.sync();
  return node;
}

const remove = (node: IncrementalNode, ...indexes: readonly number[]) =>
  node.put(indexes.map((i) => ({ kind: 'Service', object: serviceOf(i), isGone: true })));

describe('IncrementalSync.sync()', () => {
  it('looks only at what has changed', async () => {
    const node = await nodeWith(5);
    remove(node, 2);
    expect(await node.sync()).toMatchObject({ kind: 'scoped', unwanted: 1, isComplete: true });
    expect(node.ipvs.table()).toHaveLength(4);
  });

  it('lets the guard judge when so many are unwanted since it was asked last', async () => {
    const node = await nodeWith(9, 3);
    for (const index of [1, 2]) {
      remove(node, index);
      expect((await node.sync()).kind).toBe('scoped');
    }
    remove(node, 3);
    expect((await node.sync()).kind).toBe('whole');
    remove(node, 4);
    expect((await node.sync()).kind).toBe('scoped');
  });

  it('lets the guard judge when none would be left, however few they are', async () => {
    const node = await nodeWith(2);
    remove(node, 1, 2);
    expect((await node.sync()).kind).toBe('whole');
  });

  it('lets the guard judge when the last one goes', async () => {
    const node = await nodeWith(2);
    remove(node, 1);
    expect((await node.sync()).kind).toBe('scoped');
    remove(node, 2);
    expect((await node.sync()).kind).toBe('whole');
  });

  describe('where a Service shares an endpoint with one whose frontend an older one has', () => {
    const put = (object: object, kind: 'Service' | 'EndpointSlice' = 'Service') =>
      ({ kind, object: { ...object }, isGone: false }) as const;
    const endpointOf = (name: string, address: string) =>
      put(
        slice({
          name: `${name}-1`,
          service: name,
          endpoints: [{ address, ready: true, serving: true, terminating: false, node: 'n0' }],
        }),
        'EndpointSlice',
      );

    it('still says that the younger one has none', async () => {
      const node = new IncrementalNode();
      node.put([
        put(service({ name: 'beside', spec: { clusterIP: '10.96.0.2' } })),
        put(service({ name: 'older', spec: { clusterIP: '10.96.0.3' } })),
        put(service({ name: 'younger', spec: { clusterIP: '10.96.0.3' } })),
        put(service({ name: 'other', spec: { clusterIP: '10.96.0.4' } })),
        endpointOf('younger', '10.244.1.20'),
      ]);
      await node.sync();
      node.put([endpointOf('other', '10.244.1.20')]);
      expect((await node.sync()).kind).toBe('scoped');
      expect(node.index.rejected.map(({ subject }) => subject)).toEqual(['Service web/younger']);
    });
  });
});
