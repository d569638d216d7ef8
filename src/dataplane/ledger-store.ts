import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { EMPTY_LEDGER, type Ledger, type LedgerAccess } from './ledger.ts';
import { formatLedger, type KernelIdentity, type LedgerDocument, parseLedger } from './ledger-file.ts';

/** The ledger in a file, with what the user should know about how it was found. */
export interface LedgerStore extends LedgerAccess {
  /** One line each; empty when all is as expected. */
  readonly notes: readonly string[];
}

/** The ledger could not be made durable: nothing may be changed in the kernel. */
export class LedgerWriteError extends Error {
  override readonly name = 'LedgerWriteError';
  readonly path: string;
  /** e.g. `EACCES` */
  readonly code: string;

  constructor(path: string, cause: unknown) {
    const code = errorCode(cause);
    super(
      `Cannot write the ledger ${path}: ${code}: it must be in a directory that svcplane may write ` +
        '(--state-directory DIR), for what is not recorded cannot be cleaned up',
      { cause },
    );
    this.path = path;
    this.code = code;
  }
}

/** The ledger is there and can't be read, so nobody knows what is ours. */
export class LedgerReadError extends Error {
  override readonly name = 'LedgerReadError';
  readonly path: string;
  /** e.g. `EACCES` */
  readonly code: string;

  constructor(path: string, cause: unknown) {
    const code = errorCode(cause);
    super(
      `Cannot read the ledger ${path}: ${code}: run as the user who wrote it, or repair the file system`,
      { cause },
    );
    this.path = path;
    this.code = code;
  }
}

/**
 * Opens `<stateDirectory>/ledger.json`. Reads once and never writes before the first update, so that planning needs
 * neither the directory nor the right to make it. Never throws for what the file contains: a file of another boot or
 * network namespace, or one that makes no sense, counts as empty, and a note says so.
 * @throws LedgerReadError if the file is there and can't be read
 * @param kernel what the ledger is valid for; by default the kernel and namespace of this process
 */
export function openLedgerStore(
  stateDirectory: string,
  kernel: KernelIdentity = currentKernel(),
): LedgerStore {
  const path = join(stateDirectory, 'ledger.json');
  const found = readLedgerFile(path, kernel);
  let ledger = found.ledger;
  let keepAside = found.keepAside;
  return {
    notes: found.notes,
    read: () => ledger,
    update(change) {
      const changed = change(ledger);
      if (changed === ledger) return;
      try {
        mkdirSync(stateDirectory, { recursive: true });
        if (keepAside) renameSync(path, keepAside);
        keepAside = undefined;
        replaceFile(stateDirectory, path, formatLedger({ ...kernel, ledger: changed }));
      } catch (error) {
        throw new LedgerWriteError(path, error);
      }
      ledger = changed;
    },
    check() {
      const trial = `${path}.tmp`;
      try {
        mkdirSync(stateDirectory, { recursive: true });
        writeDurably(trial, formatLedger({ ...kernel, ledger }));
        rmSync(trial);
      } catch (error) {
        throw new LedgerWriteError(path, error);
      }
    },
  };
}

/** Another process has the lock. */
export class NodeLockedError extends Error {
  override readonly name = 'NodeLockedError';
}

/**
 * Makes this process the only svcplane that writes in its network namespace, until disposed or dead. The lock is a
 * listening abstract unix socket: the kernel gives each network namespace its own set of names, and frees a name when
 * its process ends, by kill -9 too. It does not keep the process alive.
 * @throws NodeLockedError if another process has it
 */
export async function lockNode(
  networkNamespace: string = currentKernel().networkNamespace,
): Promise<AsyncDisposable> {
  const name = `svcplane-${networkNamespace}`;
  const server = createServer((connection) => connection.destroy());
  try {
    await listening(server, `\0${name}`);
  } catch (error) {
    if (errorCode(error) !== 'EADDRINUSE') throw error;
    throw new NodeLockedError(
      `Cannot change this node: another svcplane is at work on it (ss -xlp | grep '@${name}' shows which); ` +
        'wait for it to finish, or stop it',
      { cause: error },
    );
  }
  server.unref();
  return {
    [Symbol.asyncDispose]: async () => {
      if (server.listening) await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The boot and the network namespace this process runs in. */
export function currentKernel(): KernelIdentity {
  return {
    bootId: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    networkNamespace: readlinkSync('/proc/self/ns/net'),
  };
}

interface FoundLedger {
  readonly ledger: Ledger;
  readonly notes: readonly string[];
  /** Where the file goes before it is replaced. */
  readonly keepAside?: string;
}

function readLedgerFile(path: string, kernel: KernelIdentity): FoundLedger {
  let document: LedgerDocument;
  try {
    document = parseLedger(readFileSync(path, 'utf8'));
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return { ledger: EMPTY_LEDGER, notes: [] };
    // The ledger may be sound and only out of reach; to go on without it would disown all that is in it.
    if (code !== UNKNOWN) throw new LedgerReadError(path, error);
    const keepAside = freeName(`${path}.broken-`);
    const note =
      `Ledger ${path} cannot be read (${oneLine(error)}): what exists counts as foreign, and is adopted where it is ` +
      `exactly what is wanted; the file is kept as ${keepAside} at the first change`;
    return { ledger: EMPTY_LEDGER, notes: [note], keepAside };
  }
  if (document.bootId !== kernel.bootId) {
    return {
      ledger: EMPTY_LEDGER,
      notes: [`Ledger ${path} is of another boot (${document.bootId}): counts as empty`],
    };
  }
  const { networkNamespace } = document;
  if (networkNamespace === kernel.networkNamespace) return { ledger: document.ledger, notes: [] };
  const keepAside = freeName(`${path}.other-`);
  const note =
    `Ledger ${path} is of another network namespace (${networkNamespace}): counts as empty, and is kept as ` +
    `${keepAside} at the first change; give each namespace its own --state-directory`;
  return { ledger: EMPTY_LEDGER, notes: [note], keepAside };
}

/** After a power cut the name holds the old text or the new one, never a part: hence both fsyncs. */
function replaceFile(directory: string, path: string, text: string): void {
  // One fixed name: what a killed writer left behind is overwritten by the next.
  const temporary = `${path}.tmp`;
  writeDurably(temporary, text);
  renameSync(temporary, path);
  const opened = openSync(directory, 'r');
  try {
    fsyncSync(opened);
  } finally {
    closeSync(opened);
  }
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, 'w', 0o644);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function freeName(prefix: string): string {
  let n = 1;
  while (existsSync(prefix + n)) n++;
  return prefix + n;
}

const UNKNOWN = 'unknown error';

function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : UNKNOWN;
}

function oneLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).replaceAll(/\s+/g, ' ');
}

/** What is odd about the ledger there, in words. */
export function ledgerNotes(stateDirectory: string): readonly string[] {
  try {
    return openLedgerStore(stateDirectory).notes;
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}
