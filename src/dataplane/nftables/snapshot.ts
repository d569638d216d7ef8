import type { Snapshot, SnapshotNftables } from '../../snapshot/snapshot.ts';
import { emptySets } from './project.ts';
import {
  type ChainRow,
  type ElementRow,
  elementText,
  emptyRows,
  type NftablesRows,
  type SetRow,
  sorted,
} from './rows.ts';
import { isSetName } from './sets.ts';
import { parseRuleComment, ruleComment } from './text.ts';

/** What of a snapshot this dataplane has. */
export type NftablesOfSnapshot = Pick<Snapshot, 'nftables'>;

/** The table as a snapshot has it; one without chains and sets where there is none. */
export function toSnapshot({ table, exists, chains, sets, others }: NftablesRows): {
  readonly nftables: SnapshotNftables;
} {
  if (!exists) return { nftables: { table, chains: [], sets: [] } };
  const standard = emptySets();
  return {
    nftables: {
      table,
      chains: sorted(chains).map(([name, { declaration, rules }]) => {
        const texts = rules.map((rule) => (rule.digest === '' ? rule.name : ruleComment(rule)));
        return { name, declaration, rules: texts };
      }),
      sets: sorted(sets).flatMap(([name, { declaration, elements }]) => {
        const isStandard = isSetName(name) && standard.get(name)?.declaration === declaration;
        if (isStandard && elements.size === 0) return [];
        const texts = sorted(elements).map(([key, row]) => elementText(key, row));
        return { name, ...(!isStandard && { declaration }), elements: texts };
      }),
      ...(others.length > 0 && { others }),
    },
  };
}

/**
 * The rows that a snapshot records. One that does not tell counts as `wanted`, so that a plan against it changes
 * nothing it can't see.
 */
export function fromSnapshot({ nftables }: NftablesOfSnapshot, wanted: NftablesRows): NftablesRows {
  if (nftables === undefined) return wanted;
  const { table, chains, sets, others = [] } = nftables;
  const exists = chains.length + sets.length + others.length > 0;
  if (!exists || table !== wanted.table) return emptyRows(wanted.table);
  const rows = new Map<string, SetRow>(emptySets());
  for (const { name, declaration, elements } of sets) {
    const row = rows.get(name);
    rows.set(name, {
      declaration: declaration ?? row?.declaration ?? '',
      elements: new Map(elements.map(elementRow)),
    });
  }
  return { table, exists, sets: rows, chains: new Map(chains.map(chainRow)), others, ruleset: null };
}

function chainRow({ name, declaration, rules }: SnapshotNftables['chains'][number]): [string, ChainRow] {
  const rows = rules.map((text) => ({
    ...(parseRuleComment(text) ?? { name: text, digest: '' }),
    rule: null,
  }));
  return [name, { declaration, rules: rows }];
}

function elementRow(text: string): [string, ElementRow] {
  const [key = '', mark] = text.split(' : ');
  return [key, { mark: mark === undefined ? null : Number(mark), reason: '' }];
}
