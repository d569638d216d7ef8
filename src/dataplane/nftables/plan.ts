import type { Plan } from '../dataplane.ts';
import { overlapping, splitRange } from './keys.ts';
import { type NftablesOp, operation } from './ops.ts';
import { type ChainRow, type ElementRow, type NftablesRows, type SetRow, sorted } from './rows.ts';
import { CHAIN_NAMES, type RulesetOptions } from './rules.ts';
import { declarationOf, SET_NAMES, type SetName } from './sets.ts';
import { hex, isInterval } from './text.ts';

/**
 * From observed to wanted rows. Elements are added before IPVS and addresses follow, and deleted after they have:
 * a frontend is refused before its last real server goes and until its first one is there, and its sources are
 * restricted before its address is local. What an element added would overlap goes with it, in one transaction.
 */
export function planNftables(observed: NftablesRows, wanted: NftablesRows): Plan<NftablesOp> {
  if (!wanted.exists) return teardownNftables(observed, 'nothing is wanted');
  const { ops, emptied } = planTable(observed, wanted);
  const make: NftablesOp[] = [...ops];
  const unmake: NftablesOp[] = [];
  for (const set of SET_NAMES) {
    const changes = setChanges(emptied ? undefined : observed.sets.get(set), wanted.sets.get(set));
    const early = goneAtOnce(set, changes, wanted);
    const { table } = wanted;
    for (const key of changes.deleted) {
      const op = operation({ op: 'deleteElement', table, set, key }, 'no longer wanted');
      (early.has(key) ? make : unmake).push(op);
    }
    for (const [key, { mark, reason }] of changes.added) {
      make.push(operation({ op: 'addElement', table, set, key, mark }, reason));
    }
    for (const [key, { mark, reason }, before] of changes.changed) {
      if (mark === null) continue;
      make.push(
        operation(
          { op: 'setElement', table, set, key, mark },
          reason,
          `${before === null ? 'none' : hex(before)} → ${hex(mark)}`,
        ),
      );
    }
  }
  return { make, break: unmake, conflicts: [] };
}

/** The table is ours by name: it goes with all that is in it. */
export function teardownNftables({ exists, table }: NftablesRows, reason = 'clean-up'): Plan<NftablesOp> {
  return {
    make: [],
    break: exists ? [operation({ op: 'deleteTable', table }, reason)] : [],
    conflicts: [],
  };
}

interface TablePlan {
  readonly ops: readonly NftablesOp[];
  /** Whether the sets are without elements then. */
  readonly emptied: boolean;
}

function planTable(observed: NftablesRows, wanted: NftablesRows): TablePlan {
  const { table, ruleset } = wanted;
  const reason = 'the rules that Services need';
  const detail = `${wanted.chains.size} chains, ${wanted.sets.size} sets`;
  if (!observed.exists) {
    return {
      ops: [operation({ op: 'addTable', table, ruleset: known(ruleset) }, reason, detail)],
      emptied: true,
    };
  }
  const fault = faultOf(observed, wanted);
  if (fault !== undefined) {
    const op = operation({ op: 'setTable', table, ruleset: known(ruleset) }, fault, detail);
    return { ops: [op], emptied: true };
  }
  const ops = CHAIN_NAMES.flatMap((chain) => {
    const altered = alteredRules(observed.chains.get(chain), wanted.chains.get(chain));
    if (altered === undefined) return [];
    return operation({ op: 'setChain', table, chain, ruleset: known(ruleset) }, reason, altered);
  });
  return { ops, emptied: false };
}

function known(ruleset: RulesetOptions | null): RulesetOptions {
  if (ruleset === null) throw new RangeError('Cannot plan rules: observed rows are none that can be wanted');
  return ruleset;
}

/** The first thing that can't be set right within the table; undefined if there is none. */
function faultOf(observed: NftablesRows, wanted: NftablesRows): string | undefined {
  const other = observed.others.find((name) => !wanted.others.includes(name));
  if (other !== undefined) return `${other} is not ours`;
  return (
    declarationFault('chain', observed.chains, wanted.chains) ??
    declarationFault('set', observed.sets, wanted.sets)
  );
}

function declarationFault(
  kind: string,
  observed: ReadonlyMap<string, ChainRow | SetRow>,
  wanted: ReadonlyMap<string, ChainRow | SetRow>,
): string | undefined {
  const foreign = sorted(observed).find(([name]) => !wanted.has(name));
  if (foreign) return `${kind} ${foreign[0]} is not ours`;
  for (const [name, { declaration }] of sorted(wanted)) {
    const have = observed.get(name)?.declaration;
    if (have === undefined) return `${kind} ${name} is missing`;
    if (have !== declaration)
      return `${kind} ${name} is other than it should be: ${have || 'without a hook'}`;
  }
  return undefined;
}

/** What is wrong with the rules of a chain, in short; undefined if nothing is. */
function alteredRules(have: ChainRow | undefined, want: ChainRow | undefined): string | undefined {
  const [observed, wanted] = [have?.rules ?? [], want?.rules ?? []];
  const length = Math.max(observed.length, wanted.length);
  for (let i = 0; i < length; i++) {
    const [is, should] = [observed[i], wanted[i]];
    if (is?.name === should?.name && is?.digest === should?.digest) continue;
    return `${wanted.length} rules, other from rule ${i + 1} on`;
  }
  return undefined;
}

interface SetChanges {
  readonly deleted: readonly string[];
  readonly added: readonly (readonly [key: string, row: ElementRow])[];
  readonly changed: readonly (readonly [key: string, row: ElementRow, before: number | null])[];
}

function setChanges(have: SetRow | undefined, want: SetRow | undefined): SetChanges {
  const [observed, wanted] = [have?.elements ?? NONE, want?.elements ?? NONE];
  const deleted: string[] = [];
  for (const key of observed.keys()) if (!wanted.has(key)) deleted.push(key);
  const added = new Map<string, ElementRow>();
  const changed = new Map<string, readonly [ElementRow, number | null]>();
  for (const [key, row] of wanted) {
    const before = observed.get(key);
    if (!before) added.set(key, row);
    else if (before.mark !== row.mark) changed.set(key, [row, before.mark]);
  }
  return {
    deleted: deleted.sort(),
    added: sorted(added),
    changed: sorted(changed).map(([key, [row, before]]) => [key, row, before]),
  };
}

const NONE: ReadonlyMap<string, ElementRow> = new Map();

/** Elements that go in the transaction that adds others, not after everything is made. */
function goneAtOnce(set: SetName, { deleted, added }: SetChanges, wanted: NftablesRows): ReadonlySet<string> {
  if (!isInterval(declarationOf(set).key)) return new Set();
  if (set !== 'allowed4' && set !== 'allowed6') {
    return overlapping(
      deleted,
      added.map(([key]) => key),
    );
  }
  // A source is shut out at once, but never from a frontend that is itself about to go, for its connections drain.
  // So whatever overlaps a new range goes with it: nothing is allowed at a frontend that is not restricted.
  const restricted = wanted.sets.get(set === 'allowed4' ? 'restricted4' : 'restricted6')?.elements;
  return new Set(deleted.filter((key) => restricted?.has(frontendOf(key))));
}

function frontendOf(allowedKey: string): string {
  return splitRange(allowedKey)[0].replace(/ \. $/, '');
}
