import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type WatchClusterOptions, watchCluster } from '../../src/cluster/api-watch.ts';
import { WATCHED_KINDS } from '../../src/cluster/decode-watched.ts';
import { FactStore } from '../../src/cluster/fact-store.ts';
import { service, slice } from '../objects.ts';
import {
  NODE_NAME,
  page,
  type Scripted,
  ScriptedApi,
  scriptedApiPerTest,
  tell,
  WAIT,
} from './scripted-api.ts';
import { refuse } from './stand-in.ts';

const metadata = { resourceVersion: '90' };
const older = { resourceVersion: '50' };

describe('watchCluster()', () => {
  let parts: AsyncDisposableStack;
  let api: ScriptedApi;
  let store: FactStore;
  let cut: () => void;

  beforeEach(async () => {
    parts = new AsyncDisposableStack();
    api = parts.use(await ScriptedApi.start());
    store = new FactStore(NODE_NAME);
    const open: Parameters<Scripted>[1][] = [];
    cut = () => {
      for (const response of open) response.destroy();
    };
    const opened: Scripted = (_, response) => {
      response.writeHead(200).flushHeaders();
      open.push(response);
    };
    api.list('Service', page('Service', [service({ metadata })], { resourceVersion: '100' }));
    api.list('EndpointSlice', (_, response) => {
      const one = { ...slice({ endpoints: [{ address: '10.244.1.20' }] }) };
      const item = { ...one, metadata: { ...one.metadata, ...metadata } };
      page('EndpointSlice', [item], { resourceVersion: '100' })(_, response);
    });
    for (const kind of ['Service', 'EndpointSlice'] as const) api.watch(kind, opened);
  });

  afterEach(() => parts.disposeAsync());

  async function follow(delayAfter = (_failures: number) => 5): Promise<void> {
    const connection = parts.use(await api.connect());
    const over = new AbortController();
    const options = { nodeName: NODE_NAME, delayAfter };
    const ended = (async () => {
      for await (const _ of watchCluster(connection, store, options, over.signal));
    })();
    parts.defer(async () => {
      over.abort();
      await ended;
    });
    await expect.poll(sizes, WAIT).toEqual([1, 1]);
    await expect.poll(() => api.log.filter((line) => line.startsWith('watch')).length, WAIT).toBe(4);
    // Watches that have been open for so long count as good ones.
    await sleep(300);
  }

  const sizes = () => [store.facts.services.size, store.facts.slices.size];
  const asked = (path: string) => api.server.asked.filter((each) => each.path.endsWith(path)).length;

  it('takes lists of a server that was restored all at once, so that no Service seems to lose its endpoints', async () => {
    const none = page('EndpointSlice', [], older);
    api.list('EndpointSlice', none, none);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    api.list(
      'Service',
      (each, response) => void released.then(() => page('Service', [], older)(each, response)),
      page('Service', [], older),
    );
    await follow();
    cut();
    await expect.poll(() => asked('/endpointslices'), WAIT).toBeGreaterThanOrEqual(4);
    await sleep(100);
    expect(sizes()).toEqual([1, 1]);
    release();
    await expect.poll(sizes, WAIT).toEqual([0, 0]);
  });

  it('asks for the others at once when one was listed again, however long they would wait', async () => {
    const none = page('EndpointSlice', [], older);
    api.list('EndpointSlice', none, none);
    api.list('Service', page('Service', [], older), page('Service', [], older));
    let broken = 0;
    // One of the two waits for an hour; what is gone fails a second time.
    await follow((failures) => (failures === 1 && broken++ === 1 ? 3_600_000 : 1));
    cut();
    await expect.poll(sizes, WAIT).toEqual([0, 0]);
  });
});

describe('watchCluster() from the start', () => {
  const test = scriptedApiPerTest();

  /** How often it has yielded so far. */
  function follow(more: Partial<WatchClusterOptions> = {}): { readonly store: FactStore; yields: number } {
    const store = new FactStore(NODE_NAME);
    const followed = { store, yields: 0 };
    const over = new AbortController();
    const options = { nodeName: NODE_NAME, delayAfter: () => 1, ...more };
    const ended = (async () => {
      for await (const _ of watchCluster(test.connection, store, options, over.signal)) followed.yields++;
    })();
    test.parts.defer(async () => {
      over.abort();
      await ended;
    });
    return followed;
  }

  const queries = (path: string) =>
    test.api.server.asked.filter((each) => each.path.endsWith(path)).map(({ query }) => query);

  it('yields nothing before each kind has had a whole list, be it that it is not served', async () => {
    const waiting: (() => void)[] = [];
    test.api.list('EndpointSlice', (asked, response) => {
      waiting.push(() => page('EndpointSlice', [], { resourceVersion: '10' })(asked, response));
    });
    test.api.list('ServiceCIDR', (_, response) => refuse(response, 404, 'the server could not find it'));
    const states: string[] = [];
    const followed = follow({ onState: ({ kind, state }) => states.push(`${kind} ${state}`) });
    await expect.poll(() => states, WAIT).toContain('ServiceCIDR notServed');
    await expect.poll(() => states, WAIT).toContain('Node watching');
    await sleep(50);
    expect(followed.yields).toBe(0);
    for (const answer of waiting) answer();
    await expect.poll(() => followed.yields, WAIT).toBe(1);
  });

  it('yields once for what has come while its caller was busy', async () => {
    const { promise: told, resolve: tellMore } = Promise.withResolvers<void>();
    const added = (name: string) => ({
      type: 'ADDED',
      object: service({ name, metadata: { resourceVersion: '20' } }),
    });
    test.api.watch('Service', (asked, response) => {
      void told.then(() => tell(added('a'), added('b'), added('c'))(asked, response));
    });
    const followed = follow();
    await expect.poll(() => followed.yields, WAIT).toBe(1);
    tellMore();
    await expect.poll(() => followed.store.facts.services.size, WAIT).toBe(3);
    await expect.poll(() => followed.yields, WAIT).toBe(2);
  });

  it('asks for the own Node alone where it is told to', async () => {
    const followed = follow({ nodes: 'own' });
    await expect.poll(() => followed.yields, WAIT).toBe(1);
    expect(queries('/nodes')[0]).toMatchObject({ fieldSelector: `metadata.name=${NODE_NAME}` });
  });

  it('counts lists and events of each kind', async () => {
    const object = service({ metadata: { resourceVersion: '20' } });
    test.api.watch('Service', tell({ type: 'ADDED', object }));
    const counts: string[] = [];
    const followed = follow({ onCount: (kind, counter, by) => counts.push(`${kind} ${counter} ${by}`) });
    await expect.poll(() => followed.store.facts.services.size, WAIT).toBe(1);
    expect(counts.filter((count) => count.includes('lists')).sort()).toEqual(
      WATCHED_KINDS.map((kind) => `${kind} lists 1`).sort(),
    );
    expect(counts).toContain('Service events 1');
  });
});
