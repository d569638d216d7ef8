import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startApiServer } from '../../test/kernel/kube/api-server.ts';
import { clusterContent } from '../../test/kernel/kube/cluster-content.ts';
import { createContent, pollUntil, writeEndpoints } from '../../test/kernel/kube/load.ts';
import { percentile, processMemory, processorSeconds } from '../../test/kernel/kube/measure.ts';
import { node } from '../../test/objects.ts';
import { type Ended, markedAddress, monotonicMs, type Progress } from './scale-messages.ts';

/**
 * An API server with Services, and the daemon over kernels in memory in a process of its own, while endpoints change
 * at a steady rate. Prints times from a change to the kernel, processor time and memory. Needs root, and a network
 * namespace whose loopback is up.
 */
const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '100' },
    seconds: { type: 'string', default: '600' },
    daemon: { type: 'string', default: join(import.meta.dirname, 'scale-daemon.ts') },
  },
});
const services = Number(values.services);
const rate = Number(values.rate);
const seconds = Number(values.seconds);

const ENDPOINTS = 5;
const NODE = { name: 'n0', address: '172.16.0.5' };
const SAMPLES_PER_RUN = 120;
const FULL_MS = 600_000;
/** Longer than any change takes that is not lost. */
const LAST_CHANGES_MS = 5000;
const MIB = 2 ** 20;

interface Sample {
  readonly atSeconds: number;
  readonly residentMib: number;
}

const content = clusterContent({ services, endpoints: ENDPOINTS });
await using api = await startApiServer();
await api.apply([node({ name: NODE.name, addresses: [NODE.address] })]);
await createContent(api, content);
say(`${services} Services × ${ENDPOINTS} are in the API server`);

const sentMs: number[] = [];
const acknowledgedMs: number[] = [];
const seenMs: number[] = [];
let progress: Progress = { virtualServers: 0, realServers: 0, seen: [] };

const access = JSON.stringify({ server: api.server, token: api.token, caFile: api.caFile });
const flags = ['--disable-warning=ExperimentalWarning', '--expose-gc', '--max-semi-space-size=4'];
const daemon = spawn(process.execPath, [...flags, values.daemon, NODE.name, access], {
  stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
});
const exited = once(daemon, 'exit');
let ended: Ended | undefined;
daemon.on('message', (message: Progress | Ended) => {
  if ('kernelBytes' in message) {
    ended = message;
    return;
  }
  progress = message;
  for (const [change, atMs] of message.seen) seenMs[change] ??= atMs;
});
const pid = daemon.pid ?? 0;

const startMs = performance.now();
const isFull = () => {
  if (daemon.exitCode !== null) throw new Error('the daemon has ended');
  // default/kubernetes is one more.
  return progress.virtualServers > services && progress.realServers > services * ENDPOINTS;
};
const fullMs = await pollUntil(isFull, { intervalMs: 100, timeoutMs: FULL_MS });
if (fullMs === undefined) throw new Error(`not all virtual servers are there: ${JSON.stringify(progress)}`);
say(`all virtual servers after ${((fullMs - startMs) / 1000).toFixed(1)} s`);
const atStart = processMemory(pid);
say(`then: ${mib(atStart.residentBytes)} MiB resident, ${mib(atStart.peakBytes)} MiB at its peak`);

const samples: Sample[] = [];
const sampled = sample();
const processorStart = processorSeconds(pid);
const loadStart = performance.now();
await change();
const loadSeconds = (performance.now() - loadStart) / 1000;
const processorShare = (processorSeconds(pid) - processorStart) / loadSeconds;
await sampled;
await sleep(LAST_CHANGES_MS);
report();
daemon.send('end');
await Promise.race([exited, pollUntil(() => ended !== undefined, { intervalMs: 50, timeoutMs: 60_000 })]);
if (ended) {
  say(
    `JavaScript heap at the end: ${mib(ended.heapBytes)} MiB, of which ${mib(ended.kernelBytes)} MiB are the kernels in memory; ${ended.writes} IPVS requests executed`,
  );
}
daemon.kill('SIGKILL');
await exited;

/** Changes at the rate, however long each one takes. */
async function change(): Promise<void> {
  const open = new Set<Promise<void>>();
  const total = rate * seconds;
  const began = performance.now();
  for (let i = 0; i < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - began) / 1000) * rate) + 1);
    for (; i < due; i++) {
      const one = changeOne(i).finally(() => open.delete(one));
      open.add(one);
    }
    await sleep(5);
  }
  await Promise.all(open);
}

/** Exchanges the last endpoint of a Service for one that nobody has had before. */
async function changeOne(i: number): Promise<void> {
  const [slice] = content[i % services]?.slices ?? [];
  const last = slice?.endpoints.at(-1);
  if (!slice || !last) throw new RangeError(`no slice for change ${i}`);
  sentMs[i] = monotonicMs();
  const endpoints = [...slice.endpoints.slice(0, -1), { ...last, addresses: [markedAddress(i)] }];
  await writeEndpoints(api, slice, endpoints);
  acknowledgedMs[i] = monotonicMs();
}

async function sample(): Promise<void> {
  const everyMs = (seconds * 1000) / SAMPLES_PER_RUN;
  for (let i = 0; i < SAMPLES_PER_RUN; i++) {
    await sleep(everyMs);
    const residentMib = processMemory(pid).residentBytes / MIB;
    samples.push({ atSeconds: (performance.now() - loadStart) / 1000, residentMib });
  }
}

function report(): void {
  const changes = acknowledgedMs.length;
  const since = (from: readonly number[]) =>
    Object.entries(seenMs).map(([i, atMs]) => Math.max(0, atMs - (from[Number(i)] ?? Number.NaN)));
  const times = (name: string, all: readonly number[]) =>
    say(
      `${name}: p50 ${percentile(all, 0.5).toFixed(1)} ms, p99 ${percentile(all, 0.99).toFixed(1)} ms, worst ${Math.max(...all).toFixed(1)} ms`,
    );
  const seen = Object.keys(seenMs).length;
  say(`${changes} changes in ${loadSeconds.toFixed(0)} s, ${changes - seen} of them not seen in the kernel`);
  times('change sent to kernel', since(sentMs));
  times('change acknowledged to kernel', since(acknowledgedMs));
  const load = loadavg().map((value) => value.toFixed(1));
  say(
    `processor: ${(100 * processorShare).toFixed(1)} % of one; load average of the machine ${load.join(' ')}`,
  );
  const half = samples.slice(samples.length / 2);
  const resident = half.map(({ residentMib }) => residentMib);
  const { residentBytes, peakBytes } = processMemory(pid);
  say(
    `memory: ${mib(residentBytes)} MiB resident, ${mib(peakBytes)} MiB at its peak; in the second half ` +
      `${Math.min(...resident).toFixed(1)} to ${Math.max(...resident).toFixed(1)} MiB, ${slope(half).toFixed(2)} MiB a minute`,
  );
}

/** Of the straight line nearest to the samples, in MiB a minute. */
function slope(points: readonly Sample[]): number {
  const mean = (pick: (point: Sample) => number) =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const atMean = mean(({ atSeconds }) => atSeconds);
  const residentMean = mean(({ residentMib }) => residentMib);
  const covariance = mean((point) => (point.atSeconds - atMean) * (point.residentMib - residentMean));
  return (60 * covariance) / mean(({ atSeconds }) => (atSeconds - atMean) ** 2);
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
