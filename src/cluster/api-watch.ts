import type { ApiConnection } from './api-connection.ts';
import { KindWatch, type WatchCounter, type WatchState, type WatchTimes } from './api-kind-watch.ts';
import { resourceOf } from './api-resources.ts';
import { WATCHED_KINDS, type WatchedKind } from './decode-watched.ts';
import type { FactStore } from './fact-store.ts';
import type { EndpointSliceFacts } from './facts.ts';
import { WatchesTogether } from './relist-watch.ts';

export interface WatchClusterOptions {
  /** Of the own Node. */
  readonly nodeName: string;
  /**
   * `own` asks for no other Nodes: the API server has less to tell of, but an externalIP that is another Node's address
   * is then served on this one too. @default all
   */
  readonly nodes?: 'all' | 'own';
  /** How long to wait after this many failures of a kind, one after the other, in milliseconds, with jitter. */
  readonly delayAfter: (failures: number) => number;
  /** Called once per change, for each kind on its own; while one is failing, when the reason changes. */
  readonly onState?: (state: WatchState) => void;
  readonly onCount?: (kind: WatchedKind, counter: WatchCounter, by: number) => void;
  readonly times?: Partial<WatchTimes>;
}

const MINUTE_MS = 60_000;
const TIMES: WatchTimes = {
  watchMs: 5 * MINUTE_MS,
  marginMs: 30_000,
  shortMs: 500,
  notServedMs: 10 * MINUTE_MS,
};

/** Whose slices say at which addresses the API server is. */
const API_SERVICE = 'default/kubernetes';

/**
 * Keeps the facts as the API server has them. Yields first when all kinds have had a whole first list, then whenever
 * the store has taken over more; what comes while the caller is busy is taken over meanwhile, and yielded for once.
 * A connection that is lost, refused or silent is made again and changes nothing. Ends when aborted.
 */
export async function* watchCluster(
  connection: ApiConnection,
  store: FactStore,
  options: WatchClusterOptions,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const {
    nodeName,
    nodes = 'all',
    delayAfter,
    onState = () => undefined,
    onCount = () => undefined,
  } = options;
  const bell = new Bell();
  const unlisted = new Set<WatchedKind>(WATCHED_KINDS);
  let apiSlices: readonly EndpointSliceFacts[] | undefined;
  const taken = (kind: WatchedKind): void => {
    const slices = store.facts.slices.get(API_SERVICE);
    // An API server that has just come back may not have entered itself again.
    const addresses = slices === apiSlices ? [] : addressesOf(slices ?? []);
    if (addresses.length > 0) connection.useFallbacks(addresses);
    apiSlices = slices;
    unlisted.delete(kind);
    if (unlisted.size === 0) bell.ring();
  };
  const over = new AbortController();
  const end = () => over.abort(signal.reason);
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  over.signal.addEventListener('abort', () => bell.ring());
  const kinds = new Map<WatchedKind, KindWatch>();
  const together = new WatchesTogether((kind) => kinds.get(kind)?.retryNow());
  for (const kind of WATCHED_KINDS) {
    const watch = new KindWatch({
      connection,
      store,
      kind,
      resource: resourceOf(kind, nodeName, nodes),
      times: { ...TIMES, ...options.times },
      delayAfter,
      onState,
      onCount,
      onTaken: () => taken(kind),
      others: together,
    });
    kinds.set(kind, watch);
  }
  const watches = [...kinds.values()].map((watch) => watch.run(over.signal));
  try {
    for (;;) {
      await bell.rung();
      if (signal.aborted) return;
      yield;
    }
  } finally {
    signal.removeEventListener('abort', end);
    over.abort();
    await Promise.all(watches);
  }
}

/** `address:port` of each, in the order of slices. */
function addressesOf(slices: readonly EndpointSliceFacts[]): readonly string[] {
  return slices.flatMap(({ family, ports, endpoints }) =>
    endpoints
      .filter(({ ready }) => ready)
      .flatMap(({ address }) =>
        ports.map(({ port }) => (family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`)),
      ),
  );
}

/** Remembers that it was rung until somebody has waited for it. */
class Bell {
  #isRinging = false;
  #wake: () => void = () => undefined;

  ring(): void {
    this.#isRinging = true;
    this.#wake();
  }

  async rung(): Promise<void> {
    if (!this.#isRinging) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = () => undefined;
    }
    this.#isRinging = false;
  }
}
