import { type Executors, execute } from '../dataplane.ts';
import type { NftablesOp, NftablesOps } from './ops.ts';
import { elementText } from './rows.ts';
import type { Chain, RulesetOptions } from './rules.ts';
import { ruleset } from './ruleset.ts';
import { declarationOf, SET_NAMES } from './sets.ts';
import { declarationText, hookText, ruleComment, ruleDigest, ruleText } from './text.ts';

/**
 * The operations as commands of nft(8): one text, for one transaction. Elements are gathered into one command for each
 * set, and go before others come, for the kernel refuses ranges that overlap at any moment.
 */
export function transactionText(ops: readonly NftablesOp[]): string {
  const commands: Commands = { tables: [], deleted: new Map(), added: new Map() };
  const writers = writersTo(commands);
  for (const op of ops) execute<NftablesOps, keyof NftablesOps, void>(writers, op);
  const elements = (verb: string, gathered: Gathered) =>
    [...gathered].map(([set, texts]) => `${verb} element inet ${set} { ${texts.join(', ')} }\n`);
  return [
    ...commands.tables,
    ...elements('delete', commands.deleted),
    ...elements('add', commands.added),
  ].join('');
}

/** The table with its chains and rules, and its sets without elements. What there was is gone with the same text. */
export function tableText(table: string, options: RulesetOptions): string {
  const sets = SET_NAMES.map((name) => {
    const declaration = declarationOf(name);
    const kind = declaration.value === null ? 'set' : 'map';
    return `  ${kind} ${name} { ${declarationText(declaration).replace(' flags', '; flags')}; }\n`;
  });
  const chains = ruleset(options).map((chain) => {
    const hook = chain.hook === null ? '' : `    ${hookText(chain.hook)}; policy accept;\n`;
    const rules = rulesOf(chain, options).map((rule) => `    ${rule}\n`);
    return `  chain ${chain.name} {\n${hook}${rules.join('')}  }\n`;
  });
  return [
    // What can't be deleted must be there first.
    `add table inet ${table}\n`,
    `delete table inet ${table}\n`,
    `table inet ${table} {\n${sets.join('')}${chains.join('')}}\n`,
  ].join('');
}

/** Elements by table and set. */
type Gathered = Map<string, string[]>;

interface Commands {
  readonly tables: string[];
  readonly deleted: Gathered;
  readonly added: Gathered;
}

function writersTo({ tables, deleted, added }: Commands): Executors<NftablesOps, void> {
  const build = ({ table, ruleset: options }: { table: string; ruleset: RulesetOptions }) =>
    tables.push(tableText(table, options));
  return {
    addTable: build,
    setTable: build,
    setChain: ({ table, chain: name, ruleset: options }) => {
      tables.push(`flush chain inet ${table} ${name}\n`);
      for (const chain of ruleset(options).filter((other) => other.name === name)) {
        for (const rule of rulesOf(chain, options)) tables.push(`add rule inet ${table} ${name} ${rule}\n`);
      }
    },
    addElement: ({ table, set, key, mark }) => gather(added, `${table} ${set}`, elementText(key, { mark })),
    setElement: ({ table, set, key, mark }) => {
      gather(deleted, `${table} ${set}`, key);
      gather(added, `${table} ${set}`, elementText(key, { mark }));
    },
    deleteElement: ({ table, set, key }) => gather(deleted, `${table} ${set}`, key),
    deleteTable: ({ table }) => tables.push(`delete table inet ${table}\n`),
  };
}

function gather(gathered: Gathered, set: string, text: string): void {
  const texts = gathered.get(set);
  if (texts) texts.push(text);
  else gathered.set(set, [text]);
}

function rulesOf(chain: Chain, options: RulesetOptions): readonly string[] {
  return chain.rules.map((rule) => {
    const text = ruleText(rule, options);
    return `${text} comment "${ruleComment({ name: rule.name, digest: ruleDigest(text) })}"`;
  });
}
