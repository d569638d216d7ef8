import { compareText } from '../../model/rejected.ts';
import type { ChainName, Rule, RulesetOptions } from './rules.ts';
import type { SetName } from './sets.ts';
import { hex, ruleComment } from './text.ts';

/** A rule as it is compared: by the digest of its text, which the kernel keeps in the rule's comment. */
export interface RuleRow {
  readonly name: string;
  /** Of the rule's text; "" for a rule in our chain that is not ours. */
  readonly digest: string;
  /** null in observed rows: the kernel's listing is not read back, its comment tells. */
  readonly rule: Rule | null;
}

export interface ChainRow {
  /** As in the ruleset: `type filter hook input priority 150`, "" for a chain that others jump to. */
  readonly declaration: string;
  readonly rules: readonly RuleRow[];
}

export interface ElementRow {
  /** What a map gives for it; null in a set. */
  readonly mark: number | null;
  /** What it follows from: `Service web/front port http`; "" in observed rows. */
  readonly reason: string;
}

export interface SetRow {
  /** As in the ruleset: `type ipv4_addr . inet_proto . inet_service`. */
  readonly declaration: string;
  /** By canonical text: `10.0.0.1 . tcp . 80`, `10.96.0.0/16`. */
  readonly elements: ReadonlyMap<string, ElementRow>;
}

/** Our nftables table, observed or wanted. What else the ruleset has is never read. */
export interface NftablesRows {
  /** `svcplane` of family inet. */
  readonly table: string;
  readonly exists: boolean;
  /** Sets and chains by name; observed ones may have names that are none of ours. */
  readonly sets: ReadonlyMap<SetName | string, SetRow>;
  readonly chains: ReadonlyMap<ChainName | string, ChainRow>;
  /** What the table has besides, none of it ours: `flags`, `counter hits`, `set vips4: element …`; sorted. */
  readonly others: readonly string[];
  /** What the chains follow from; null in observed rows. */
  readonly ruleset: RulesetOptions | null;
}

/** No table. */
export function emptyRows(table: string): NftablesRows {
  return { table, exists: false, sets: new Map(), chains: new Map(), others: [], ruleset: null };
}

/** Stable text of the configuration in `rows`, without reasons: equal text, equal configuration. */
export function canonical({ table, exists, sets, chains, others }: NftablesRows): string {
  if (!exists) return `no table inet ${table}\n`;
  return [
    `table inet ${table}\n`,
    ...others.map((other) => `${other}\n`),
    ...sorted(chains).map(([name, { declaration, rules }]) =>
      [`chain ${name} ${declaration}\n`, ...rules.map((rule) => `${ruleComment(rule)}\n`)].join(''),
    ),
    ...sorted(sets).map(([name, { declaration, elements }]) =>
      [
        `set ${name} ${declaration}\n`,
        ...sorted(elements).map(([key, row]) => `${elementText(key, row)}\n`),
      ].join(''),
    ),
  ].join('');
}

/** The entries of a map, by name, in code unit order. */
export function sorted<Value>(map: ReadonlyMap<string, Value>): readonly (readonly [string, Value])[] {
  return [...map].sort(([a], [b]) => compareText(a, b));
}

/** As nft(8) writes it: `10.0.0.1 . tcp . 80`, in a map `10.0.0.1 . tcp . 80 : 0x53000001`. */
export function elementText(key: string, { mark }: Pick<ElementRow, 'mark'>): string {
  return mark === null ? key : `${key} : ${hex(mark)}`;
}
