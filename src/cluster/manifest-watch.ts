import { type FSWatcher, type Stats, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { manifestTree } from './manifests.ts';

/** Times of a watch, in milliseconds. */
export interface WatchTimes {
  /** What is being written is waited for until it has rested so long. */
  readonly quietMs: number;
  /** What never rests is read after so long all the same. */
  readonly patienceMs: number;
  /** Where notices do not come, as from network file systems, files are looked at so often. */
  readonly pollMs: number;
}

/** For files that are the source of what is done. */
export const SOURCE_TIMES: WatchTimes = { quietMs: 100, patienceMs: 5000, pollMs: 5000 };

/**
 * Yields once at the start, then whenever files that `paths` mean have come, gone or changed, and have rested since.
 * Whoever reads after each of them misses nothing. Ends when aborted.
 */
export async function* watchManifests(
  paths: readonly string[],
  signal: AbortSignal,
  times: WatchTimes = SOURCE_TIMES,
): AsyncGenerator<void> {
  using bell = new Bell(signal);
  let seen = await look(paths);
  bell.listen(seen.directories);
  // What happened between the look and the first notice that could come.
  seen = await look(paths);
  while (!signal.aborted) {
    yield;
    let rested: Sight;
    do {
      await bell.rung(times.pollMs);
      rested = await settled(paths, seen, bell, times);
      bell.listen(rested.directories);
    } while (!signal.aborted && rested.files === seen.files);
    seen = rested;
  }
}

/** What the paths mean at one moment. */
interface Sight {
  /** Equal text: the same files, unchanged. */
  readonly files: string;
  /** Directories where a change of them is told. */
  readonly directories: ReadonlyMap<string, string>;
}

async function look(paths: readonly string[]): Promise<Sight> {
  const files: string[] = [];
  const directories = new Map<string, string>();
  const addDirectory = async (path: string) => directories.set(path, await idOf(path));
  for (const path of paths) {
    await addDirectory(dirname(path));
    try {
      const tree = await manifestTree(path);
      for (const file of tree.files) files.push(`${file} ${await idOf(file, contentOf)}`);
      for (const directory of tree.directories) await addDirectory(directory);
    } catch (error) {
      files.push(`${path} ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return { files: files.join('\n'), directories };
}

/** Waits until nothing has changed for a while; one look if nothing has changed at all. */
async function settled(
  paths: readonly string[],
  before: Sight,
  bell: Bell,
  { quietMs, patienceMs }: WatchTimes,
): Promise<Sight> {
  const startMs = performance.now();
  let now = await look(paths);
  let last = before;
  while (now.files !== last.files && performance.now() - startMs < patienceMs && !bell.isOver) {
    last = now;
    await bell.pause(quietMs);
    now = await look(paths);
  }
  return now;
}

const identityOf = ({ dev, ino }: Stats): string => `${dev}:${ino}`;
const contentOf = (stats: Stats): string =>
  `${identityOf(stats)} ${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}`;

async function idOf(path: string, describe = identityOf): Promise<string> {
  try {
    return describe(await stat(path));
  } catch (error) {
    return String(error);
  }
}

/** Rings when something happens in the directories, or at the end. */
class Bell implements Disposable {
  readonly #signal: AbortSignal;
  readonly #watchers = new Map<string, FSWatcher>();
  #ringing = false;
  #ring: () => void = () => undefined;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  get isOver(): boolean {
    return this.#signal.aborted;
  }

  /** @param directories by path, with what tells one from another at its place */
  listen(directories: ReadonlyMap<string, string>): void {
    const wanted = new Map([...directories].map(([path, id]) => [`${path} ${id}`, path]));
    for (const [key, watcher] of this.#watchers) {
      if (wanted.has(key)) continue;
      watcher.close();
      this.#watchers.delete(key);
    }
    for (const [key, path] of wanted) if (!this.#watchers.has(key)) this.#open(key, path);
  }

  /** Until the next notice, or one since the last call; at most `ms`. */
  async rung(ms: number): Promise<void> {
    if (!this.#ringing) {
      const over = new AbortController();
      this.#ring = () => over.abort();
      await this.#wait(ms, AbortSignal.any([this.#signal, over.signal]));
      this.#ring = () => undefined;
    }
    this.#ringing = false;
  }

  async pause(ms: number): Promise<void> {
    await this.#wait(ms, this.#signal);
  }

  [Symbol.dispose](): void {
    this.listen(new Map());
  }

  async #wait(ms: number, signal: AbortSignal): Promise<void> {
    // The only reason to reject is the signal, and then the wait is over.
    await sleep(ms, undefined, { signal }).catch(() => undefined);
  }

  #open(key: string, path: string): void {
    try {
      const watcher = watch(path, () => {
        this.#ringing = true;
        this.#ring();
      });
      this.#watchers.set(key, watcher);
      // A directory that is gone, or no more notices to be had (ENOSPC): files are looked at now and then anyway.
      watcher.on('error', () => {
        watcher.close();
        this.#watchers.delete(key);
      });
    } catch {
      // The same, at once.
    }
  }
}
