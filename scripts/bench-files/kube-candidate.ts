import { readFileSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiClient, connectToApi } from '../../test/kernel/kube/api-client.ts';
import type { ApiAccess } from '../../test/kernel/kube/api-server.ts';
import { clusterContent, endpointObject, type SliceObject } from '../../test/kernel/kube/cluster-content.ts';
import type { Daemon } from '../../test/kernel/kube/daemon.ts';
import {
  createContent,
  deleteContent,
  pollUntil,
  rollingUpdate,
  writeEndpoints,
} from '../../test/kernel/kube/load.ts';
import {
  childrenOf,
  processesStarted,
  processMemory,
  processorSeconds,
} from '../../test/kernel/kube/measure.ts';
import { createProxy, type ServiceProxy } from './kube-candidates.ts';
import type { Figures, Result, Task } from './kube-figures.ts';
import type { KernelView } from './kube-views.ts';
import { LimitError, nullAtLimit, seenInTime, syncAfter } from './kube-wait.ts';
import { countDatagrams, straceTo } from './netlink-count.ts';

/**
 * Measures one candidate, in a network namespace of its own from which the API server can be reached, and with the
 * content there already: `kube-candidate.ts TASK ACCESS` (both JSON). Prints a Result, as one line of JSON.
 */

/** Numbers of Services behind those of the content. */
const ROLLING_SERVICE = 30_000;
const BURST_SERVICES = 40_000;
/** More than kube-proxy's nftables mode leaves between two syncs by default, so that nothing waits for that. */
const BETWEEN_CHANGES_MS = 1100;
const BETWEEN_STEPS_MS = 100;
const REHEARSALS = 30;
/** default/kubernetes, with its one endpoint. */
const OTHER_SERVERS = 1;

const task: Task = JSON.parse(process.argv[2] ?? '');
const access: ApiAccess = JSON.parse(process.argv[3] ?? '');
const limitMs = task.limitSeconds * 1000;
const figures: { -readonly [Key in keyof Figures]: Figures[Key] } = {};
const content = clusterContent(task);

async function measure(api: ApiClient, proxy: ServiceProxy, view: KernelView): Promise<void> {
  let daemon = await measureColdStart(proxy, view);
  try {
    // What is left of the start, and the first looks after it, is not idle yet.
    await sleep(task.idleSeconds * 1000);
    await measureIdle(daemon);
    await measureChanges(api, daemon, view);
    await measureRollingUpdate(api, daemon, view);
    Object.assign(figures, processMemory(daemon.pid));
    await daemon.stop();
    daemon = await measureRestart(proxy);
    if (task.countsNetlink) {
      await daemon.stop();
      daemon = await measureNetlink(api, proxy, view);
      // strace takes no signal while it writes to a file, and ends after what it traces.
      for (const traced of childrenOf(daemon.pid)) process.kill(traced, 'SIGTERM');
      await daemon.stop();
      daemon = await proxy.start();
      await syncAfter(Date.now(), limitMs);
    }
    // The last, for it may take longer than anybody waits.
    await measureBurst(api, daemon, view);
    Object.assign(figures, processMemory(daemon.pid));
  } catch (error) {
    throw new Error(`${messageOf(error)}\n${daemon.log().slice(-2000)}`, { cause: error });
  } finally {
    await daemon.stop('SIGKILL');
  }
}

async function measureColdStart(proxy: ServiceProxy, view: KernelView): Promise<Daemon> {
  say('start');
  const processes = processesStarted();
  const startMs = performance.now();
  const daemon = await proxy.start();
  const isFull = () => hasServices(view, task.services);
  const tableSeen = view.isCostly ? undefined : pollUntil(isFull, { intervalMs: 10, timeoutMs: limitMs });
  const synced = syncAfter(0, limitMs);
  if (tableSeen) figures.coldTableMs = since(startMs, await tableSeen);
  figures.coldSyncMs = since(startMs, await synced);
  if (figures.coldSyncMs === null) {
    await daemon.stop('SIGKILL');
    throw new LimitError('no first sync');
  }
  figures.coldSeconds = processorSeconds(daemon.pid);
  figures.coldProcesses = processesStarted() - processes;
  if (!isFull()) {
    await daemon.stop('SIGKILL');
    throw new Error(`in sync with a table that is not full: ${daemon.log().slice(-2000)}`);
  }
  return daemon;
}

async function measureIdle({ pid }: Daemon): Promise<void> {
  say('idle');
  const processes = processesStarted();
  const seconds = processorSeconds(pid);
  const startMs = performance.now();
  await sleep(task.idleSeconds * 1000);
  const share = (1000 * (processorSeconds(pid) - seconds)) / (performance.now() - startMs);
  figures.idlePercent = 100 * share;
  figures.idleProcesses = processesStarted() - processes;
}

async function measureChanges(api: ApiClient, { pid }: Daemon, view: KernelView): Promise<void> {
  say('endpoints one by one');
  await rehearse(api, view);
  const measured: number[] = [];
  const seconds = processorSeconds(pid);
  const deadline = performance.now() + limitMs;
  for (let i = 0; i < task.changes && performance.now() < deadline; i++) {
    measured.push(await timeChange(api, view, i));
    await sleep(BETWEEN_CHANGES_MS + 300 * Math.random());
  }
  figures.changeMs = measured;
  figures.changeSeconds = (processorSeconds(pid) - seconds) / measured.length;
}

/**
 * What is measured with must not count: the API server and this process do here what they will do, and no candidate is
 * told, for a write of what is there already is no event.
 */
async function rehearse(api: ApiClient, view: KernelView): Promise<void> {
  const { slices, clusterIPs } = serviceAt(0);
  const [slice] = slices;
  const [address = ''] = slice?.endpoints[0]?.addresses ?? [];
  for (let i = 0; slice && i < REHEARSALS; i++) {
    const isSeen = view.watch(clusterIPs[0] ?? '', address, true);
    await writeEndpoints(api, slice, slice.endpoints);
    const look = async () => (await isSeen()) !== undefined || view.isCostly;
    await pollUntil(look, { intervalMs: 1, timeoutMs: limitMs });
  }
}

/** Takes an endpoint from a Service, or gives it back the next time. */
async function timeChange(api: ApiClient, view: KernelView, i: number): Promise<number> {
  const { slices, clusterIPs } = serviceAt(((i >> 1) * 37) % task.services);
  const [slice] = slices;
  const endpoint = slice?.endpoints.at(-1);
  const [address] = endpoint?.addresses ?? [];
  const [clusterIP] = clusterIPs;
  if (!slice || address === undefined || clusterIP === undefined)
    throw new Error('a Service without endpoint');
  const isAdded = i % 2 === 1;
  const isSeen = view.watch(clusterIP, address, isAdded);
  // Garbage of this process is collected now rather than while it looks.
  globalThis.gc?.();
  await writeEndpoints(api, slice, isAdded ? slice.endpoints : slice.endpoints.slice(0, -1));
  const writtenMs = performance.now();
  let seenMs: number | undefined;
  const look = async () => {
    seenMs = await isSeen();
    return seenMs !== undefined;
  };
  await pollUntil(look, { intervalMs: 1, timeoutMs: limitMs });
  if (seenMs === undefined) throw new LimitError('an endpoint has not come');
  // It may have come while the acknowledgement was on its way.
  return Math.max(0, seenMs - writtenMs);
}

async function measureRollingUpdate(api: ApiClient, { pid }: Daemon, view: KernelView): Promise<void> {
  say('rolling update');
  const service = clusterContent({ services: 1, endpoints: task.rollingPods, first: ROLLING_SERVICE });
  const [{ slices, clusterIPs } = { slices: [], clusterIPs: [] }] = service;
  const [clusterIP = ''] = clusterIPs;
  const seen = (addresses: readonly string[]) =>
    seenInTime(view, () => view.serves(clusterIP, addresses), {
      limitMs,
      failure: 'the rolling Service has not come',
    });
  await createContent(api, service);
  try {
    await seen(addressesOf(slices));
    const seconds = processorSeconds(pid);
    const updates = slices.map((slice, s) => {
      const fresh = slice.endpoints.map((_, i) => endpointObject(ROLLING_SERVICE, 1000 + 100 * s + i));
      return { slice, fresh, steps: rollingUpdate(slice.endpoints, fresh, 10) };
    });
    for (const { slice, steps } of updates) {
      for (const step of steps) {
        await writeEndpoints(api, slice, step);
        await sleep(BETWEEN_STEPS_MS);
      }
    }
    const writtenMs = performance.now() - BETWEEN_STEPS_MS;
    const fresh = updates.flatMap((update) => update.fresh.flatMap(({ addresses }) => addresses));
    figures.rollingMs = await nullAtLimit(seen(fresh).then((seenMs) => Math.max(0, seenMs - writtenMs)));
    figures.rollingSeconds = processorSeconds(pid) - seconds;
  } finally {
    await deleteContent(api, service);
  }
}

async function measureBurst(api: ApiClient, { pid }: Daemon, view: KernelView): Promise<void> {
  const { endpoints, isDualStack } = task;
  const burst = clusterContent({ services: task.burst, endpoints, isDualStack, first: BURST_SERVICES });
  say('many Services at once');
  const seconds = processorSeconds(pid);
  await createContent(api, burst);
  const writtenMs = performance.now();
  const isFull = async () => hasServices(view, task.services + task.burst);
  const seen = seenInTime(view, isFull, { limitMs, failure: 'the burst has not come' });
  try {
    // It may have come while the last acknowledgement was on its way.
    figures.burstMs = await nullAtLimit(seen.then((seenMs) => Math.max(0, seenMs - writtenMs)));
    figures.burstSeconds = processorSeconds(pid) - seconds;
  } finally {
    await deleteContent(api, burst);
  }
}

async function measureRestart(proxy: ServiceProxy): Promise<Daemon> {
  say('restart');
  const startedMs = Date.now();
  const startMs = performance.now();
  const daemon = await proxy.start();
  figures.restartSyncMs = since(startMs, await syncAfter(startedMs, limitMs));
  figures.restartSeconds = processorSeconds(daemon.pid);
  return daemon;
}

async function measureNetlink(api: ApiClient, proxy: ServiceProxy, view: KernelView): Promise<Daemon> {
  say('netlink');
  const file = `/tmp/bench-strace-${process.pid}`;
  const startedMs = Date.now();
  const daemon = await proxy.start(straceTo(file));
  // It is much slower so: what is not in sync in time has no figure, and the rest goes on.
  if ((await syncAfter(startedMs, limitMs)) === undefined) return daemon;
  await settle();
  const atStart = countDatagrams(file);
  figures.restartDatagrams = atStart;
  await timeChange(api, view, 0);
  await timeChange(api, view, 1);
  await settle();
  figures.changeDatagrams = (countDatagrams(file) - atStart) / 2;
  rmSync(file);
  return daemon;
}

/** Whether this many Services of the content are in the kernel, with all endpoints. */
function hasServices(view: KernelView, services: number): boolean {
  const served = services * (task.isDualStack ? 2 : 1);
  return view.isFull(served + OTHER_SERVERS, served * task.endpoints + OTHER_SERVERS);
}

/** Whatever a change still entails is over by then, if it is ever. */
async function settle(): Promise<void> {
  await sleep(Math.min(3, task.idleSeconds) * 1000);
}

function serviceAt(i: number) {
  const found = content[i];
  if (!found) throw new RangeError(`no Service ${i}`);
  return found;
}

function addressesOf(slices: readonly SliceObject[]): readonly string[] {
  return slices.flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses));
}

function since(startMs: number, seenMs: number | undefined): number | null {
  return seenMs === undefined ? null : seenMs - startMs;
}

function say(step: string): void {
  process.stderr.write(`${task.candidate}, ${task.services} Services: ${step}\n`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

async function main(): Promise<void> {
  using api = connectToApi(access.server, readFileSync(access.caFile, 'utf8'), access.token);
  const proxy = createProxy(task.candidate, `/tmp/bench-${process.pid}`, access);
  let failure: string | undefined;
  try {
    using view = proxy.openView();
    await measure(api, proxy, view);
  } catch (error) {
    failure = messageOf(error);
  }
  const result: Result = { task, figures, ...(failure === undefined ? {} : { failure }) };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

await main();
// A connection kept open to a daemon that has ended is nothing to wait for.
process.exit();
