import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect } from 'vitest';
import type { ApiConnection } from '../../src/cluster/api-connection.ts';
import { openApiConnection } from '../../src/cluster/api-connection-client.ts';
import {
  KindWatch,
  type WatchCounter,
  type WatchState,
  type WatchTimes,
} from '../../src/cluster/api-kind-watch.ts';
import { resourceOf } from '../../src/cluster/api-resources.ts';
import type { WatchedKind } from '../../src/cluster/decode-watched.ts';
import { FactStore } from '../../src/cluster/fact-store.ts';
import { type Asked, json, StandIn } from './stand-in.ts';

export const NODE_NAME = 'n0';
export const KIND_OF: Readonly<Record<string, WatchedKind>> = {
  '/api/v1/services': 'Service',
  '/apis/discovery.k8s.io/v1/endpointslices': 'EndpointSlice',
  '/api/v1/nodes': 'Node',
  '/apis/networking.k8s.io/v1/servicecidrs': 'ServiceCIDR',
};

export type Scripted = (asked: Asked, response: ServerResponse) => void;

/** Lists and watches of a stand-in: in turn as scripted, then an empty list and a watch that tells nothing. */
export class ScriptedApi implements AsyncDisposable {
  readonly server: StandIn;
  /** By kind. What comes next is taken away. */
  readonly lists = new Map<WatchedKind, Scripted[]>();
  readonly watches = new Map<WatchedKind, Scripted[]>();
  /** Of lists that are not scripted. */
  version = '10';

  private constructor(server: StandIn) {
    this.server = server;
    server.answer = (asked, response) => {
      const kind = KIND_OF[asked.path] ?? 'Service';
      const isWatch = asked.query.watch === '1';
      const next = (isWatch ? this.watches : this.lists).get(kind)?.shift();
      if (next) next(asked, response);
      else if (isWatch) response.writeHead(200).flushHeaders();
      else json(response, 200, listOf(kind, [], { resourceVersion: this.version }));
    };
  }

  static async start(): Promise<ScriptedApi> {
    return new ScriptedApi(await StandIn.start());
  }

  connect(answerTimeoutMs?: number): Promise<ApiConnection> {
    return openApiConnection({
      kubeconfig: PLAIN_KUBECONFIG,
      server: this.server.url,
      env: {},
      ...(answerTimeoutMs !== undefined && { answerTimeoutMs }),
    });
  }

  list(kind: WatchedKind, ...scripted: Scripted[]): void {
    this.lists.set(kind, [...(this.lists.get(kind) ?? []), ...scripted]);
  }

  watch(kind: WatchedKind, ...scripted: Scripted[]): void {
    this.watches.set(kind, [...(this.watches.get(kind) ?? []), ...scripted]);
  }

  /** What was asked: `list` or `watch` and the version or token it was asked with. */
  get log(): readonly string[] {
    return this.server.asked.map(({ query }) => {
      if (query.watch) return `watch ${query.resourceVersion}`;
      return query.continue ? `list ${query.continue}` : `list`;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]();
  }
}

const PLAIN_KUBECONFIG = new URL('./inputs/plain-kubeconfig.yaml', import.meta.url).pathname;

export function listOf(kind: WatchedKind, items: readonly object[], metadata: object): object {
  return { kind: `${kind}List`, apiVersion: 'v1', metadata, items };
}

/** Answers a list. */
export function page(kind: WatchedKind, items: readonly object[], metadata: object): Scripted {
  return (_, response) => json(response, 200, listOf(kind, items, metadata));
}

/** Events of a watch, one a line; it stays open. */
export function tell(...events: readonly object[]): Scripted {
  return (_, response) => {
    response.writeHead(200);
    response.write(events.map((event) => `${JSON.stringify(event)}\n`).join(''));
  };
}

/** The same, and the server ends it. */
export function tellAndEnd(...events: readonly object[]): Scripted {
  return (asked, response) => {
    tell(...events)(asked, response);
    response.end();
  };
}

export interface FollowedKind extends AsyncDisposable {
  readonly store: FactStore;
  readonly states: readonly WatchState[];
  /** What delays were asked for: failures, one after the other. */
  readonly delays: readonly number[];
  readonly taken: () => number;
  count(counter: WatchCounter): number;
}

export interface FollowOptions {
  readonly kind?: WatchedKind;
  readonly times?: Partial<WatchTimes>;
  readonly delayMs?: number;
}

/** Follows one kind until disposed; no connection is closed. */
export function followKind(connection: ApiConnection, options: FollowOptions = {}): FollowedKind {
  const { kind = 'Service', times, delayMs = 1 } = options;
  const store = new FactStore(NODE_NAME);
  const states: WatchState[] = [];
  const delays: number[] = [];
  const counts = new Map<WatchCounter, number>();
  const over = new AbortController();
  let taken = 0;
  const ended = new KindWatch({
    connection,
    store,
    kind,
    resource: resourceOf(kind, NODE_NAME, 'all'),
    times: { watchMs: 60_000, marginMs: 1000, shortMs: 500, notServedMs: 60_000, ...times },
    delayAfter: (failures) => {
      delays.push(failures);
      return delayMs;
    },
    onState: (state) => states.push(state),
    onCount: (_, counter, by) => counts.set(counter, (counts.get(counter) ?? 0) + by),
    onTaken: () => taken++,
  }).run(over.signal);
  return {
    store,
    states,
    delays,
    taken: () => taken,
    count: (counter) => counts.get(counter) ?? 0,
    [Symbol.asyncDispose]: async () => {
      over.abort();
      await ended;
    },
  };
}

/** What a test of one kind's watch works with: each test of the file has its own, closed behind it. */
export interface PerTest {
  readonly api: ScriptedApi;
  readonly connection: ApiConnection;
  readonly follow: (options?: FollowOptions) => FollowedKind;
  /** Waits until so many requests have come. */
  readonly asked: (count: number) => Promise<void>;
  /** Closed when the test is over. */
  readonly parts: AsyncDisposableStack;
}

/** How long something may take that a loopback server brings about. */
export const WAIT = { timeout: 5000, interval: 2 };

/** A scripted API for each test of the file that calls it, outside of its tests. */
export function scriptedApiPerTest(): PerTest {
  let parts = new AsyncDisposableStack();
  let api: ScriptedApi | undefined;
  let connection: ApiConnection | undefined;
  beforeEach(async () => {
    parts = new AsyncDisposableStack();
    api = parts.use(await ScriptedApi.start());
    connection = parts.use(await api.connect());
  });
  afterEach(() => parts.disposeAsync());
  const perTest: PerTest = {
    get api() {
      return api ?? expect.unreachable();
    },
    get connection() {
      return connection ?? expect.unreachable();
    },
    get parts() {
      return parts;
    },
    follow: (options) => parts.use(followKind(perTest.connection, options)),
    asked: async (count) => {
      await expect.poll(() => perTest.api.log, WAIT).toHaveLength(count);
    },
  };
  return perTest;
}

/** The Services that it knows. */
export function serviceNames({ store }: FollowedKind): readonly string[] {
  return [...store.facts.services.keys()];
}
