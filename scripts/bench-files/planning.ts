import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assembleDataplanes, type Dataplanes } from '../../src/assembly.ts';
import { decodeObjects } from '../../src/cluster/decode.ts';
import type { ClusterFacts } from '../../src/cluster/facts.ts';
import { parseConfig } from '../../src/config.ts';
import { openLinkKernel } from '../../src/dataplane/addresses/client.ts';
import type { IpvsOp } from '../../src/dataplane/ipvs/ops.ts';
import { EMPTY_LEDGER } from '../../src/dataplane/ledger.ts';
import { type Derivation, derive, nodeContext } from '../../src/desired/derive.ts';
import { benchNetlink } from '../bench-netlink.ts';
import { generateServices, listOf, toYamlDocuments } from '../generate-services.ts';

const ROUNDS = 5;
const SIZES = [1_000, 10_000, 30_000];
const ENDPOINTS = 5;
/** Prints the peak of the process itself when it ends; ru_maxrss is in KiB. */
const REPORT_PEAK = 'process.on("exit",()=>process.stderr.write("\\npeak "+process.resourceUsage().maxRSS))';

process.stdout.write(`planning, without a kernel: Services × ${ENDPOINTS} endpoints, median of ${ROUNDS}\n`);
process.stdout.write('services  decode ms  derive ms  diff ms  one changed: derive + diff ms\n');
for (const size of SIZES) process.stdout.write(`${planningRow(size)}\n`);

const codec = benchNetlink();
process.stdout.write('\nnetlink codec\n');
for (const [name, value] of Object.entries(codec))
  process.stdout.write(`${name.padEnd(24)} ${Math.round(value)}\n`);

process.stdout.write(
  `\nthe whole command: snapshot --desired, ${SIZES[1]} Services × ${ENDPOINTS}, median of 3\n`,
);
wholeCommand('json');
wholeCommand('yaml');

function planningRow(size: number): string {
  const objects = generateServices(size, ENDPOINTS);
  const rounds = Array.from({ length: ROUNDS }, () => planningRound(objects));
  const ms = (pick: (round: Round) => number): string => median(rounds.map(pick)).toFixed(1);
  return [
    String(size).padStart(8),
    ms((round) => round.decode).padStart(10),
    ms((round) => round.derive).padStart(10),
    ms((round) => round.diff).padStart(8),
    ms((round) => round.oneChanged).padStart(31),
  ].join(' ');
}

interface Round {
  readonly decode: number;
  readonly derive: number;
  readonly diff: number;
  readonly oneChanged: number;
}

function planningRound(objects: ReturnType<typeof generateServices>): Round {
  const config = parseConfig({}, 'bench');
  const options = { ...config, node: 'n0', nodeAddresses: null, hostAddresses: [], followHost: false };
  const { ipvs } = dataplanes();
  const [facts, decode] = timed(() => decodeObjects(objects, 'n0'));
  const context = nodeContext(facts, options);
  const [derived, deriveMs] = timed(() => derive(facts, context));
  const wanted = ipvs.project(derived.desired).rows;
  const empty = { ...wanted, virtualServers: new Map(), sysctls: new Map() };
  const observed = ipvs.reduce(empty, [...ipvs.plan(empty, wanted).make]);
  const [idle, diff] = timed(() => ipvs.plan(observed, ipvs.project(derived.desired).rows));
  expect(idle.make.filter((op: IpvsOp) => op.op !== 'setSysctl').length, 0);
  const changed = withOneEndpointLess(facts);
  const [ops, oneChanged] = timed(() => {
    const next: Derivation = derive(changed, context, derived);
    return ipvs.plan(observed, ipvs.project(next.desired).rows).break;
  });
  expect(ops.length, 1);
  return { decode, derive: deriveMs, diff, oneChanged };
}

function withOneEndpointLess(facts: ClusterFacts): ClusterFacts {
  const slices = new Map(facts.slices);
  const [first] = slices;
  if (first)
    slices.set(
      first[0],
      first[1].map((slice) => ({ ...slice, endpoints: slice.endpoints.slice(1) })),
    );
  return { ...facts, slices };
}

function dataplanes(): Dataplanes {
  const none = async (): Promise<never> => {
    throw new Error('planning asks no kernel');
  };
  return assembleDataplanes(parseConfig({}, 'bench'), {
    kernel: { dump: none, read: none, has: none, execute: none },
    nftables: { list: none, run: none, generation: () => undefined },
    links: openLinkKernel(),
    ledger: { read: () => EMPTY_LEDGER, update: () => undefined, check: () => undefined },
    nowMs: Date.now,
  });
}

function wholeCommand(format: 'json' | 'yaml'): void {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-bench-'));
  try {
    const file = join(directory, `services.${format}`);
    const objects = generateServices(SIZES[1] ?? 0, ENDPOINTS);
    writeFileSync(file, format === 'json' ? JSON.stringify(listOf(objects)) : toYamlDocuments(objects));
    const runs = Array.from({ length: 3 }, () => runCommand(file));
    const seconds = median(runs.map((run) => run.seconds)).toFixed(2);
    const mebibytes = (median(runs.map((run) => run.peakKibibytes)) / 1024).toFixed(0);
    process.stdout.write(`${format.padEnd(5)} ${seconds} s with start-up, peak RSS ${mebibytes} MiB\n`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function runCommand(file: string): { seconds: number; peakKibibytes: number } {
  const script = join(import.meta.dirname, '..', 'svcplane');
  const argv = ['snapshot', '--desired', '-f', file, '--node', 'n0', '-o', 'ipvsadm-save'];
  const env = {
    ...process.env,
    NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(REPORT_PEAK)}`,
  };
  const [child, ms] = timed(() => spawnSync(script, argv, { env, maxBuffer: 1 << 28, encoding: 'utf8' }));
  expect(child.stdout.split('\n').length - 1, (SIZES[1] ?? 0) * (1 + ENDPOINTS));
  return { seconds: ms / 1000, peakKibibytes: Number(/peak (\d+)/.exec(child.stderr)?.[1]) };
}

function timed<T>(work: () => T): [T, number] {
  const start = performance.now();
  const result = work();
  return [result, performance.now() - start];
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function expect(actual: number, expected: number): void {
  if (actual !== expected)
    throw new Error(`The bench measured something else: ${actual} instead of ${expected}`);
}
