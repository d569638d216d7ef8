import * as v from 'valibot';
import { NftablesError } from './client.ts';
import type { NftablesKernel } from './kernel.ts';
import { observedElements } from './listed-elements.ts';
import { type ChainRow, emptyRows, type NftablesRows, type RuleRow, type SetRow } from './rows.ts';
import { parseRuleComment } from './text.ts';

/**
 * Reads our table.
 * @throws NftablesError if the kernel has no nf_tables, or the caller may not read it
 */
export async function observeNftables(
  kernel: Pick<NftablesKernel, 'list'>,
  table: string,
  signal: AbortSignal,
): Promise<NftablesRows> {
  try {
    const listing = await kernel.list(table, signal);
    return listing === undefined ? emptyRows(table) : rowsFromListing(listing, table);
  } catch (error) {
    // nft 1.0.6 has no listing of a table with flags, which ours has not: it is made anew, unless somebody owns it.
    if (!(error instanceof NftablesError && error.code === 'unknown')) throw error;
    return {
      ...emptyRows(table),
      exists: true,
      others: ['a table that libnftables can not list, as one with flags'],
    };
  }
}

/**
 * The rows that a listing of the table shows. What this version can't read there is none of ours: it is named in
 * `others`, and a plan makes the table anew.
 * @see libnftables-json(5)
 */
export function rowsFromListing(listing: unknown, table: string): NftablesRows {
  const sets = new Map<string, SetRow>();
  const chains = new Map<string, ChainRow & { readonly rules: RuleRow[] }>();
  const others: string[] = [];
  for (const [kind, object] of objectsOf(listing)) {
    const { name } = object;
    if (kind === 'metainfo') continue;
    if (kind === 'table') {
      // Their values are not read: nft 1.0.6 prints arbitrary memory there.
      if (object.flags !== undefined) others.push('flags');
    } else if ((kind === 'set' || kind === 'map') && typeof name === 'string') {
      const { elements, unreadable } = observedElements(name, object.elem ?? []);
      sets.set(name, { declaration: declarationOfSet(object), elements });
      if (unreadable !== undefined) others.push(`set ${name}: element ${unreadable}`);
    } else if (kind === 'chain' && typeof name === 'string') {
      chains.set(name, { declaration: hookOf(object), rules: [] });
    } else if (kind === 'rule' && typeof object.chain === 'string') {
      chains.get(object.chain)?.rules.push(ruleRow(object.comment));
    } else others.push(`${kind} ${typeof name === 'string' ? name : ''}`.trim());
  }
  return { table, exists: true, sets, chains, others: others.sort(), ruleset: null };
}

type ListedObject = Readonly<Record<string, unknown>>;

const LISTING = v.object({ nftables: v.array(v.record(v.string(), v.record(v.string(), v.unknown()))) });

function objectsOf(listing: unknown): readonly (readonly [kind: string, object: ListedObject])[] {
  return v.parse(LISTING, listing).nftables.flatMap((entry) => Object.entries(entry));
}

function ruleRow(comment: unknown): RuleRow {
  const ours = parseRuleComment(comment);
  if (ours) return { ...ours, rule: null };
  return { name: typeof comment === 'string' ? comment : 'without a comment', digest: '', rule: null };
}

function hookOf({ type, hook, prio, policy, dev }: ListedObject): string {
  if (type === undefined) return '';
  const text = `type ${type} hook ${hook} priority ${prio}`;
  return `${text}${policy === 'accept' ? '' : ` policy ${policy}`}${dev === undefined ? '' : ` device ${dev}`}`;
}

/** As declarationText() writes ours; whatever else was said makes another text. */
function declarationOfSet({ type, map, flags, ...rest }: ListedObject): string {
  const further = SET_ATTRIBUTES.filter((name) => rest[name] !== undefined);
  return [
    `type ${[type].flat().join(' . ')}${map === undefined ? '' : ` : ${map}`}`,
    ...(flags === undefined ? [] : [`flags ${[flags].flat().join(',')}`]),
    ...further.map((name) => `${name} ${JSON.stringify(rest[name])}`),
  ].join(' ');
}

const SET_ATTRIBUTES = ['policy', 'timeout', 'gc-interval', 'size', 'stmt', 'auto-merge'];
