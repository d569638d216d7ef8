/** A rule as iptables-save prints it. */
export interface SavedRule {
  readonly chain: string;
  /** What stands behind `-A CHAIN `: matches and target, quoted as they were. */
  readonly text: string;
  /** Chain or target that it jumps to; null for a rule that only counts. */
  readonly target: string | null;
}

export interface SavedTable {
  readonly name: string;
  /** Built-in ones, too. */
  readonly chains: readonly string[];
  /** Those of them whose policy is DROP. */
  readonly dropping: readonly string[];
  readonly rules: readonly SavedRule[];
}

/** Reads the output of iptables-save. What it does not know it passes over. */
export function parseIptablesSave(text: string): readonly SavedTable[] {
  const tables: (SavedTable & Record<'chains' | 'dropping', string[]> & { readonly rules: SavedRule[] })[] =
    [];
  for (const line of text.split('\n')) {
    const table = tables.at(-1);
    if (line.startsWith('*')) {
      tables.push({ name: line.slice(1).trim(), chains: [], dropping: [], rules: [] });
    } else if (line.startsWith(':')) {
      const [chain = '', policy] = line.slice(1).split(' ');
      table?.chains.push(chain);
      if (policy === 'DROP') table?.dropping.push(chain);
    } else if (line.startsWith('-A ')) table?.rules.push(parseRule(line));
  }
  return tables;
}

function parseRule(line: string): SavedRule {
  const [, chain = '', text = ''] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
  // A comment may say anything, `-j KUBE-SERVICES` included.
  const [, target = null] = /(?:^| )-[jg] (\S+)/.exec(text.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')) ?? [];
  return { chain, text, target };
}

/** Names of the ipsets that a rule matches. */
export function setsOf({ text }: SavedRule): readonly string[] {
  return [...text.matchAll(/--match-set (\S+)/g)].flatMap(([, name]) => name ?? []);
}

/** A set as ipset-save prints it. */
export interface SavedSet {
  readonly name: string;
  /** Without comments: `10.96.0.1,tcp:443`. */
  readonly entries: readonly string[];
}

/** Reads the output of ipset-save. What it does not know it passes over. */
export function parseIpsetSave(text: string): readonly SavedSet[] {
  const sets = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [verb, name, entry] = line.split(' ');
    if (name === undefined) continue;
    if (verb === 'create') sets.set(name, []);
    else if (verb === 'add' && entry !== undefined) sets.get(name)?.push(entry);
  }
  return [...sets].map(([name, entries]) => ({ name, entries }));
}
