import koffi, { type LibraryHandle } from 'koffi';
import { errnoName } from './errno.ts';
import { NetlinkSocket } from './netlink-socket.ts';

/** What libnftables made of commands, which are one transaction: a refusal has changed nothing, unless `unknown`. */
export type NftResult =
  | {
      readonly outcome: 'ok';
      /** What the commands printed: the JSON text of a `list`, else mostly nothing. */
      readonly output: string;
    }
  | ({ readonly outcome: 'refused' } & NftRefusal);

/** Why commands were refused. */
export interface NftRefusal {
  /**
   * The errno that the kernel, or the library in its place, refused with: `ENOENT`. `EINVAL` also for commands that
   * the library itself finds wrong, such as a syntax error. `unknown` if no error was told: then the commands may
   * have been executed.
   */
  readonly code: string;
  /** The first error in one line, as `nft` prints it behind `Error: `. For people: versions word it differently. */
  readonly message: string;
}

/** What we use of <nftables/libnftables.h>; koffi shows a pointer as a bigint. */
interface Library {
  readonly open: (flags: number) => bigint | null;
  readonly free: (context: bigint) => Promise<unknown>;
  readonly bufferOutput: (context: bigint) => number;
  readonly bufferError: (context: bigint) => number;
  readonly setOutputFlags: (context: bigint, flags: number) => void;
  readonly setDryRun: (context: bigint, dryRun: boolean) => void;
  readonly run: (context: bigint, commands: string) => Promise<unknown>;
  readonly output: (context: bigint) => string;
  readonly error: (context: bigint) => string;
  readonly codes: ReadonlyMap<string, string>;
}

/** One run of commands. */
interface Task {
  readonly commands: string;
  readonly outputFlags: number;
  readonly dryRun: boolean;
}

const LIBRARY = 'libnftables.so.1';
// <nftables/libnftables.h>
const NFT_CTX_DEFAULT = 0;
const NFT_CTX_OUTPUT_STATELESS = 1 << 2;
const NFT_CTX_OUTPUT_JSON = 1 << 4;
const NFT_CTX_OUTPUT_NUMERIC_ALL = 0b1111 << 7;
// include/uapi/linux/netlink.h
const NETLINK_NETFILTER = 12;
/** The errnos of Linux end at EHWPOISON, but for ENOTSUPP, the kernel's own. @see include/uapi/asm-generic/errno.h */
const ERRNOS = [...Array.from({ length: 133 }, (_, i) => i + 1), 524];

/**
 * What a run needs of the stack, besides one page: the library reads answers into a buffer of UINT16_MAX bytes and one
 * page there (src/mnl.c NFT_NLMSG_MAXSIZE); the rest took 28 KiB at most in 1.0.6. koffi runs C on stacks of its own;
 * an overflow ends the process.
 */
const STACK_BYTES = 0xffff + 48 * 1024;

/**
 * libnftables in the network namespace of this process. Commands are those of nft(8), and each call is one atomic
 * transaction. Calls run on another thread, small ones too, for a small text may make the library read a large set.
 * They run one after the other: the library keeps the interfaces in memory that all contexts share, so a process
 * should open this once.
 *
 * Each call has a `struct nft_ctx` of its own, which takes some 0.1 ms to make. One that lived on would keep the
 * ruleset that it read, with what a dry run pretended to add, and believe it until the kernel's generation id changes,
 * of which it compares 16 bits; and it would keep the memory.
 */
export class NftablesContext implements Disposable {
  readonly #library: Library;
  #previous: Promise<unknown> = Promise.resolve();
  #disposed = false;

  private constructor(library: Library) {
    this.#library = library;
  }

  /** @throws Error if the library can't be loaded, naming the Debian package that has it */
  static open(): NftablesContext {
    return new NftablesContext(loadLibrary());
  }

  /**
   * Executes all of the commands, or none.
   * @throws Error after dispose
   * @throws SysError EPROTONOSUPPORT without nfnetlink in the kernel, EMFILE, …
   */
  run(commands: string): Promise<NftResult> {
    return this.#enqueue({ commands, outputFlags: NFT_CTX_OUTPUT_NUMERIC_ALL, dryRun: false });
  }

  /** What `run` would give; nothing is changed. The kernel checks all but what it finds out when it commits. */
  check(commands: string): Promise<NftResult> {
    return this.#enqueue({ commands, outputFlags: NFT_CTX_OUTPUT_NUMERIC_ALL, dryRun: true });
  }

  /**
   * Executes a `list`; its output is JSON, with numbers for protocols, priorities and symbols, without counts.
   * @param command as nft(8) or as JSON; names need no escape in the latter
   * @see libnftables-json(5)
   */
  listJson(command: string): Promise<NftResult> {
    const outputFlags = NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_NUMERIC_ALL | NFT_CTX_OUTPUT_STATELESS;
    return this.#enqueue({ commands: command, outputFlags, dryRun: false });
  }

  /** A call under way comes to its end; those that wait are rejected. Again is harmless. */
  [Symbol.dispose](): void {
    this.#disposed = true;
  }

  #enqueue(task: Task): Promise<NftResult> {
    const result = this.#previous.then(() => this.#execute(task));
    // A call that failed does not fail the next.
    this.#previous = result.catch(() => undefined);
    return result;
  }

  async #execute({ commands, outputFlags, dryRun }: Task): Promise<NftResult> {
    if (this.#disposed) throw new Error('Cannot use libnftables: its context is closed');
    const { open, bufferOutput, bufferError, setOutputFlags, setDryRun, run, output, error, codes, free } =
      this.#library;
    // nft_ctx_new ends the process if it can't open its socket (src/netlink.c netlink_init_error).
    NetlinkSocket.open(NETLINK_NETFILTER)[Symbol.dispose]();
    const context = open(NFT_CTX_DEFAULT);
    if (context === null) throw new Error('Cannot use libnftables: nft_ctx_new gave no context');
    try {
      if (bufferOutput(context) !== 0 || bufferError(context) !== 0) {
        throw new Error('Cannot use libnftables: no buffer for its output');
      }
      setOutputFlags(context, outputFlags);
      setDryRun(context, dryRun);
      const status = await run(context, commands);
      if (status === 0) return { outcome: 'ok', output: output(context) };
      return { outcome: 'refused', ...parseRefusal(error(context), codes) };
    } finally {
      // On another thread too: it frees what was read of the ruleset, maybe 50,000 elements.
      await free(context);
    }
  }
}

/**
 * Reads the library's error text: `Error: `, before it where that was, behind it maybe `Could not process rule: ` and
 * then the text of strerror(3) or the library's own words; some versions add `; did you mean …`.
 * @param codes errno names by the text that strerror(3) has for them
 */
export function parseRefusal(text: string, codes: ReadonlyMap<string, string>): NftRefusal {
  const message = /Error: (.*)/.exec(text)?.[1]?.trim();
  if (message === undefined) {
    return { code: 'unknown', message: text.trim().split('\n')[0] || 'libnftables told no error' };
  }
  const reason = message.replace(/;.*/, '').replace(/^.*: /, '');
  return { code: codes.get(reason) ?? 'EINVAL', message };
}

function loadLibrary(): Library {
  const library = load();
  const { async_stack_size: stackBytes } = koffi.config();
  const getpagesize: () => number = library.func('int getpagesize(void)');
  const neededBytes = STACK_BYTES + getpagesize();
  if ((stackBytes ?? 0) < neededBytes) {
    throw new Error(
      `Cannot bind ${LIBRARY}: koffi calls it on ${stackBytes} bytes of stack, not ${neededBytes}`,
    );
  }
  const bind = (prototype: string) => library.func(prototype);
  const bindAsync = (prototype: string) => promised(library.func(prototype));
  return {
    open: bind('void *nft_ctx_new(uint32_t flags)'),
    free: bindAsync('void nft_ctx_free(void *ctx)'),
    bufferOutput: bind('int nft_ctx_buffer_output(void *ctx)'),
    bufferError: bind('int nft_ctx_buffer_error(void *ctx)'),
    setOutputFlags: bind('void nft_ctx_output_set_flags(void *ctx, unsigned int flags)'),
    setDryRun: bind('void nft_ctx_set_dry_run(void *ctx, bool dry)'),
    run: bindAsync('int nft_run_cmd_from_buffer(void *nft, const char *buf)'),
    output: bind('const char *nft_ctx_get_output_buffer(void *ctx)'),
    error: bind('const char *nft_ctx_get_error_buffer(void *ctx)'),
    codes: codesByText(bind('const char *strerror(int errnum)')),
  };
}

function load(): LibraryHandle {
  try {
    return koffi.load(LIBRARY);
  } catch (cause) {
    throw new Error(`Cannot load ${LIBRARY}, which is in the Debian package libnftables1`, { cause });
  }
}

/** The library tells an errno only by strerror(3); asking the same function makes the text's language no matter. */
function codesByText(strerror: (errno: number) => string): ReadonlyMap<string, string> {
  return new Map(ERRNOS.map((errno) => [strerror(errno), errnoName(errno)]));
}

function promised<Arguments extends readonly unknown[]>(
  call: ReturnType<LibraryHandle['func']>,
): (...args: Arguments) => Promise<unknown> {
  return (...args) =>
    new Promise((resolve, reject) => {
      call.async(...args, (error: unknown, value: unknown) => (error ? reject(error) : resolve(value)));
    });
}
