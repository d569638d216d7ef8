import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planNftables } from '../../../src/dataplane/nftables/plan.ts';
import { project } from '../../../src/dataplane/nftables/project.ts';
import { emptyRows } from '../../../src/dataplane/nftables/rows.ts';
import { transactionText } from '../../../src/dataplane/nftables/transaction.ts';
import { OPTIONS, tableWith } from './build.ts';
import { GOLDEN_DESIRED, GOLDENS } from './goldens.ts';

describe('transactionText()', () => {
  it.each(GOLDENS)('$name: the table with one element of each kind', async ({
    name,
    options,
    ...changes
  }) => {
    const { rows } = project({ ...GOLDEN_DESIRED, ...changes }, { ...OPTIONS, ...options });
    const text = transactionText(planNftables(emptyRows(OPTIONS.table), rows).make);
    await expect(text).toMatchFileSnapshot(join(import.meta.dirname, `../../golden/nftables/${name}.nft`));
  });

  it('gathers the elements of a set, those that go before those that come', () => {
    const frontends = ['203.0.113.9 . tcp . 80', '203.0.113.9 . udp . 53'];
    const had = tableWith({
      pods4: ['10.244.1.0/24', '10.244.2.0/24'],
      'inside-marks4': frontends.map((frontend) => `${frontend} : 0x53000001`),
    });
    const wanted = tableWith({
      pods4: ['10.244.0.0/16'],
      vips4: ['203.0.113.10', '203.0.113.9'],
      'inside-marks4': frontends.map((frontend) => `${frontend} : 0x53000002`),
    });
    expect(transactionText(planNftables(had, wanted).make)).toBe(
      [
        'delete element inet svcplane inside-marks4 { 203.0.113.9 . tcp . 80, 203.0.113.9 . udp . 53 }',
        'delete element inet svcplane pods4 { 10.244.1.0/24, 10.244.2.0/24 }',
        'add element inet svcplane vips4 { 203.0.113.10, 203.0.113.9 }',
        'add element inet svcplane inside-marks4 ' +
          '{ 203.0.113.9 . tcp . 80 : 0x53000002, 203.0.113.9 . udp . 53 : 0x53000002 }',
        'add element inet svcplane pods4 { 10.244.0.0/16 }',
        '',
      ].join('\n'),
    );
  });

  it('replaces the rules of one chain', () => {
    const ops = planNftables(tableWith({}), tableWith({}, { masqueradeBit: 3 })).make.slice(-1);
    expect(transactionText(ops)).toMatchInlineSnapshot(`
      "flush chain inet svcplane postrouting
      add rule inet svcplane postrouting ip saddr . ip daddr @hairpin4 masquerade fully-random comment "hairpin IPv4 #f55c9be8"
      add rule inet svcplane postrouting ip6 saddr . ip6 daddr @hairpin6 masquerade fully-random comment "hairpin IPv6 #2ba21082"
      add rule inet svcplane postrouting ct mark & 0x00000008 != 0 masquerade fully-random comment "masquerade #2c02ffef"
      "
    `);
  });
});
