import { emptyRows, type NftablesRows } from '../../../src/dataplane/nftables/rows.ts';
import { tableWith } from './build.ts';

/** Observed and wanted rows, and the plan between them, one `op subject: detail` a line. */
export interface PlanCase {
  readonly name: string;
  readonly observed: NftablesRows;
  readonly wanted: NftablesRows;
  readonly make?: readonly string[];
  readonly break?: readonly string[];
}

const TABLE = 'svcplane';
const FRONTEND = '203.0.113.9 . tcp . 80';
const OTHER = '203.0.113.9 . tcp . 443';
const EMPTY = tableWith({});
const CONTENT = `${EMPTY.chains.size} chains, ${EMPTY.sets.size} sets`;

function altered(change: Partial<NftablesRows>): NftablesRows {
  return { ...EMPTY, ...change, ruleset: null };
}

/** The table is made anew because of one thing in it. */
function rebuilt(name: string, change: Partial<NftablesRows>): PlanCase {
  return {
    name: `makes the table anew, its elements too, where ${name}`,
    observed: altered(change),
    wanted: tableWith({ vips4: ['203.0.113.9'] }),
    make: [`setTable nft table inet svcplane: ${CONTENT}`, 'addElement nft vips4 203.0.113.9'],
  };
}

const input = EMPTY.chains.get('input');
const vips = EMPTY.sets.get('vips4');

export const PLAN_CASES: readonly PlanCase[] = [
  {
    name: 'adds the table, then its elements by set and key',
    observed: emptyRows(TABLE),
    wanted: tableWith({
      vips4: ['203.0.113.9', '203.0.113.10'],
      'inside-marks4': [`${FRONTEND} : 0x53000001`],
      'cluster-ips6': ['fd00::/112'],
    }),
    make: [
      `addTable nft table inet svcplane: ${CONTENT}`,
      'addElement nft cluster-ips6 fd00::/112',
      'addElement nft vips4 203.0.113.10',
      'addElement nft vips4 203.0.113.9',
      `addElement nft inside-marks4 ${FRONTEND} : 0x53000001`,
    ],
  },
  {
    name: 'deletes elements when everything is made',
    observed: tableWith({ masquerade4: [FRONTEND], empty4: [FRONTEND] }),
    wanted: tableWith({ masquerade4: [OTHER] }),
    make: [`addElement nft masquerade4 ${OTHER}`],
    break: [`deleteElement nft masquerade4 ${FRONTEND}`, `deleteElement nft empty4 ${FRONTEND}`],
  },
  {
    name: 'changes a mark in place',
    observed: tableWith({ 'inside-marks4': [`${FRONTEND} : 0x53000001`] }),
    wanted: tableWith({ 'inside-marks4': [`${FRONTEND} : 0x53000002`] }),
    make: [`setElement nft inside-marks4 ${FRONTEND}: 0x53000001 → 0x53000002`],
  },
  {
    name: 'replaces ranges by one around them at once, and leaves the others for later',
    observed: tableWith({ pods4: ['10.244.1.0/24', '10.244.2.7', '192.0.2.0/24'] }),
    wanted: tableWith({ pods4: ['10.244.0.0/16'] }),
    make: [
      'deleteElement nft pods4 10.244.1.0/24',
      'deleteElement nft pods4 10.244.2.7',
      'addElement nft pods4 10.244.0.0/16',
    ],
    break: ['deleteElement nft pods4 192.0.2.0/24'],
  },
  {
    name: 'replaces a range by some within it at once',
    observed: tableWith({ 'cluster-ips6': ['::/0'] }),
    wanted: tableWith({ 'cluster-ips6': ['fd00::/112', 'fd00:1::5'] }),
    make: [
      'deleteElement nft cluster-ips6 ::/0',
      'addElement nft cluster-ips6 fd00:1::5',
      'addElement nft cluster-ips6 fd00::/112',
    ],
  },
  {
    name: 'takes ranges of different frontends for what they are',
    observed: tableWith({ restricted4: [FRONTEND], allowed4: [`${FRONTEND} . 10.0.0.0/8`] }),
    wanted: tableWith({
      restricted4: [FRONTEND, OTHER],
      allowed4: [`${FRONTEND} . 10.0.0.0/8`, `${OTHER} . 10.1.0.0/16`],
    }),
    make: [`addElement nft restricted4 ${OTHER}`, `addElement nft allowed4 ${OTHER} . 10.1.0.0/16`],
  },
  {
    name: 'shuts a source out at once, but not while the frontend itself is about to go',
    observed: tableWith({
      restricted4: [FRONTEND, OTHER],
      allowed4: [`${FRONTEND} . 10.0.0.0/8`, `${FRONTEND} . 192.0.2.7`, `${OTHER} . 192.0.2.7`],
    }),
    wanted: tableWith({ restricted4: [FRONTEND], allowed4: [`${FRONTEND} . 10.0.0.0/8`] }),
    make: [`deleteElement nft allowed4 ${FRONTEND} . 192.0.2.7`],
    break: [`deleteElement nft restricted4 ${OTHER}`, `deleteElement nft allowed4 ${OTHER} . 192.0.2.7`],
  },
  {
    name: 'sets the rules of a chain that lacks one, has one of another or has them in another order',
    observed: altered({
      chains: new Map(EMPTY.chains)
        .set('input', { declaration: input?.declaration ?? '', rules: input?.rules.slice(1) ?? [] })
        .set('refuse', { declaration: '', rules: [{ name: 'theirs', digest: '', rule: null }] }),
    }),
    wanted: EMPTY,
    make: [
      'setChain nft chain inet svcplane refuse: 2 rules, other from rule 1 on',
      'setChain nft chain inet svcplane input: 3 rules, other from rule 1 on',
    ],
  },
  {
    name: 'sets the chains that other options change',
    observed: EMPTY,
    wanted: tableWith({}, { masqueradeBit: 3 }),
    make: [
      'setChain nft chain inet svcplane prerouting: 4 rules, other from rule 2 on',
      'setChain nft chain inet svcplane output: 11 rules, other from rule 4 on',
      'setChain nft chain inet svcplane postrouting: 3 rules, other from rule 3 on',
    ],
  },
  rebuilt('it has a set of another', {
    sets: new Map(EMPTY.sets).set('theirs', { declaration: 'type mark', elements: new Map() }),
  }),
  rebuilt('a set is missing', { sets: new Map([...EMPTY.sets].filter(([name]) => name !== 'vips4')) }),
  rebuilt('a set is declared otherwise', {
    sets: new Map(EMPTY.sets).set('vips4', {
      declaration: `${vips?.declaration} timeout 5`,
      elements: new Map([['203.0.113.9', { mark: null, reason: '' }]]),
    }),
  }),
  rebuilt('it has a chain of another', {
    chains: new Map(EMPTY.chains).set('theirs', { declaration: '', rules: [] }),
  }),
  rebuilt('a chain drops by policy', {
    chains: new Map(EMPTY.chains).set('input', {
      declaration: `${input?.declaration} policy drop`,
      rules: input?.rules ?? [],
    }),
  }),
  rebuilt('it has anything else', { others: ['counter hits'] }),
];

export const TEARDOWN_CASES: readonly PlanCase[] = [
  {
    name: 'deletes the table with all that is in it',
    observed: altered({ others: ['counter hits'] }),
    wanted: emptyRows(TABLE),
    break: ['deleteTable nft table inet svcplane'],
  },
  { name: 'has nothing to do without a table', observed: emptyRows(TABLE), wanted: emptyRows(TABLE) },
];
