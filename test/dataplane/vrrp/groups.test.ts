import { describe, expect, it } from 'vitest';
import { groupOf, orderOf } from '../../../src/dataplane/vrrp/groups.ts';
import { ip } from '../addresses/fixtures.ts';

const OPTIONS = { firstId: 10, lastId: 200, groups: 16 };
const ADDRESSES = Array.from({ length: 1000 }, (_, i) => ip(`10.10.${i >> 8}.${i & 255}`));
const NODES = ['n1', 'n2', 'n3'];

describe('groupOf()', () => {
  it('spreads addresses over the ids, those of policy Local over ids of their own', () => {
    const cluster = new Set(ADDRESSES.map((address) => groupOf(address, false, OPTIONS)));
    const local = new Set(ADDRESSES.map((address) => groupOf(address, true, OPTIONS)));
    expect([cluster.size, Math.min(...cluster), Math.max(...cluster)]).toEqual([16, 10, 25]);
    expect([local.size > 160, Math.min(...local), Math.max(...local)]).toEqual([true, 26, 200]);
  });
});

describe('orderOf()', () => {
  const IDS = Array.from({ length: 255 }, (_, i) => i + 1);

  it('is the same on all nodes', () => {
    for (const id of IDS) {
      const order = orderOf(NODES, 'IPv4', id);
      expect(order.toSorted()).toEqual(NODES);
      expect(orderOf(NODES.toReversed(), 'IPv4', id)).toEqual(order);
    }
  });

  it('shares groups out, and takes from a node that is gone only its own', () => {
    const before = IDS.map((id) => orderOf(NODES, 'IPv4', id)[0]);
    for (const node of NODES) expect(before.filter((each) => each === node).length).toBeGreaterThan(60);
    const after = IDS.map((id) => orderOf(['n1', 'n3'], 'IPv4', id)[0]);
    for (const [i, node] of before.entries()) if (node !== 'n2') expect(after[i]).toBe(node);
  });
});
