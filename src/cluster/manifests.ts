import { createReadStream, type Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { compareText } from '../model/rejected.ts';
import { ManifestError, SyntaxProblem } from './manifest-error.ts';
import { type Collection, collectDocument, type SourcedObjects } from './manifest-objects.ts';
import { parseDocuments } from './manifest-text.ts';

export type { SourcedObjects } from './manifest-objects.ts';

/** The largest file that is read, in bytes; it is held in memory whole. 10,000 Services with slices are 20 MB. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

const EXTENSION = /\.(yaml|yml|json)$/;

const STANDARD_INPUT = 'standard input';

/**
 * Reads Kubernetes objects from files, all or nothing. A directory is read recursively, in the order of names,
 * without dot files. `-` is standard input. Each path has to yield a document of some kind: an input that is
 * empty by accident would otherwise mean a cluster without Services.
 * @throws ManifestError at the first thing that can't be read; the signal's reason if aborted
 */
export async function readManifests(
  paths: readonly string[],
  signal: AbortSignal,
  stdin: AsyncIterable<Uint8Array> = process.stdin,
): Promise<SourcedObjects> {
  const collection: Collection = { visited: 0, objects: [], skipped: new Map(), rejected: [] };
  for (const path of paths) {
    const before = objectCount(collection);
    if (path === '-') {
      collectFile(collection, STANDARD_INPUT, await readStream(STANDARD_INPUT, stdin, signal));
    } else {
      for (const file of await filesOf(path)) collectFile(collection, file, await readBytes(file, signal));
    }
    if (objectCount(collection) === before) {
      throw new ManifestError(path === '-' ? STANDARD_INPUT : path, '', 'it holds no Kubernetes object');
    }
  }
  const { objects, skipped, rejected } = collection;
  return { objects, rejected, skipped: new Map([...skipped].sort(([a], [b]) => compareText(a, b))) };
}

function objectCount({ visited, rejected }: Collection): number {
  return visited - rejected.length;
}

function collectFile(collection: Collection, file: string, bytes: Buffer): void {
  try {
    for (const document of parseDocuments(bytes, { strictJson: file.endsWith('.json') })) {
      collectDocument(collection, file, document);
    }
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    const { line, column } = error.position;
    throw new ManifestError(
      file,
      `:${line}${column === null ? '' : `:${column}`}`,
      error.message,
      error.position,
    );
  }
}

async function filesOf(path: string): Promise<readonly string[]> {
  const { files } = await manifestTree(path);
  if (files.length === 0) throw new ManifestError(path, '', 'no .yaml, .yml or .json file in this directory');
  return files;
}

/**
 * The files that `path` means, itself if it is no directory, in the order in which they are read, and the directories
 * where they were looked for.
 * @throws ManifestError if something can't be looked at
 */
export async function manifestTree(
  path: string,
): Promise<{ readonly files: readonly string[]; readonly directories: readonly string[] }> {
  if (!(await statOf(path)).isDirectory()) return { files: [path], directories: [] };
  const visited = new Map<string, string>();
  const files = await filesBelow(path, visited);
  return { files, directories: [...visited.values()] };
}

/** @param visited directories, by device and inode: links can make a loop */
async function filesBelow(directory: string, visited: Map<string, string>): Promise<readonly string[]> {
  const { dev, ino } = await statOf(directory);
  const id = `${dev}:${ino}`;
  if (visited.has(id)) return [];
  visited.set(id, directory);
  const files: string[] = [];
  for (const name of (await attempt(directory, () => readdir(directory))).sort(compareText)) {
    // Dot files: kubelet keeps old versions of a mounted ConfigMap in some, and links to the current one.
    if (name.startsWith('.')) continue;
    const path = join(directory, name);
    const stats = await statOf(path);
    if (stats.isDirectory()) files.push(...(await filesBelow(path, visited)));
    else if (stats.isFile() && EXTENSION.test(name)) files.push(path);
  }
  return files;
}

async function readBytes(file: string, signal: AbortSignal): Promise<Buffer> {
  const stats = await statOf(file);
  // What is no regular file, as the pipe of a process substitution, has no size beforehand.
  if (!stats.isFile()) return readStream(file, createReadStream(file), signal);
  if (stats.size > MAX_FILE_BYTES) throw tooLarge(file);
  signal.throwIfAborted();
  return attempt(file, () => readFile(file));
}

async function readStream(
  file: string,
  stream: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<Buffer> {
  return attempt(file, async () => {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of stream) {
      signal.throwIfAborted();
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_FILE_BYTES) throw tooLarge(file);
    }
    return Buffer.concat(chunks);
  });
}

function tooLarge(file: string): ManifestError {
  return new ManifestError(file, '', `it is larger than ${MAX_FILE_BYTES / 1024 / 1024} MiB: split it`);
}

function statOf(path: string): Promise<Stats> {
  return attempt(path, () => stat(path));
}

const REASONS: { readonly [code: string]: string } = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  ELOOP: 'a symbolic link that leads to itself',
};

/** Names the file in errors of the file system. */
async function attempt<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) throw error;
    throw new ManifestError(file, '', REASONS[error.code] ?? error.message, undefined, { cause: error });
  }
}
