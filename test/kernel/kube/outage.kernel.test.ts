import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWithKube } from './binaries.ts';
import { CONTENT_NAMESPACE, endpointObject } from './cluster-content.ts';
import { deleteContent, inParallel, writeEndpoints } from './load.ts';
import { metricSum } from './svcplane-metrics.ts';
import { inTrouble } from './trouble.ts';
import { startTroubledNode, type TroubledNode } from './troubled-node.ts';

const START_MS = 900_000;
const LONG_MS = 1_800_000;
const SERVICES = 60;
const ENDPOINTS = 3;
const CUT_MS = inTrouble({ some: 8000, all: 60_000 });
const BURST = inTrouble({ some: 1000, all: 10_000 });
const CLOSED = inTrouble({ some: 6, all: 30 });
const CYCLES = inTrouble({ some: 14, all: 100 });
/** After so many caches have been filled, and code has been compiled. */
const WARM_UP_CYCLES = inTrouble({ some: 7, all: 20 });
/** V8 gives back memory when it likes to; what each cycle keeps would be more. */
const MAX_GROWTH_BYTES = 24_000_000;

describeWithKube('svcplane run in trouble with its API server', ['kube-apiserver'], () => {
  let troubled: TroubledNode;
  /** Virtual servers that a test has had deleted. */
  let deleted = 0;

  beforeAll(async () => {
    troubled = await startTroubledNode({ services: SERVICES, endpoints: ENDPOINTS });
  }, START_MS);

  afterAll(async () => {
    const { rounds } = troubled.clients.report();
    console.log(`outage: all connections exchanged data ${rounds} times`);
    await troubled[Symbol.asyncDispose]();
  });

  /** Gives the `index`-th Service other endpoints: each `turn` others than the one before. */
  async function change(index: number, turn: number): Promise<void> {
    const [slice] = troubled.content[index]?.slices ?? [];
    if (!slice) throw new RangeError(`no Service ${index}`);
    const endpoints = Array.from({ length: ENDPOINTS }, (_, i) => endpointObject(index, i + (turn % 4)));
    await writeEndpoints(troubled.api, slice, endpoints);
  }

  async function remove(index: number): Promise<void> {
    await deleteContent(troubled.api, troubled.content.slice(index, index + 1));
    deleted += 1;
  }

  /** That the kernel is right, nothing else was ever deleted, and nothing steady was ever away. */
  async function allIsWell(): Promise<void> {
    await troubled.converged();
    await troubled.clients.asked();
    expect(troubled.clients.report().lost).toEqual([]);
    const metrics = await troubled.daemon.metrics();
    const count = (op: string) =>
      metricSum(metrics, 'svcplane_operations_total', { op, outcome: 'acknowledged' });
    expect(count('deleteVirtualServer')).toBe(deleted);
    expect(metricSum(metrics, 'svcplane_guard_trips_total')).toBe(0);
    expect(troubled.foreign()).toEqual(troubled.foreignBefore);
    const ready = async () => (await troubled.daemon.health('/readyz')).status;
    await expect.poll(ready, { timeout: 60_000, interval: 200 }).toBe(200);
  }

  const relists = async () => metricSum(await troubled.daemon.metrics(), 'svcplane_api_relists_total');

  it(
    'converges after the API server was killed and started again',
    async () => {
      const before = troubled.rows();
      await troubled.api.kill();
      await sleep(2000);
      expect(troubled.rows()).toEqual(before);
      await troubled.api.start();
      await change(1, 1);
      await remove(0);
      await allIsWell();
    },
    LONG_MS,
  );

  it(
    `converges after the network was cut for ${CUT_MS / 1000} s`,
    async () => {
      troubled.setNetwork(true);
      await change(2, 1);
      await remove(3);
      await sleep(CUT_MS);
      troubled.setNetwork(false);
      await allIsWell();
    },
    LONG_MS,
  );

  it(
    'converges after etcd was compacted while nobody watched',
    async () => {
      const before = await relists();
      troubled.proxy.set('refuse');
      await change(4, 1);
      await remove(5);
      await troubled.api.kill();
      await troubled.api.compact();
      // What the API server itself remembers of history is gone with it.
      await troubled.api.start();
      troubled.proxy.set('pass');
      await allIsWell();
      expect(await relists()).toBeGreaterThan(before);
    },
    LONG_MS,
  );

  it(
    `converges after a burst of ${BURST} events`,
    async () => {
      const events = Array.from({ length: BURST }, (_, i) => i);
      await inParallel(events, (i) => change(10 + (i % 40), Math.floor(i / 40)));
      await allIsWell();
    },
    LONG_MS,
  );

  it(
    `converges though its watches are closed every second, ${CLOSED} times, while things change`,
    async () => {
      for (let time = 0; time < CLOSED; time++) {
        const next = sleep(1000);
        await inParallel([20, 21, 22, 23, 24], (index) => change(index, time));
        await next;
        troubled.proxy.cut();
      }
      await allIsWell();
    },
    LONG_MS,
  );

  it(
    `keeps no memory of ${CYCLES} such cycles`,
    async () => {
      const figures: number[] = [];
      for (let turn = 0; turn < CYCLES; turn++) {
        await trouble(turn);
        await change(30 + (turn % 10), turn);
        await troubled.converged();
        figures.push(troubled.daemon.memory().residentBytes);
      }
      await allIsWell();
      const [before = 0] = figures.slice(WARM_UP_CYCLES);
      const after = figures.at(-1) ?? 0;
      const shown = figures.filter((_, i) => i % 10 === 0).map((bytes) => Math.round(bytes / 1e6));
      console.log(`outage: resident after each tenth of ${CYCLES} cycles ${shown.join(', ')} MB`);
      console.log(`outage: resident ${before} bytes after ${WARM_UP_CYCLES} cycles, ${after} in the end`);
      expect(after - before).toBeLessThan(MAX_GROWTH_BYTES);
    },
    LONG_MS,
  );

  /** One trouble of each kind in turn. */
  async function trouble(turn: number): Promise<void> {
    const { api, proxy, setNetwork } = troubled;
    switch (turn % 7) {
      case 0:
        await api.kill();
        await api.start();
        break;
      case 1:
        setNetwork(true);
        await change(40, turn);
        await sleep(300);
        setNetwork(false);
        break;
      case 2:
        proxy.set('refuse');
        await change(41, turn);
        await sleep(300);
        proxy.set('pass');
        break;
      case 3:
        proxy.set('silent');
        await sleep(300);
        proxy.set('pass');
        proxy.cut();
        break;
      case 4:
        await api.compact();
        proxy.cut();
        break;
      case 5:
        await inParallel(
          Array.from({ length: 100 }, (_, i) => i),
          (i) => change(10 + (i % 40), turn + i),
        );
        break;
      default:
        proxy.cut();
    }
  }

  it('is where nothing of this has left anything behind', async () => {
    const { items } = (await troubled.api.request(
      'GET',
      `/api/v1/namespaces/${CONTENT_NAMESPACE}/services`,
    )) as {
      readonly items: readonly unknown[];
    };
    expect(items).toHaveLength(SERVICES - deleted);
    expect(troubled.addresses()).toHaveLength(SERVICES - deleted + 4);
  });
});
