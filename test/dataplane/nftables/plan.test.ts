import { describe, expect, it } from 'vitest';
import { planNftables, teardownNftables } from '../../../src/dataplane/nftables/plan.ts';
import { holdUnwantedElements, retainNftablesAddresses } from '../../../src/dataplane/nftables/retain.ts';
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

describe('holdUnwantedElements()', () => {
  const frontend = (address: string, mark: number | null, ...endpoints: string[]) => ({
    address: ip(address),
    port: 80,
    protocol: 'TCP' as const,
    mark,
    endpoints: new Set(endpoints.map(ip)),
  });

  it('keeps all elements of an unwanted frontend, and no others', () => {
    const both = (suffix: string) => [`203.0.113.10 . ${suffix}`, `203.0.113.9 . ${suffix}`];
    const observed = tableWith({
      vips4: ['203.0.113.10', '203.0.113.9'],
      masquerade4: [...both('tcp . 80'), '203.0.113.9 . tcp . 8080'],
      restricted4: both('tcp . 80'),
      allowed4: both('tcp . 80 . 192.0.2.0/24'),
      empty4: both('tcp . 80'),
      hairpin4: ['10.244.1.20 . 10.244.1.20', '10.244.1.21 . 10.244.1.21'],
    });
    const frontends = [frontend('203.0.113.9', null, '10.244.1.20')];
    expect(elementsOf(holdUnwantedElements(observed, tableWith({}), { frontends }))).toEqual({
      vips4: ['203.0.113.9'],
      masquerade4: ['203.0.113.9 . tcp . 80'],
      restricted4: ['203.0.113.9 . tcp . 80'],
      allowed4: ['203.0.113.9 . tcp . 80 . 192.0.2.0/24'],
      empty4: ['203.0.113.9 . tcp . 80'],
      hairpin4: ['10.244.1.20 . 10.244.1.20'],
    });
  });

  it.each([
    { name: 'keeps a mark that still leads to its inside clients', mark: 0x53000001, kept: 1 },
    { name: 'gives up a mark that is another frontend’s now', mark: null, kept: 0 },
  ])('$name', ({ mark, kept }) => {
    const element = '203.0.113.9 . tcp . 80 : 0x53000001';
    const frontends = [frontend('203.0.113.9', mark)];
    const rows = holdUnwantedElements(tableWith({ 'inside-marks4': [element] }), tableWith({}), {
      frontends,
    });
    expect(elementsOf(rows)['inside-marks4'] ?? []).toHaveLength(kept);
  });
});
