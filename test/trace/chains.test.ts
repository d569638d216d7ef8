import { describe, expect, it } from 'vitest';
import { emptyRows as noAddresses } from '../../src/dataplane/addresses/rows.ts';
import { EMPTY_ROWS } from '../../src/dataplane/ipvs/rows.ts';
import type { ChainRow, NftablesRows } from '../../src/dataplane/nftables/rows.ts';
import { emptyRows } from '../../src/dataplane/nftables/rows.ts';
import type { Match, Rule, Verdict } from '../../src/dataplane/nftables/rules.ts';
import { type Trace, trace } from '../../src/trace/trace.ts';
import { address, connectionOf } from './build.ts';

const MARKS = { masqueradeBit: 27, firewallMarkBase: 0x53000000 };

interface ChainShape {
  readonly hook?: string;
  readonly rules: readonly (Pick<Rule, 'name' | 'verdict'> & { readonly matches?: readonly Match[] })[];
}

function chainsOf(shapes: Readonly<Record<string, ChainShape>>): NftablesRows {
  const chains = Object.entries(shapes).map(([name, { hook = '', rules }]): [string, ChainRow] => [
    name,
    {
      declaration: hook,
      rules: rules.map(({ matches = [], ...rest }) => ({
        name: rest.name,
        digest: '',
        rule: { ...rest, family: null, matches },
      })),
    },
  ]);
  return { ...emptyRows('t'), exists: true, chains: new Map(chains) };
}

function traceOf(nftables: NftablesRows, connection = 'TCP 192.0.2.7 -> 172.16.0.5:80'): Trace {
  const nodeAddresses = [address('172.16.0.5')];
  const rows = {
    nftables,
    ipvs: EMPTY_ROWS,
    addresses: noAddresses('d0'),
    nodeAddresses,
    markOptions: MARKS,
  };
  return trace(rows, connectionOf(connection));
}

const INPUT = 'type filter hook input priority 0';
const drop = (name: string) => ({ name, verdict: { verdict: 'drop' } }) as const;
const accept = (name: string) => ({ name, verdict: { verdict: 'accept' } }) as const;

describe('chainWalker()', () => {
  it('comes back from a jump, and not from a goto', () => {
    const other = { rules: [] };
    const jump = { name: 'jump', verdict: { verdict: 'jump', chain: 'refuse' } } as const;
    const goTo = { name: 'goto', verdict: { verdict: 'goto', chain: 'refuse' } } as const;
    const with_ = (first: ChainShape['rules'][number]) =>
      traceOf(chainsOf({ input: { hook: INPUT, rules: [first, drop('after')] }, refuse: other })).verdict;
    expect(with_(jump)).toBe('dropped');
    expect(with_(goTo)).toBe('delivered');
  });

  it('names the rule that went where it ended, and the last one where it jumped', () => {
    const ended = (verdict: 'jump' | 'goto') =>
      traceOf(
        chainsOf({
          input: { hook: INPUT, rules: [{ name: 'first', verdict: { verdict, chain: 'refuse' } }] },
          refuse: { rules: [drop('second')] },
        }),
      ).by;
    expect(ended('goto')).toBe('first');
    expect(ended('jump')).toBe('second');
  });

  it('an accept ends its chain alone', () => {
    const later = { hook: 'type filter hook input priority 150', rules: [drop('later')] };
    const nftables = chainsOf({ later, input: { hook: INPUT, rules: [accept('first'), drop('never')] } });
    expect(traceOf(nftables).by).toBe('later');
  });

  it('passes chains in the order of their priorities, nat chains together', () => {
    const dnat = { name: 'nat', verdict: { verdict: 'keepDestination' } } as const;
    const nat = (priority: number) => `type nat hook prerouting priority ${priority}`;
    const filter = { hook: 'type filter hook prerouting priority -99', rules: [accept('filter')] };
    const { steps } = traceOf(
      chainsOf({
        c: { hook: nat(-98), rules: [{ ...dnat, name: 'later nat' }] },
        b: filter,
        a: { hook: nat(-101), rules: [dnat] },
      }),
    );
    expect(steps.filter((step) => step.startsWith('chain')).map((step) => step.split('"')[1])).toEqual([
      'nat',
      'filter',
    ]);
  });

  it('runs nat chains of prerouting once, filter chains again on the loopback link', () => {
    const bit = { name: 'filter', verdict: { verdict: 'setMasqueradeBit' } } as const;
    const nat = { name: 'nat', verdict: { verdict: 'keepDestination' } } as const;
    const { steps } = traceOf(
      chainsOf({
        filter: { hook: 'type filter hook prerouting priority -150', rules: [bit] },
        nat: { hook: 'type nat hook prerouting priority -100', rules: [nat] },
      }),
      'host TCP 172.16.0.5 -> 172.16.0.5:80',
    );
    expect(steps.filter((step) => step.startsWith('chain'))).toEqual([
      'chain filter: rule "filter" marks the connection for masquerade',
    ]);
  });

  it.each<{ name: string; nftables: NftablesRows; error: string }>([
    {
      name: 'a verdict',
      nftables: chainsOf({
        input: { hook: INPUT, rules: [{ name: 'x', verdict: odd({ verdict: 'queue' }) }] },
      }),
      error: 'Unreachable variant',
    },
    {
      name: 'a match',
      nftables: chainsOf({
        input: { hook: INPUT, rules: [{ ...drop('x'), matches: [odd({ match: 'odd' })] }] },
      }),
      error: 'Unreachable variant',
    },
    {
      name: 'a hook',
      nftables: chainsOf({ f: { hook: 'type filter hook ingress priority 0', rules: [] } }),
      error: 'chain f is declared as type filter hook ingress priority 0',
    },
    {
      name: 'a chain',
      nftables: chainsOf({
        input: { hook: INPUT, rules: [{ name: 'x', verdict: { verdict: 'jump', chain: 'refuse' } }] },
      }),
      error: 'the table has no chain refuse',
    },
    {
      name: 'an observed rule',
      nftables: {
        ...emptyRows('t'),
        chains: new Map([['i', { declaration: INPUT, rules: [{ name: 'x', digest: '', rule: null }] }]]),
      },
      error: 'what rule "x" of chain i does is not known',
    },
  ])('throws on $name that it does not know', ({ nftables, error }) => {
    expect(() => traceOf(nftables)).toThrow(error);
  });
});

/** A variant of the future. */
function odd<T extends Match | Verdict>(variant: object): T {
  return structuredClone(variant) as T;
}

describe('trace()', () => {
  it.each([
    {
      connection: connectionOf('TCP 192.0.2.7 -> 172.16.0.5:80'),
      changes: { port: 0 },
      error: /ports are 1 to/,
    },
    {
      connection: connectionOf('TCP 192.0.2.7 -> 172.16.0.5:80'),
      changes: { source: address('2001:db8::7') },
      error: /not of one family/,
    },
  ])('throws on a connection that cannot be: $error', ({ connection, changes, error }) => {
    const rows = {
      nftables: emptyRows('t'),
      ipvs: EMPTY_ROWS,
      addresses: noAddresses('d0'),
      nodeAddresses: [],
      markOptions: MARKS,
    };
    expect(() => trace(rows, { ...connection, ...changes })).toThrow(error);
  });
});
