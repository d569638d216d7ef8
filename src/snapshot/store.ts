import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseSnapshot, SnapshotError } from './parse.ts';
import { renderJson } from './render-json.ts';
import type { Snapshot } from './snapshot.ts';

/**
 * Reads a snapshot file.
 * @throws SnapshotError if it can't be read or is no snapshot
 */
export async function readSnapshot(file: string, signal: AbortSignal): Promise<Snapshot> {
  return parseSnapshot(await readText(file, signal), file);
}

/**
 * Replaces `file` by the snapshot's JSON: a reader, or a crash at any moment, finds the old content or the new.
 * @throws the system's error, which names the file
 */
export async function writeSnapshot(file: string, snapshot: Snapshot, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  // In the same directory, for a rename is atomic only within one file system.
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    {
      await using handle = await open(temporary, 'w', 0o644);
      await handle.writeFile(renderJson(snapshot), { signal });
      await handle.sync();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await using directory = await open(dirname(file));
  await directory.sync();
}

async function readText(file: string, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(file, { encoding: 'utf8', signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new SnapshotError(file, '', cause instanceof Error ? cause.message : String(cause), { cause });
  }
}
