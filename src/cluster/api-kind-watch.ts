import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiConnection, ApiError, refusal } from './api-connection.ts';
import type { ApiResource } from './api-resources.ts';
import type { WatchedKind } from './decode-watched.ts';
import type { FactStore } from './fact-store.ts';
import { asObject, listIn, objectIn, type RawObject, textIn } from './object-fields.ts';
import type { OtherWatches } from './relist-watch.ts';
import { asError, failureOf, Gone, hasToList, isGone, versionOf, WatchFailure } from './watch-failure.ts';

/** What has become of the watch of one kind. */
export interface WatchState {
  readonly kind: WatchedKind;
  /** `notServed`: this API server has no such kind; it is asked again now and then. */
  readonly state: 'listing' | 'watching' | 'failing' | 'notServed';
  /** Why it is failing. */
  readonly error?: Error;
}

/** Events that came, lists that were begun, and watches that were opened after the first. */
export type WatchCounter = 'events' | 'lists' | 'restarts';

/** In milliseconds. */
export interface WatchTimes {
  /** The server ends a watch after this much, and up to twice as much. */
  readonly watchMs: number;
  /** A watch is given up when so much longer nothing has come. */
  readonly marginMs: number;
  /** A watch that the server ends sooner is opened again as slowly as after a failure. */
  readonly shortMs: number;
  /** How often a kind that is not served is asked for. */
  readonly notServedMs: number;
}

/** What a watch tells of objects to. */
export type ObjectStore = Pick<FactStore, 'beginList'> & {
  put(kind: WatchedKind, object: RawObject): void;
  remove(kind: WatchedKind, object: RawObject): void;
};

export interface KindWatchOptions {
  readonly connection: Pick<ApiConnection, 'request' | 'stream' | 'server'>;
  readonly store: ObjectStore;
  readonly kind: WatchedKind;
  readonly resource: ApiResource;
  readonly times: WatchTimes;
  /** How long to wait after this many failures, one after the other, in milliseconds. */
  readonly delayAfter: (failures: number) => number;
  readonly onState: (state: WatchState) => void;
  readonly onCount: (kind: WatchedKind, counter: WatchCounter, by: number) => void;
  /** The store has taken over what the server told: the first time, the whole first list, or that there is none. */
  readonly onTaken: () => void;
  /** How the watches of all kinds heed each other. @default it is the only one */
  readonly others?: OtherWatches;
}

const NOT_FOUND = 404;
/** An answer that begins well may be an ERROR, which follows at once. */
const GOES_ON_MS = 200;

/** Keeps the facts of one kind as the API server has them, until aborted, through whatever happens to the connection. */
export class KindWatch {
  readonly #options: KindWatchOptions;
  /** Up to which the store knows everything; null if it has to list. */
  #resourceVersion: string | null = null;
  #failures = 0;
  #state: WatchState['state'] | null = null;
  #problem: string | undefined;
  #isFirstWatch = true;
  /** The server may be another one than before, restored from a backup. */
  #isInDoubt = false;
  #hasListed = false;
  /** The last watch that was opened is a good one, or was until it ended. */
  #goesOn = false;
  #wake: () => void = () => undefined;

  constructor(options: KindWatchOptions) {
    this.#options = options;
  }

  /** Returns when aborted. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let waitMs: number;
      try {
        waitMs = await this.#round(signal);
      } catch (error) {
        if (signal.aborted) return;
        waitMs = this.#fail(error);
      }
      if (waitMs > 0) await this.#sleep(waitMs, signal);
    }
  }

  /** Waits no longer, if it waits for its next attempt. */
  retryNow(): void {
    this.#wake();
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    // Rejects only if aborted or woken, and either is its end.
    await sleep(ms, undefined, { signal: AbortSignal.any([signal, woken.signal]) }).catch(() => undefined);
    this.#wake = () => undefined;
  }

  /** A list if there has to be one, and one watch to its end. @returns how long to wait before the next, in milliseconds */
  async #round(signal: AbortSignal): Promise<number> {
    const { times } = this.#options;
    if (this.#isInDoubt && this.#resourceVersion !== null)
      await this.#checkVersion(this.#resourceVersion, signal);
    this.#isInDoubt = false;
    if (this.#resourceVersion === null) {
      this.#resourceVersion = await this.#list(signal);
      if (this.#resourceVersion === null) return times.notServedMs * (0.5 + Math.random());
    }
    const startMs = performance.now();
    const hasAdvanced = await this.#watch(this.#resourceVersion, signal);
    if (hasAdvanced || performance.now() - startMs >= times.shortMs) {
      this.#failures = 0;
      return 0;
    }
    return this.#options.delayAfter(++this.#failures);
  }

  #fail(error: unknown): number {
    const { delayAfter, others, kind } = this.#options;
    // What fails on and on is no reason for others to wait.
    if (this.#goesOn || isGone(error)) others?.broke(kind);
    this.#goesOn = false;
    this.#failures++;
    if (hasToList(error)) this.#resourceVersion = null;
    // The first time it is a matter of course, after the server's history was compacted.
    if (isGone(error) && this.#failures === 1) return 0;
    this.#isInDoubt = true;
    // A connection that is cut is no failure unless it can't be made again.
    if (this.#state !== 'watching' || this.#failures > 1) this.#enter('failing', asError(error));
    const wait = error instanceof ApiError || error instanceof WatchFailure ? error.retryAfterMs : null;
    return Math.max(wait ?? 0, delayAfter(this.#failures));
  }

  /** Lists until the list is whole. @returns its version, null where the kind is not served */
  async #list(signal: AbortSignal): Promise<string | null> {
    const { store, kind, resource, onCount, onTaken } = this.#options;
    if (this.#state !== 'failing') this.#enter('listing');
    onCount(kind, 'lists', 1);
    const list = store.beginList(kind);
    let version = '';
    let next: string | undefined;
    do {
      const page = await this.#page(
        { limit: String(resource.pageSize), ...(next && { continue: next }) },
        signal,
      );
      for (const item of page ? listIn(page, 'items') : []) list.put(asObject(item) ?? {});
      const metadata = objectIn(page ?? {}, 'metadata');
      next = textIn(metadata, 'continue');
      version = page ? versionOf(page) : '';
      if (!page) break;
    } while (next !== undefined);
    if (this.#hasListed) await this.#options.others?.listed(kind, signal);
    signal.throwIfAborted();
    this.#hasListed = true;
    list.finish();
    this.#enter(version === '' ? 'notServed' : 'watching');
    onTaken();
    return version === '' ? null : version;
  }

  /** @returns null where the kind is not served */
  async #page(query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<RawObject | null> {
    const { connection, kind, resource } = this.#options;
    const answer = await connection.request('GET', resource.path, {
      query: { ...resource.query, ...query },
      signal,
    });
    if (answer.status === NOT_FOUND && resource.isOptional) return null;
    if (answer.status !== 200) throw refusal(`list ${connection.server}${resource.path}`, answer);
    const page = asObject(answer.body) ?? {};
    // Somebody else may answer in its place, and an empty list would be the end of everything.
    if (page.kind !== `${kind}List`) throw new WatchFailure(`${resource.path} is answered by no ${kind}List`);
    return page;
  }

  /**
   * A watch from a version that is yet to come tells nothing until then: a server that was restored from a backup
   * would seem silent.
   */
  async #checkVersion(known: string, signal: AbortSignal): Promise<void> {
    const page = await this.#page({ limit: '1' }, signal);
    if (!page || BigInt(versionOf(page)) < BigInt(known)) throw new Gone('the server has an older version');
  }

  /** @returns whether it told anything new before the server ended it */
  async #watch(version: string, signal: AbortSignal): Promise<boolean> {
    const { connection, kind, resource, times, onCount, others } = this.#options;
    if (!this.#isFirstWatch) onCount(kind, 'restarts', 1);
    this.#isFirstWatch = false;
    const timeoutSeconds = Math.ceil((times.watchMs * (1 + Math.random())) / 1000);
    const batches = connection.stream(resource.path, {
      query: {
        ...resource.query,
        watch: '1',
        resourceVersion: version,
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(timeoutSeconds),
      },
      idleTimeoutMs: timeoutSeconds * 1000 + times.marginMs,
      signal,
    });
    const startMs = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const goOn = () => {
      this.#goesOn = true;
      others?.goesOn(kind);
    };
    try {
      for await (const batch of batches) {
        this.#enter('watching');
        timer ??= setTimeout(goOn, GOES_ON_MS);
        if (batch.length === 0) continue;
        if (performance.now() - startMs >= times.shortMs) this.#failures = 0;
        this.#takeAll(batch);
      }
    } finally {
      clearTimeout(timer);
    }
    // A bookmark of the version that was asked for is nothing new: a server that ends after it would be asked without pause.
    return this.#resourceVersion !== version;
  }

  #takeAll(batch: readonly unknown[]): void {
    const { kind, onCount, onTaken } = this.#options;
    let count = 0;
    try {
      for (const event of batch) if (this.#take(asObject(event) ?? {})) count++;
    } finally {
      // Also of what came before an ERROR.
      if (count > 0) {
        onCount(kind, 'events', count);
        onTaken();
      }
    }
  }

  /** @returns whether it was about an object */
  #take(event: RawObject): boolean {
    const { store, kind } = this.#options;
    const object = objectIn(event, 'object');
    switch (event.type) {
      case 'ADDED':
      case 'MODIFIED':
        store.put(kind, object);
        break;
      case 'DELETED':
        store.remove(kind, object);
        break;
      case 'BOOKMARK':
        break;
      case 'ERROR':
        throw failureOf(object);
      default:
        throw new WatchFailure(`the watch told of ${JSON.stringify(event.type)}, which is unknown`);
    }
    this.#resourceVersion = versionOf(object);
    return event.type !== 'BOOKMARK';
  }

  #enter(state: WatchState['state'], error?: Error): void {
    if (state === this.#state && error?.message === this.#problem) return;
    this.#state = state;
    this.#problem = error?.message;
    const { kind, onState } = this.#options;
    onState({ kind, state, ...(error && { error }) });
  }
}
