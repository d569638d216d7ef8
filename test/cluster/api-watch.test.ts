import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { watchCluster } from '../../src/cluster/api-watch.ts';
import { FactStore } from '../../src/cluster/fact-store.ts';
import { service, slice } from '../objects.ts';
import { NODE_NAME, page, type Scripted, ScriptedApi } from './scripted-api.ts';

const WAIT = { timeout: 5000, interval: 2 };
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
