import { describe, expect, it } from 'vitest';
import { NodeGuard } from '../../src/cli/run-guard.ts';
import { emptiedBetween } from '../../src/sync/emptied.ts';
import { desiredOf } from '../derive.ts';
import { service, slice } from '../objects.ts';
import { type ClusterEvent, IncrementalNode } from './incremental-node.ts';

const GUARD = { maxDeleteShare: 0.5, minDeletes: 10, holdSeconds: 300 };
const serviceOf = (i: number) => service({ name: `s${i}`, spec: { clusterIP: `10.96.0.${i}` } });
const sliceOf = (i: number, ...addresses: readonly string[]) =>
  slice({ name: `s${i}-1`, service: `s${i}`, endpoints: addresses.map((address) => ({ address })) });

const put = (i: number, address: string): ClusterEvent => ({
  kind: 'EndpointSlice',
  object: sliceOf(i, address),
  isGone: false,
});
const gone = (i: number): ClusterEvent => ({ kind: 'EndpointSlice', object: sliceOf(i), isGone: true });

/** With an endpoint each. */
async function nodeWith(count: number): Promise<{ node: IncrementalNode; guard: NodeGuard }> {
  const guard = new NodeGuard(GUARD, () => Date.UTC(2026, 0, 1));
  const node = new IncrementalNode({ guard, maxUnjudgedDeletes: GUARD.minDeletes });
  for (let i = 1; i <= count; i++) {
    node.put([{ kind: 'Service', object: serviceOf(i), isGone: false }, put(i, `10.244.1.${i}`)]);
  }
  await node.sync();
  return { node, guard };
}

const all = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const endpoints = (node: IncrementalNode) =>
  node.ipvs.table().flatMap(({ realServers }) => realServers).length;

describe('IncrementalSync.sync() where endpoints vanish while Services stay', () => {
  it.each([
    3, 30,
  ])('keeps those of %i Services that lose all of them at once, rules and all', async (count) => {
    const { node, guard } = await nodeWith(count);
    const before = await node.state();
    node.put(all(count).map(gone));
    expect(await node.sync()).toMatchObject({ kind: 'whole', isHeld: true, isComplete: true });
    expect(await node.state()).toBe(before);
    expect(guard.record()?.reason).toContain(`${count} of ${count} Services with endpoints (100 %)`);
    // Others change as ever.
    node.put([put(2, '10.244.1.99')]);
    await node.sync();
    expect(
      node.ipvs.table().some(({ realServers }) => JSON.stringify(realServers).includes('10.244.1.99')),
    ).toBe(true);
    node.put(all(count).map((i) => put(i, `10.244.2.${i}`)));
    expect(await node.sync()).toMatchObject({ isHeld: false });
    expect(guard.record()).toBeNull();
    expect(await node.wholePlan()).toEqual([]);
  });

  it('lets go what was released', async () => {
    const { node, guard } = await nodeWith(12);
    node.put(all(12).map(gone));
    await node.sync();
    expect(guard.release()).toBe(true);
    expect(await node.sync({ isWhole: true })).toMatchObject({ isHeld: false });
    expect(endpoints(node)).toBe(0);
    expect(await node.wholePlan()).toEqual([]);
  });

  it('passes one Service that is scaled to zero, and back', async () => {
    const { node } = await nodeWith(12);
    node.put([gone(1)]);
    expect(await node.sync()).toMatchObject({ kind: 'scoped', isHeld: false });
    expect(endpoints(node)).toBe(11);
    node.put([put(1, '10.244.1.1')]);
    expect(await node.sync()).toMatchObject({ kind: 'scoped', isHeld: false });
  });

  it('passes a restart of everything that keeps an endpoint of each', async () => {
    const { node } = await nodeWith(12);
    node.put(all(12).map((i) => put(i, `10.244.2.${i}`)));
    expect(await node.sync()).toMatchObject({ kind: 'scoped', isHeld: false });
    expect(await node.wholePlan()).toEqual([]);
  });

  it('holds when they go one by one, at half of them', async () => {
    const { node } = await nodeWith(40);
    let held = false;
    for (let i = 1; i <= 40 && !held; i++) {
      node.put([gone(i)]);
      held = (await node.sync()).isHeld;
    }
    expect(held).toBe(true);
    expect(endpoints(node)).toBe(20);
  });

  it('holds Services that are deleted one by one, at half of them', async () => {
    const { node } = await nodeWith(40);
    let held = false;
    for (let i = 1; i <= 40 && !held; i++) {
      node.put([{ kind: 'Service', object: serviceOf(i), isGone: true }]);
      held = (await node.sync()).isHeld;
    }
    expect(held).toBe(true);
    expect(node.ipvs.table()).toHaveLength(20);
  });

  it('keeps them over a restart of the daemon, by what is in the kernel', async () => {
    const { node } = await nodeWith(12);
    const guard = new NodeGuard(GUARD, () => Date.UTC(2026, 0, 1));
    node.put(all(12).map(gone));
    const before = endpoints(node);
    await node.syncWhole(guard);
    expect(endpoints(node)).toBe(before);
    expect(guard.record()).not.toBeNull();
  });
});

describe('emptiedBetween()', () => {
  const of = (...objects: Parameters<typeof desiredOf>[0]) => desiredOf(objects);

  it('names Services that are there still, and without any endpoint', () => {
    const before = of(
      serviceOf(1),
      sliceOf(1, '10.244.1.1'),
      serviceOf(2),
      sliceOf(2, '10.244.1.2'),
      serviceOf(3),
    );
    const after = of(serviceOf(1), sliceOf(1), serviceOf(3), sliceOf(3));
    expect([...emptiedBetween(before, after)]).toEqual(['web/s1']);
  });
});
