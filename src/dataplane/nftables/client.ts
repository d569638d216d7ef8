import type { NftablesKernel, NftOutcome } from './kernel.ts';

/** The library that talks to the kernel. A refusal is a value; its methods reject if it can't be used at all. */
export interface NftLibrary {
  /** Executes commands of nft(8) as one transaction. */
  run(commands: string): Promise<NftLibraryResult>;
  /** Executes a listing; its output is JSON. @param command as JSON. @see libnftables-json(5) */
  listJson(command: string): Promise<NftLibraryResult>;
}

export type NftLibraryResult =
  | { readonly outcome: 'ok'; readonly output: string }
  | Extract<NftOutcome, { readonly outcome: 'refused' }>;

/** A table can't be read. */
export class NftablesError extends Error {
  override readonly name = 'NftablesError';
  /** The errno's name, `unknown` if none was told. */
  readonly code: string;

  constructor(table: string, code: string, message: string, options?: ErrorOptions) {
    super(`Cannot list nftables table inet ${table}: ${code}: ${message}`, options);
    this.code = code;
  }
}

/** The kernel's nftables over libnftables. */
export class LibraryNftablesKernel implements NftablesKernel {
  readonly generation: NftablesKernel['generation'];
  readonly #library: NftLibrary;

  /**
   * @param library stays the caller's
   * @param generation what the library does not tell
   */
  constructor(library: NftLibrary, generation: NftablesKernel['generation'] = () => undefined) {
    this.#library = library;
    this.generation = generation;
  }

  async list(table: string, signal: AbortSignal): Promise<unknown | undefined> {
    signal.throwIfAborted();
    // As JSON any name will do. Not `list tables` first: for that the library reads all sets of all tables.
    const command = { nftables: [{ list: { table: { family: 'inet', name: table } } }] };
    const result = await this.#library.listJson(JSON.stringify(command));
    if (result.outcome === 'ok') return parseListing(table, result.output);
    // The library reads nothing but this table, so that nothing else can be missing.
    if (result.code === 'ENOENT') return undefined;
    throw new NftablesError(table, result.code, result.message);
  }

  async run(commands: string, signal: AbortSignal): Promise<NftOutcome> {
    signal.throwIfAborted();
    const result = await this.#library.run(commands);
    return result.outcome === 'ok' ? { outcome: 'ok' } : result;
  }
}

/** libnftables 1.0.6 breaks off where a table has flags, `dormant` or `owner` (src/json.c table_flags_json). */
function parseListing(table: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new NftablesError(table, 'unknown', 'libnftables gave no JSON; does the table have flags?', {
      cause,
    });
  }
}
