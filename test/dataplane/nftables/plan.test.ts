import { describe, expect, it } from 'vitest';
import { planNftables, teardownNftables } from '../../../src/dataplane/nftables/plan.ts';
import { retainNftablesAddresses } from '../../../src/dataplane/nftables/retain.ts';
import { ip } from '../ipvs/build.ts';
import { elementsOf, linesOf, tableWith } from './build.ts';
import { PLAN_CASES, TEARDOWN_CASES } from './plan-cases.ts';

describe('planNftables()', () => {
  it.each([...PLAN_CASES, ...TEARDOWN_CASES])('$name', ({
    observed,
    wanted,
    make = [],
    break: unmake = [],
  }) => {
    const plan = planNftables(observed, wanted);
    expect(linesOf(plan.make)).toEqual(make);
    expect(linesOf(plan.break)).toEqual(unmake);
  });

  it('says why the table is made anew, and which object an element follows from', () => {
    const observed = { ...tableWith({}), others: ['counter hits'] };
    const wanted = tableWith({});
    expect(planNftables(observed, wanted).make.map(({ reason }) => reason)).toEqual([
      'counter hits is not ours',
    ]);
  });
});

describe('teardownNftables()', () => {
  it.each(TEARDOWN_CASES)('$name', ({ observed, break: unmake = [] }) => {
    expect(linesOf(teardownNftables(observed).break)).toEqual(unmake);
  });
});

describe('retainNftablesAddresses()', () => {
  it.each([
    {
      name: 'keeps a VIP, and a ClusterIP by itself where its range goes',
      observed: { vips4: ['203.0.113.9', '203.0.113.10'], 'cluster-ips4': ['10.96.0.0/16'] },
      wanted: { 'cluster-ips4': ['10.97.0.0/16'] },
      addresses: ['203.0.113.9', '10.96.0.50'],
      retained: { vips4: ['203.0.113.9'], 'cluster-ips4': ['10.96.0.50', '10.97.0.0/16'] },
    },
    {
      name: 'adds nothing that is wanted anyhow, nor what was not there',
      observed: { 'cluster-ips4': ['10.96.0.50'], vips6: ['2001:db8::9'] },
      wanted: { 'cluster-ips4': ['10.96.0.0/16'], vips6: ['2001:db8::9'] },
      addresses: ['10.96.0.50', '2001:db8::9', '203.0.113.9'],
      retained: { 'cluster-ips4': ['10.96.0.0/16'], vips6: ['2001:db8::9'] },
    },
    {
      name: 'keeps the table while connections to a NodePort drain, though nothing is served',
      observed: {},
      wanted: null,
      addresses: ['172.16.0.5'],
      retained: {},
    },
  ])('$name', ({ observed, wanted, addresses, retained }) => {
    const rows = { ...tableWith(wanted ?? {}), exists: wanted !== null };
    const kept = retainNftablesAddresses(tableWith(observed), rows, new Set(addresses.map(ip)));
    expect(kept.exists).toBe(true);
    expect(elementsOf(kept)).toEqual(retained);
  });
});
