import { type Executors, execute } from '../dataplane.ts';
import type { NftablesOp, NftablesOps } from './ops.ts';
import { chainRows, emptySets } from './project.ts';
import { type ElementRow, emptyRows, type NftablesRows, type SetRow } from './rows.ts';
import type { RulesetOptions } from './rules.ts';

/** The rows after the kernel has acknowledged `ops`, in order. */
export function reduceNftables(rows: NftablesRows, ops: readonly NftablesOp[]): NftablesRows {
  if (ops.length === 0) return rows;
  const draft: Draft = { rows, copied: new Map() };
  const effects = effectsOn(draft);
  for (const op of ops) execute<NftablesOps, keyof NftablesOps, void>(effects, op);
  return draft.rows;
}

interface Draft {
  rows: NftablesRows;
  /** Elements that this draft may change: those of the sets it has copied. */
  copied: Map<string, Map<string, ElementRow>>;
}

function effectsOn(draft: Draft): Executors<NftablesOps, void> {
  const replace = (rows: NftablesRows): void => {
    draft.rows = rows;
    draft.copied = new Map();
  };
  const build = ({ table, ruleset }: { table: string; ruleset: RulesetOptions }): void =>
    replace({ table, exists: true, sets: emptySets(), chains: chainRows(ruleset), others: [], ruleset });
  return {
    addTable: build,
    setTable: build,
    setChain: ({ chain, ruleset }) => {
      const chains = new Map(draft.rows.chains);
      const wanted = chainRows(ruleset).get(chain);
      if (wanted)
        chains.set(chain, { ...wanted, declaration: chains.get(chain)?.declaration ?? wanted.declaration });
      draft.rows = { ...draft.rows, chains };
    },
    addElement: ({ set, key, mark, reason }) => elementsOf(draft, set).set(key, { mark, reason }),
    setElement: ({ set, key, mark, reason }) => elementsOf(draft, set).set(key, { mark, reason }),
    deleteElement: ({ set, key }) => elementsOf(draft, set).delete(key),
    deleteTable: ({ table }) => replace(emptyRows(table)),
  };
}

function elementsOf(draft: Draft, set: string): Map<string, ElementRow> {
  const known = draft.copied.get(set);
  if (known) return known;
  const before: SetRow = draft.rows.sets.get(set) ?? { declaration: '', elements: new Map() };
  const elements = new Map(before.elements);
  draft.copied.set(set, elements);
  draft.rows = { ...draft.rows, sets: new Map(draft.rows.sets).set(set, { ...before, elements }) };
  return elements;
}
