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
});
