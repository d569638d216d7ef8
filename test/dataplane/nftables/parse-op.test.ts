import { describe, expect, it } from 'vitest';
import { parseNftablesOp } from '../../../src/dataplane/nftables/parse-op.ts';
import { planNftables } from '../../../src/dataplane/nftables/plan.ts';
import { emptyRows } from '../../../src/dataplane/nftables/rows.ts';
import { tableWith } from './build.ts';

const SHOWN = { subject: 's', detail: 'd', reason: 'r', table: 'svcplane' };
const ADD = { op: 'addElement', ...SHOWN, set: 'masquerade4', key: '10.0.0.1 . tcp . 80', mark: null };
const { ruleset } = tableWith({});
const SET_CHAIN = { op: 'setChain', ...SHOWN, chain: 'input', ruleset };
const byLink = (name: string) => ({ ...ruleset, detection: { by: 'link', name } });

describe('parseNftablesOp()', () => {
  it('leaves operations of others alone', () => {
    for (const value of [null, 7, 'addTable', {}, { op: 'addAddress' }, { op: 'toString' }]) {
      expect(parseNftablesOp(value)).toBeUndefined();
    }
  });

  it('reads back what JSON made of an operation', () => {
    const [addTable] = planNftables(emptyRows('svcplane'), tableWith({})).make;
    expect(parseNftablesOp(JSON.parse(JSON.stringify(addTable)))).toEqual(addTable);
  });

  it.each([
    { name: 'a table that ends the command', value: { ...ADD, table: 'svcplane; flush ruleset' } },
    { name: 'a set of another', value: { ...ADD, set: 'theirs' } },
    { name: 'a key with more in it', value: { ...ADD, key: '10.0.0.1 . tcp . 80 }\nflush ruleset' } },
    { name: 'a key of another set', value: { ...ADD, key: '10.0.0.1' } },
    { name: 'an address of the other family', value: { ...ADD, key: 'fd00::1 . tcp . 80' } },
    { name: 'an address in other spelling', value: { ...ADD, key: '10.0.0.01 . tcp . 80' } },
    { name: 'a protocol that is none', value: { ...ADD, key: '10.0.0.1 . tls . 80' } },
    { name: 'a port that is none', value: { ...ADD, key: '10.0.0.1 . tcp . 65536' } },
    { name: 'a range with host bits', value: { ...ADD, set: 'pods4', key: '10.0.0.1/8' } },
    { name: 'a range of one address', value: { ...ADD, set: 'pods4', key: '10.0.0.1/32' } },
    { name: 'a mark in a set', value: { ...ADD, mark: 7 } },
    { name: 'a map without a mark', value: { ...ADD, set: 'inside-marks4' } },
    { name: 'a mark of 33 bits', value: { ...ADD, set: 'inside-marks4', mark: 2 ** 32 } },
    { name: 'a change of what is no map', value: { ...ADD, op: 'setElement', mark: 7 } },
    { name: 'a chain of another', value: { ...SET_CHAIN, chain: 'theirs' } },
    { name: 'a link that ends the rule', value: { ...SET_CHAIN, ruleset: byLink('a" accept') } },
    { name: 'a pattern for all links', value: { ...SET_CHAIN, ruleset: byLink('*') } },
    { name: 'a bit that no mark has', value: { ...SET_CHAIN, ruleset: { ...ruleset, masqueradeBit: 32 } } },
    {
      name: 'a base with bits of marks',
      value: { ...SET_CHAIN, ruleset: { ...ruleset, firewallMarkBase: 7 } },
    },
  ])('refuses $name', ({ value }) => {
    expect(() => parseNftablesOp(value)).toThrow(RangeError);
    expect(() => parseNftablesOp(value)).toThrow(/^Cannot read operation \w+: \w/);
  });
});
