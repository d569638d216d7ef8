import type { WatchedKind } from './decode-watched.ts';

/** So long lists that are whole wait for those of other kinds: most of it passes only where one of them is refused. */
const TOGETHER_MS = 10_000;

/** What a watch says to those of other kinds, which most often lose the API server together with it. */
export interface OtherWatches {
  /** Its connection broke: what it knows may soon be found to be outdated. */
  broke(kind: WatchedKind): void;
  /** It goes on from what it knows. */
  goesOn(kind: WatchedKind): void;
  /** It has listed everything again. Resolves when it may take that over. */
  listed(kind: WatchedKind, signal: AbortSignal): Promise<void>;
}

/**
 * Has kinds that are listed again taken over at once. An API server that was restored from a backup has other objects of
 * every kind, and Services of one time with endpoints of another might seem to have lost all of them.
 */
export class WatchesTogether implements OtherWatches {
  readonly #retryNow: (kind: WatchedKind) => void;
  /** Those of which it is not known yet whether they have to be listed again. */
  readonly #uncertain = new Set<WatchedKind>();
  readonly #waiting = new Set<() => void>();

  /** @param retryNow has a kind wait no longer for its next attempt */
  constructor(retryNow: (kind: WatchedKind) => void) {
    this.#retryNow = retryNow;
  }

  broke(kind: WatchedKind): void {
    this.#uncertain.add(kind);
  }

  goesOn(kind: WatchedKind): void {
    this.#uncertain.delete(kind);
    if (this.#uncertain.size === 0) this.#takeAll();
  }

  async listed(kind: WatchedKind, signal: AbortSignal): Promise<void> {
    this.goesOn(kind);
    if (this.#uncertain.size === 0) return;
    // The server answers again: what the others wait for has come.
    for (const other of this.#uncertain) this.#retryNow(other);
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => this.#giveUp(), TOGETHER_MS);
    this.#waiting.add(resolve);
    const end = () => resolve();
    signal.addEventListener('abort', end);
    await promise;
    signal.removeEventListener('abort', end);
    this.#waiting.delete(resolve);
    clearTimeout(timer);
  }

  #giveUp(): void {
    this.#uncertain.clear();
    this.#takeAll();
  }

  #takeAll(): void {
    for (const take of this.#waiting) take();
  }
}
