import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assembleDataplanes } from '../../src/assembly.ts';
import type { CliContext, NodeAccess } from '../../src/cli/context.ts';
import { runCli } from '../../src/cli/program.ts';
import { watchManifests } from '../../src/cluster/manifest-watch.ts';
import type { Config } from '../../src/config.ts';
import { daemonAccess, openCluster } from '../../src/daemon-host.ts';
import { nodeAddressesOf } from '../../src/dataplane/addresses/rows.ts';
import { SYSCTL_NAMES } from '../../src/dataplane/ipvs/sysctls.ts';
import { openLedgerStore } from '../../src/dataplane/ledger-store.ts';
import type { SocketRecord } from '../../src/status/records.ts';
import { drainCheckMs } from '../../src/sync/drain-check.ts';
import { FakeSysctls } from '../../test/fakes/ipvs-kernel.ts';
import { FakeLinkKernel } from '../../test/fakes/link-kernel.ts';
import { FakeNftablesKernel } from '../../test/fakes/nftables-kernel.ts';
import { kubeconfigOf } from '../../test/kernel/kube/api-server.ts';
import { POD_RANGES } from '../../test/kernel/kube/cluster-content.ts';
import { CompactIpvsKernel } from './compact-kernel.ts';
import { changeOf, type Ended, monotonicMs, type Progress } from './scale-messages.ts';

/**
 * `svcplane run` against an API server, over kernels in memory: `scale-daemon.ts NODE ACCESS` (JSON). Its parent is
 * told of the changes that have reached the IPVS table, and says when to end.
 */
const [nodeName = '', access = ''] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'svcplane-scale-'));
const kubeconfig = join(directory, 'kubeconfig');
writeFileSync(kubeconfig, kubeconfigOf(JSON.parse(access)));
const configFile = join(directory, 'config.yaml');
const settings = {
  kubeconfig,
  nodeName,
  stateDirectory: directory,
  clusterCIDRs: POD_RANGES,
  socket: join(directory, 'svcplane.sock'),
  // One line for each sync that changed something is more than anybody reads here.
  log: { level: 'error' },
};
writeFileSync(configFile, JSON.stringify(settings));

let seen: [number, number][] = [];
const kernels = {
  kernel: new CompactIpvsKernel(({ address }) => {
    const change = changeOf(address);
    if (change !== undefined) seen.push([change, monotonicMs()]);
  }),
  links: new FakeLinkKernel(),
  nftables: new FakeNftablesKernel(),
};
const { kernel } = kernels;

async function openNode(config: Config): Promise<NodeAccess> {
  const ledger = openLedgerStore(config.stateDirectory);
  const sysctls = new FakeSysctls(Object.fromEntries(SYSCTL_NAMES.map((name) => [name, '1'])));
  const dataplanes = assembleDataplanes(config, {
    ...kernels,
    ledger,
    nowMs: Date.now,
    readSysctl: sysctls.read,
    writeSysctl: sysctls.write,
    readTable: (signal) => kernel.text(signal),
  });
  return {
    stages: dataplanes.stages,
    scopedStages: dataplanes.scopedStages,
    configure: unused,
    announcements: () => [],
    endAnnouncing: async () => undefined,
    sockets: () => NO_SOCKETS,
    traffic: unused,
    deletedFlows: () => ({ IPv4: 0, IPv6: 0 }),
    notes: ledger.notes,
    hostAddresses: async (signal) => nodeAddressesOf(await dataplanes.addresses.observe(signal)),
    snapshot: unused,
    watchLinks: silence,
    ledgerCounts: () => ({}),
    disown: unused,
    drainCheckMs: () =>
      drainCheckMs(ledger.read().drains.values(), Date.now(), config.drainTimeoutSeconds * 1000),
    ipvsInfo: unused,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

const NO_SOCKETS: SocketRecord = {
  mode: 'off',
  outcome: 'unasked',
  cgroup: null,
  reason: 'there is no kernel here',
  served: 0,
  left: 0,
  events: null,
};

/** Nobody else changes these links. */
async function* silence(_: unknown, signal: AbortSignal): AsyncGenerator<'listening'> {
  yield 'listening';
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

function unused(): never {
  throw new Error('no verb but run is for this');
}

function tell(message: Progress | Ended): Promise<void> {
  return new Promise((resolve) => {
    if (process.send) process.send(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

const ended = new AbortController();
const context: CliContext = {
  env: {},
  hostname: nodeName,
  nowMs: Date.now,
  colour: false,
  signal: ended.signal,
  out: async (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  readText: (path) => readFile(path, 'utf8'),
  readManifests: unused,
  // The configuration file is followed with it.
  watchManifests,
  daemon: daemonAccess('bench'),
  openKubeProxy: unused,
  openNode,
  openCluster,
  openLoadBalancer: unused,
  recordedStates: unused,
  projectSnapshot: unused,
  announcementWords: unused,
  traceRows: unused,
  inspectHost: unused,
};

/** @returns bytes of the JavaScript heap that something still refers to */
function heapBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

const timer = setInterval(() => {
  void tell({ ...kernel.size, seen });
  seen = [];
}, 1000);
process.once('message', () => ended.abort());
await runCli(['run', '--config', configFile], context, 'bench');
clearInterval(timer);
const whole = heapBytes();
const { writes } = kernel;
kernel.clear();
await tell({ heapBytes: whole, kernelBytes: whole - heapBytes(), writes });
rmSync(directory, { recursive: true, force: true });
process.exit();
