import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';
import type { ApiConnection } from '../../../src/cluster/api-connection.ts';
import type { WatchCounter, WatchState } from '../../../src/cluster/api-kind-watch.ts';
import { watchCluster } from '../../../src/cluster/api-watch.ts';
import { decodeObjects } from '../../../src/cluster/decode.ts';
import { type FactChanges, FactStore } from '../../../src/cluster/fact-store.ts';
import type { ClusterFacts } from '../../../src/cluster/facts.ts';
import { comparableFacts } from '../../comparable-facts.ts';
import type { ApiServer } from './api-server.ts';

export const NODE_NAME = 'node-1';
const CONVERGED_MS = 60_000;
const POLL_MS = 50;

const LISTS = [
  {
    path: '/api/v1/services?labelSelector=!service.kubernetes.io/service-proxy-name',
    kind: 'Service',
    apiVersion: 'v1',
  },
  {
    path: '/apis/discovery.k8s.io/v1/endpointslices?labelSelector=!service.kubernetes.io/headless',
    kind: 'EndpointSlice',
    apiVersion: 'discovery.k8s.io/v1',
  },
  { path: '/api/v1/nodes', kind: 'Node', apiVersion: 'v1' },
  {
    path: '/apis/networking.k8s.io/v1/servicecidrs',
    kind: 'ServiceCIDR',
    apiVersion: 'networking.k8s.io/v1',
  },
];

/** A watch of the whole cluster that goes on by itself. */
export interface Following extends AsyncDisposable {
  readonly store: FactStore;
  readonly states: readonly WatchState[];
  count(counter: WatchCounter): number;
  /** How often the watch has yielded, and what the store had changed by then. */
  readonly yields: readonly FactChanges[];
  /** Waits until the facts are those of a fresh list. */
  converged(): Promise<void>;
}

/** Follows `api` over a connection, which it closes in the end. */
export function follow(api: ApiServer, connection: ApiConnection): Following {
  const store = new FactStore(NODE_NAME);
  const states: WatchState[] = [];
  const yields: FactChanges[] = [];
  const counts = new Map<WatchCounter, number>();
  const over = new AbortController();
  const watch = watchCluster(
    connection,
    store,
    {
      nodeName: NODE_NAME,
      delayAfter: (failures) => Math.min(1000, 20 * 2 ** failures),
      onState: (state) => states.push(state),
      onCount: (_, counter, by) => counts.set(counter, (counts.get(counter) ?? 0) + by),
    },
    over.signal,
  );
  const ended = (async () => {
    for await (const _ of watch) yields.push(store.takeChanges());
  })();
  return {
    store,
    states,
    yields,
    count: (counter) => counts.get(counter) ?? 0,
    converged: async () => {
      const isConverged = async () =>
        yields.length > 0 &&
        isDeepStrictEqual(comparableFacts(store.facts), comparableFacts(await listed(api)));
      await expect.poll(isConverged, { timeout: CONVERGED_MS, interval: POLL_MS }).toBe(true);
    },
    [Symbol.asyncDispose]: async () => {
      over.abort();
      await ended;
      connection[Symbol.dispose]();
    },
  };
}

async function listed(api: ApiServer): Promise<ClusterFacts> {
  const lists = LISTS.map(async ({ path, kind, apiVersion }) => {
    const list = await api.request('GET', path);
    const items =
      typeof list === 'object' && list && 'items' in list && Array.isArray(list.items) ? list.items : [];
    return items.map((item: object) => ({ ...item, kind, apiVersion }));
  });
  return decodeObjects((await Promise.all(lists)).flat(), NODE_NAME);
}
