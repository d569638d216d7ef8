/** The commands of nft(8) that svcplane writes, and no others. */
export type Command =
  | { readonly command: 'addTable' | 'deleteTable'; readonly table: string }
  | ({ readonly command: 'fillTable'; readonly table: string } & NewTable)
  | { readonly command: 'flushChain'; readonly table: string; readonly chain: string }
  | { readonly command: 'addRule'; readonly table: string; readonly chain: string; readonly comment: string }
  | ({ readonly command: 'addElements' } & SomeElements)
  | ({ readonly command: 'deleteElements' } & SomeElements);

export interface SomeElements {
  readonly table: string;
  readonly set: string;
  readonly elements: readonly (readonly [key: string, mark: number | null])[];
}

export interface NewTable {
  readonly sets: readonly { readonly name: string; readonly declaration: string }[];
  readonly chains: readonly {
    readonly name: string;
    readonly declaration: string;
    readonly comments: readonly string[];
  }[];
}

const NAME = '[A-Za-z_][A-Za-z0-9_-]*';
// A statement's own characters: nothing that could end it and begin another.
const RULE = '[A-Za-z0-9 .,:@!=|&{}"*_-]+ comment "([A-Za-z0-9 :-]+ #[0-9a-f]{8})"';

/** @throws Error at the first line that svcplane would not write */
export function parseCommands(text: string): readonly Command[] {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new Error('The last line does not end');
  const commands: Command[] = [];
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? '';
    const [, opened] = exec(`table inet (${NAME}) {`, line) ?? [];
    if (opened === undefined) {
      commands.push(parseLine(line));
      continue;
    }
    const end = lines.indexOf('}', i);
    commands.push({ command: 'fillTable', table: opened, ...parseTable(lines.slice(i + 1, end)) });
    i = end;
  }
  return commands;
}

function parseLine(line: string): Command {
  const [, tableVerb, table] = exec(`(add|delete) table inet (${NAME})`, line) ?? [];
  if (table !== undefined) return { command: tableVerb === 'add' ? 'addTable' : 'deleteTable', table };
  const [, flushed, flushedChain] = exec(`flush chain inet (${NAME}) (${NAME})`, line) ?? [];
  if (flushed !== undefined && flushedChain !== undefined) {
    return { command: 'flushChain', table: flushed, chain: flushedChain };
  }
  const [, ruleTable, chain, comment] = exec(`add rule inet (${NAME}) (${NAME}) ${RULE}`, line) ?? [];
  if (ruleTable !== undefined && chain !== undefined && comment !== undefined) {
    return { command: 'addRule', table: ruleTable, chain, comment };
  }
  const [, verb, of, set, elements] =
    exec(`(add|delete) element inet (${NAME}) (${NAME}) { (.*) }`, line) ?? [];
  if (of === undefined || set === undefined || elements === undefined)
    throw new Error(`No command of ours: ${line}`);
  return {
    command: verb === 'add' ? 'addElements' : 'deleteElements',
    table: of,
    set,
    elements: elements.split(', ').map(parseElement),
  };
}

function parseElement(text: string): readonly [string, number | null] {
  const [, key, mark] =
    exec(String.raw`([0-9a-f.:/]+(?: \. [0-9a-z.:/]+)*)(?: : 0x([0-9a-f]{8}))?`, text) ?? [];
  if (key === undefined) throw new Error(`No element of ours: ${text}`);
  return [key, mark === undefined ? null : Number.parseInt(mark, 16)];
}

function parseTable(lines: readonly string[]): NewTable {
  const sets: { name: string; declaration: string }[] = [];
  const chains: { name: string; declaration: string; comments: string[] }[] = [];
  let open = false;
  for (const line of lines) {
    const chain = chains.at(-1);
    const [, set, type, flags = ''] =
      exec(`  (?:set|map) (${NAME}) { (type [a-z0-9_ .:]+)(?:;( flags interval))?; }`, line) ?? [];
    const [, hook] = exec(String.raw`    (type \w+ hook \w+ priority -?\d+); policy accept;`, line) ?? [];
    const [, comment] = exec(`    ${RULE}`, line) ?? [];
    const [, name] = exec(`  chain (${NAME}) {`, line) ?? [];
    if (set !== undefined && type !== undefined && !open)
      sets.push({ name: set, declaration: `${type}${flags}` });
    else if (name !== undefined && !open) {
      chains.push({ name, declaration: '', comments: [] });
      open = true;
    } else if (hook !== undefined && open && chain && chain.comments.length === 0) chain.declaration = hook;
    else if (comment !== undefined && open) chain?.comments.push(comment);
    else if (line === '  }' && open) open = false;
    else throw new Error(`No line of a table of ours: ${line}`);
  }
  return { sets, chains };
}

function exec(pattern: string, line: string): RegExpExecArray | null {
  return new RegExp(`^${pattern}$`).exec(line);
}
