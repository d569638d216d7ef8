import type { NftablesKernel, NftOutcome } from '../../src/dataplane/nftables/kernel.ts';
import { addressBytes, parseIpAddress } from '../../src/model/address.ts';
import { type Command, type NewTable, parseCommands, type SomeElements } from './nftables-commands.ts';

interface Table {
  readonly sets: Map<string, { readonly declaration: string; readonly elements: Map<string, number | null> }>;
  readonly chains: Map<string, { readonly declaration: string; rules: string[] }>;
}

/** A command the kernel says no to; nothing of its transaction is done. */
class Refusal extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * An nftables with the tables of one namespace. It takes the commands that svcplane writes, and no others: a
 * transaction is done whole or not at all, a chain or set must be there, what is deleted must be there, and no two
 * elements of an interval set may overlap.
 */
export class FakeNftablesKernel implements NftablesKernel {
  #tables = new Map<string, Table>();
  /** Transactions that were executed. */
  writes = 0;
  /** Whom the table belongs to, if it has an owner: then nobody else may change it. */
  owned = false;
  /** Asked before each transaction; an answer takes its place. */
  faults: (() => NftOutcome | undefined) | undefined;

  /** One more for each transaction, even one that says what is so already. */
  generation(): number {
    return this.writes + 1;
  }

  async list(table: string, signal: AbortSignal): Promise<unknown | undefined> {
    signal.throwIfAborted();
    const found = this.#tables.get(table);
    return found && JSON.parse(JSON.stringify(listing(table, found)));
  }

  async run(commands: string, signal: AbortSignal): Promise<NftOutcome> {
    signal.throwIfAborted();
    const fault = this.faults?.();
    if (fault) return fault;
    if (this.owned) return { outcome: 'refused', code: 'EPERM', message: 'Operation not permitted' };
    const draft = structuredClone(this.#tables);
    try {
      for (const command of parseCommands(commands)) execute(draft, command);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { outcome: 'refused', code: error.code, message: error.message };
    }
    this.#tables = draft;
    this.writes++;
    return { outcome: 'ok' };
  }
}

function execute(tables: Map<string, Table>, command: Command): void {
  switch (command.command) {
    case 'addTable':
      addTable(tables, command.table);
      return;
    case 'deleteTable':
      if (!tables.delete(command.table)) throw new Refusal('ENOENT', `no table ${command.table}`);
      return;
    case 'fillTable':
      fill(addTable(tables, command.table), command);
      return;
    case 'flushChain':
      chainOf(tables, command).rules = [];
      return;
    case 'addRule':
      chainOf(tables, command).rules.push(command.comment);
      return;
    case 'addElements':
      addElements(tables, command);
      return;
    case 'deleteElements':
      for (const [key] of command.elements) {
        if (!setOf(tables, command).elements.delete(key)) throw new Refusal('ENOENT', `no element ${key}`);
      }
  }
}

function addTable(tables: Map<string, Table>, name: string): Table {
  const table = tables.get(name) ?? { sets: new Map(), chains: new Map() };
  tables.set(name, table);
  return table;
}

/** As if by hand: adds to what is there. */
function fill(table: Table, { sets, chains }: NewTable): void {
  for (const { name, declaration } of sets) {
    const elements = table.sets.get(name)?.elements ?? new Map<string, number | null>();
    table.sets.set(name, { declaration, elements });
  }
  for (const { name, declaration, comments } of chains) {
    const rules = [...(table.chains.get(name)?.rules ?? []), ...comments];
    table.chains.set(name, { declaration, rules });
  }
}

function addElements(tables: Map<string, Table>, command: SomeElements): void {
  const { declaration, elements } = setOf(tables, command);
  for (const [key, value] of command.elements) {
    const before = elements.get(key);
    if (before !== undefined && before !== value)
      throw new Refusal('EEXIST', `${key} is there with ${before}`);
    elements.set(key, value);
  }
  if (declaration.includes('interval')) refuseOverlaps([...elements.keys()].map(intervalOf));
}

interface Interval {
  /** What stands before the range. */
  readonly fixed: string;
  readonly first: bigint;
  readonly last: bigint;
  readonly key: string;
}

function intervalOf(key: string): Interval {
  const [, fixed = '', network, length] = /^(.* \. )?([^/ ]+)(?:\/(\d+))?$/.exec(key) ?? [];
  const address = parseIpAddress(network);
  if (!address) throw new Error(`No range of ours: ${key}`);
  const bytes = addressBytes(address);
  const first = bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const hostBits = 8 * bytes.length - Number(length ?? 8 * bytes.length);
  return { fixed, first, last: first + 2n ** BigInt(hostBits) - 1n, key };
}

function refuseOverlaps(intervals: Interval[]): void {
  const inOrder = (a: Interval, b: Interval) =>
    a.fixed < b.fixed || (a.fixed === b.fixed && a.first < b.first) ? -1 : 1;
  const sorted = intervals.sort(inOrder);
  for (const [i, interval] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next && next.fixed === interval.fixed && next.first <= interval.last) {
      throw new Refusal('EEXIST', `${next.key} overlaps ${interval.key}`);
    }
  }
}

function tableOf(tables: Map<string, Table>, name: string): Table {
  const table = tables.get(name);
  if (!table) throw new Refusal('ENOENT', `no table ${name}`);
  return table;
}

function setOf(tables: Map<string, Table>, { table, set }: { readonly table: string; readonly set: string }) {
  const found = tableOf(tables, table).sets.get(set);
  if (!found) throw new Refusal('ENOENT', `no set ${set}`);
  return found;
}

function chainOf(
  tables: Map<string, Table>,
  { table, chain }: { readonly table: string; readonly chain: string },
) {
  const found = tableOf(tables, table).chains.get(chain);
  if (!found) throw new Refusal('ENOENT', `no chain ${chain}`);
  return found;
}

/** The JSON of libnftables. @see libnftables-json(5) */
function listing(name: string, { sets, chains }: Table): unknown {
  const inTable = { family: 'inet', table: name };
  return {
    nftables: [
      { metainfo: { version: '1.0.6', json_schema_version: 1 } },
      { table: { family: 'inet', name } },
      ...[...sets].map(([set, { declaration, elements }]) => {
        const [, types = '', value, flags] =
          /^type (.*?)(?: : (\w+))?(?: flags (\w+))?$/.exec(declaration) ?? [];
        const key = types.split(' . ');
        return {
          [value === undefined ? 'set' : 'map']: {
            ...inTable,
            name: set,
            type: key.length === 1 ? key[0] : key,
            ...(value !== undefined && { map: value }),
            ...(flags !== undefined && { flags: [flags] }),
            ...(elements.size > 0 && {
              elem: [...elements].map(([text, mark]) => listedElement(text, mark)),
            }),
          },
        };
      }),
      ...[...chains].map(([chain, { declaration }]) => {
        const [, type, hook, prio] = /^type (\w+) hook (\w+) priority (-?\d+)$/.exec(declaration) ?? [];
        const hooked = type === undefined ? {} : { type, hook, prio: Number(prio), policy: 'accept' };
        return { chain: { ...inTable, name: chain, ...hooked } };
      }),
      ...[...chains].flatMap(([chain, { rules }]) =>
        rules.map((comment) => ({ rule: { ...inTable, chain, comment, expr: [] } })),
      ),
    ],
  };
}

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

function listedElement(text: string, mark: number | null): unknown {
  const parts = text.split(' . ').map((part) => {
    const [addr, len] = part.split('/');
    if (len !== undefined) return { prefix: { addr, len: Number(len) } };
    return PROTOCOLS[part] ?? (/^\d+$/.test(part) ? Number(part) : part);
  });
  const key = parts.length === 1 ? parts[0] : { concat: parts };
  return mark === null ? key : [key, mark];
}
