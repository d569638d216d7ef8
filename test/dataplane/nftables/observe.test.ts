import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NftablesError } from '../../../src/dataplane/nftables/client.ts';
import { observeNftables, rowsFromListing } from '../../../src/dataplane/nftables/observe.ts';
import { planNftables } from '../../../src/dataplane/nftables/plan.ts';
import { project } from '../../../src/dataplane/nftables/project.ts';
import { canonical, emptyRows } from '../../../src/dataplane/nftables/rows.ts';
import { FakeNftablesKernel } from '../../fakes/nftables-kernel.ts';
import { elementsOf, linesOf, OPTIONS } from './build.ts';
import { GOLDEN_DESIRED } from './goldens.ts';

const NEVER = new AbortController().signal;
const WANTED = project(GOLDEN_DESIRED, OPTIONS).rows;

const GOLDEN = join(import.meta.dirname, '../../golden/nftables');

/** Captured as test/golden/nftables/capture.sh says. */
function captured(name: string): unknown {
  return JSON.parse(readFileSync(join(GOLDEN, `${name}.json`), 'utf8'));
}

/** A listing of our table with one set. */
function withSet(kind: 'set' | 'map', name: string, elem: unknown, fields: object = {}): unknown {
  return { nftables: [{ [kind]: { family: 'inet', table: 'svcplane', name, elem, ...fields } }] };
}

describe('rowsFromListing()', () => {
  it.each(['linux-6.1', 'linux-7.2'])('%s lists what was made', async (name) => {
    const kernel = new FakeNftablesKernel();
    await kernel.run(readFileSync(join(GOLDEN, 'captured.nft'), 'utf8'), NEVER);
    const made = await observeNftables(kernel, 'svcplane', NEVER);
    expect(made.sets.get('allowed6')?.elements.size).toBe(2);
    expect(canonical(rowsFromListing(captured(name), 'svcplane'))).toBe(canonical(made));
  });

  it('names what is not ours, and reads the rest', () => {
    const observed = rowsFromListing(captured('linux-7.2-altered'), 'svcplane');
    expect(observed.others).toEqual([
      'counter hits',
      'limit slow',
      'set node-pods4: element {"range":["192.0.2.1","192.0.2.5"]}',
    ]);
    expect(elementsOf(observed).vips4).toContain('203.0.113.77');
    expect(elementsOf(observed).masquerade4).toContain('203.0.113.77 . 1 . 80');
    expect(observed.sets.get('theirs')).toEqual({
      declaration: 'type ipv4_addr flags timeout timeout 5',
      elements: new Map(),
    });
    expect(observed.chains.get('input')).toMatchObject({
      declaration: 'type filter hook input priority 0 policy drop',
      rules: [{ name: 'without a comment', digest: '' }, {}, {}, {}],
    });
    expect(observed.chains.get('refuse')?.rules.at(-1)).toEqual({ name: 'theirs', digest: '', rule: null });
    expect(linesOf(planNftables(observed, WANTED).make)[0]).toMatch(/^setTable /);
  });

  it.each([
    {
      name: 'protocols by number or name',
      elem: [{ concat: ['10.0.0.1', 'tcp', 80] }],
      key: '10.0.0.1 . tcp . 80',
    },
    { name: 'another protocol', elem: [{ concat: ['10.0.0.1', 1, 80] }], key: '10.0.0.1 . 1 . 80' },
    { name: 'one element alone', elem: { concat: ['10.0.0.1', 132, 80] }, key: '10.0.0.1 . sctp . 80' },
  ])('reads $name', ({ elem, key }) => {
    const { sets, others } = rowsFromListing(withSet('set', 'masquerade4', elem), 'svcplane');
    expect([...(sets.get('masquerade4')?.elements.keys() ?? [])]).toEqual([key]);
    expect(others).toEqual([]);
  });

  it('reads addresses of any spelling', () => {
    const elem = [{ prefix: { addr: 'FD00:0::0', len: 112 } }, '::1.2.3.4'];
    const { sets } = rowsFromListing(withSet('set', 'pods6', elem), 'svcplane');
    expect([...(sets.get('pods6')?.elements.keys() ?? [])]).toEqual(['fd00::/112', '::102:304']);
  });

  it.each([
    { name: 'an element with a timeout', set: 'vips4', elem: [{ elem: { val: '10.0.0.1', timeout: 5 } }] },
    { name: 'an address of the other family', set: 'vips4', elem: ['fd00::1'] },
    { name: 'a form of another version', set: 'vips4', elem: [{ later: 1 }] },
    { name: 'too few components', set: 'masquerade4', elem: [{ concat: ['10.0.0.1', 6] }] },
    { name: 'a port that is none', set: 'masquerade4', elem: [{ concat: ['10.0.0.1', 6, 'http'] }] },
    { name: 'a range of addresses', set: 'pods4', elem: [{ range: ['10.0.0.1', '10.0.0.5'] }] },
    { name: 'null', set: 'pods4', elem: [null] },
  ])('names an element it can not read: $name', ({ set, elem }) => {
    const { others } = rowsFromListing(withSet('set', set, elem), 'svcplane');
    expect(others).toEqual([`set ${set}: element ${JSON.stringify(elem[0])}`]);
  });

  it('names a key of a map without its mark', () => {
    const elem = [{ concat: ['10.0.0.1', 6, 80] }];
    expect(rowsFromListing(withSet('map', 'inside-marks4', elem), 'svcplane').others).toHaveLength(1);
  });

  it('tells a set by all that was said of it', () => {
    const fields = { type: 'ipv4_addr', flags: ['interval'], size: 7, 'auto-merge': true, handle: 3 };
    const { sets } = rowsFromListing(withSet('set', 'pods4', [], fields), 'svcplane');
    expect(sets.get('pods4')?.declaration).toBe('type ipv4_addr flags interval size 7 auto-merge true');
  });

  it('throws on what is no listing', () => {
    expect(() => rowsFromListing({ nftables: 'none' }, 'svcplane')).toThrow();
  });
});

describe('observeNftables()', () => {
  it('has no rows without a table', async () => {
    expect(await observeNftables(new FakeNftablesKernel(), 'svcplane', NEVER)).toEqual(emptyRows('svcplane'));
  });

  it('takes a table that can not be listed for one that must be made anew', async () => {
    const kernel = new FakeNftablesKernel();
    kernel.list = () => Promise.reject(new NftablesError('list nftables table inet svcplane', 'unknown', ''));
    const observed = await observeNftables(kernel, 'svcplane', NEVER);
    expect(linesOf(planNftables(observed, WANTED).make)[0]).toMatch(/^setTable /);
  });

  it('throws where nothing may be listed', async () => {
    const kernel = new FakeNftablesKernel();
    kernel.list = () => Promise.reject(new NftablesError('list nftables table inet svcplane', 'EPERM', ''));
    await expect(observeNftables(kernel, 'svcplane', NEVER)).rejects.toThrow('EPERM');
  });
});
