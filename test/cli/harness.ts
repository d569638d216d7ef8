import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  assembleDataplanes,
  observeSnapshot,
  projectSnapshot,
  recordedStates,
  traceRows,
} from '../../src/assembly.ts';
import type { CliContext, DaemonAccess, ExitCode } from '../../src/cli/context.ts';
import type { HostReport } from '../../src/cli/doctor.ts';
import { runCli } from '../../src/cli/program.ts';
import { watchManifests } from '../../src/cluster/manifest-watch.ts';
import { readManifests } from '../../src/cluster/manifests.ts';
import type { Config } from '../../src/config.ts';
import { nodeAddressesOf } from '../../src/dataplane/addresses/rows.ts';
import { SYSCTL_NAMES } from '../../src/dataplane/ipvs/sysctls.ts';
import { disowned } from '../../src/dataplane/ledger.ts';
import type { SocketRefusal } from '../../src/dataplane/socklb/place.ts';
import { announcementWords } from '../../src/dataplane/vrrp/announcements.ts';
import type { VirtualServerKey } from '../../src/model/virtual-server.ts';
import { HealthCheckPorts } from '../../src/status/http.ts';
import { DaemonLog } from '../../src/status/log.ts';
import type { SocketRecord } from '../../src/status/records.ts';
import { StatusServer } from '../../src/status/status-http.ts';
import { FakeIpvsKernel, FakeSysctls } from '../fakes/ipvs-kernel.ts';
import { FakeKubeProxy } from '../fakes/kube-proxy.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import { FakeNftablesKernel } from '../fakes/nftables-kernel.ts';
import type { FakeSocklbKernel } from '../fakes/socklb-kernel.ts';
import { messagesOf } from '../log-text.ts';
import { node, service, slice } from '../objects.ts';

export const HEALTHY_HOST: HostReport = {
  kernelRelease: '6.1.0',
  ipvs: { outcome: 'supported' },
  nftables: { outcome: 'supported' },
  forwardDrops: [],
  portsWithoutHairpin: [],
  netAdmin: { outcome: 'supported' },
  dummyLink: { outcome: 'supported' },
  sysctlsWritable: { outcome: 'supported' },
  stateDirectory: { outcome: 'supported', path: '/var/lib/svcplane' },
  sysctls: [{ name: 'net.ipv4.ip_forward', needs: '1', has: '1', onlyForIpv6: false }],
  links: ['lo', 'eth0'],
  foreignVirtualServers: [],
  boundAddresses: 0,
  clusterIPs: 'bind',
  sockets: {
    mode: 'auto',
    unasked: 'this process is elsewhere',
    abilities: [],
    ending: null,
    canTellErrors: true,
  },
  announcing: null,
  ledgerNotes: [],
};

/** As on a node that sockets have nothing to do with. */
export const NO_SOCKETS: SocketRecord = {
  mode: 'auto',
  outcome: 'unasked',
  cgroup: null,
  reason: 'this process is not in the network namespace of the node',
  served: 0,
  left: 0,
  events: null,
};

/** Nothing is found by looking now and then. */
const WATCH = { patienceMs: 5000, pollMs: 3_600_000 };

export interface Output {
  readonly exit: ExitCode;
  readonly out: string;
  readonly err: string;
}

/** Endpoints of the Service of {@link loadedCli}: on its node, and on another. */
export const A = { address: '10.244.1.20', node: 'n0' };
export const B = { address: '10.244.2.30', node: 'n1' };

/** A command line, and the file of a Service with two endpoints. */
export function loadedCli(): { readonly cli: CliHarness; readonly manifests: string } {
  const cli = new CliHarness();
  return { cli, manifests: cli.file('all.json', [service(), slice({ endpoints: [A, B] }), node()]) };
}

/** The command line over kernels in memory: what one call does, the next one finds. */
export class CliHarness implements Disposable {
  readonly ipvs = new FakeIpvsKernel();
  readonly nftables = new FakeNftablesKernel();
  readonly links = new FakeLinkKernel();
  readonly ledger = new MemoryLedger();
  readonly sysctls = new FakeSysctls(Object.fromEntries(SYSCTL_NAMES.map((name) => [name, '1'])));
  readonly kubeProxy = new FakeKubeProxy(this.links);
  readonly directory = mkdtempSync(join(tmpdir(), 'svcplane-cli-'));
  host: HostReport = HEALTHY_HOST;
  sockets: SocketRecord = NO_SOCKETS;
  /** Why sockets are left alone against the configuration. */
  socketRefusal: SocketRefusal | undefined;
  /** Without it sockets are left alone. */
  socketKernel: FakeSocklbKernel | undefined;
  env: Record<string, string> = {};
  hostname = 'n0';
  /** What ends a verb that would go on. */
  signal = new AbortController().signal;
  /** What the last verb has said on standard error so far, and in the log of the daemon. */
  err = '';
  #tellLinks: () => void = () => undefined;

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true });
  }

  /** Writes a file; objects are written as JSON documents of a List. @returns its path */
  file(name: string, content: string | readonly object[]): string {
    const path = join(this.directory, name);
    const text =
      typeof content === 'string'
        ? content
        : JSON.stringify({ apiVersion: 'v1', kind: 'List', items: content });
    writeFileSync(path, text);
    return path;
  }

  async run(...argv: string[]): Promise<Output> {
    let out = '';
    this.err = '';
    const context: CliContext = {
      env: this.env,
      hostname: this.hostname,
      colour: false,
      signal: this.signal,
      nowMs: Date.now,
      out: async (text) => {
        out += text;
      },
      err: (text) => {
        this.err += text;
      },
      readText: (path) => readFile(path, 'utf8'),
      readManifests,
      watchManifests: (paths, signal) => watchManifests(paths, signal, { ...WATCH, quietMs: 5 }),
      daemon: this.#daemon,
      openKubeProxy: () => this.kubeProxy,
      openNode: async (config) => this.#node(config),
      openCluster: () => Promise.reject(new Error('there is no API server here')),
      openLoadBalancer: () => Promise.reject(new Error('there is no API server here')),
      recordedStates: (config, snapshot, desired) =>
        recordedStates(this.#dataplanes(config), snapshot, desired, 0),
      projectSnapshot: (config, desired) => projectSnapshot(this.#dataplanes(config), desired),
      announcementWords: (config, desired, address) =>
        announcementWords(desired, config.vrrp, address, () => new Map()),
      traceRows: (config, desired) => traceRows(this.#dataplanes(config), config, desired),
      inspectHost: async () => this.host,
    };
    const before = process.env;
    process.env = { ...this.env };
    try {
      return { exit: await runCli(argv, context, '0.0.0-test'), out, err: this.err };
    } finally {
      process.env = before;
    }
  }

  readonly #daemon: DaemonAccess = {
    versions: { svcplane: '0.0.0-test', node: process.version },
    startMs: Date.now(),
    monotonicMs: () => performance.now(),
    figures: async () => ({
      cpuSeconds: 0,
      residentBytes: 0,
      heapUsedBytes: 0,
      openFiles: null,
      maxFiles: null,
      eventLoopLagSeconds: 0,
      eventLoopUtilization: 0,
    }),
    saveMemory: () => undefined,
    collectGarbage: () => {
      this.collections += 1;
    },
    openLog: (level) =>
      new DaemonLog(level, {
        write: (line) => {
          this.err += messagesOf(line);
        },
      }),
    openServer: (name, routes, report) => new StatusServer(name, routes, { report, retryDelayMs: () => 10 }),
    openHealthChecks: (report) => new HealthCheckPorts({ report, retryDelayMs: () => 10 }),
  };

  /** How often garbage was collected. */
  collections = 0;

  /** What ending keepalived comes to. */
  endAnnouncing = async (): Promise<void> => undefined;

  /** As the kernel tells whoever watches. */
  tellLinks(): void {
    this.#tellLinks();
  }

  async *#linkNews(signal: AbortSignal): AsyncGenerator<'ours' | 'others' | 'listening'> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    while (!signal.aborted) {
      const told = new Promise<void>((resolve) => {
        this.#tellLinks = resolve;
      });
      yield 'others';
      await Promise.race([told, aborted]);
    }
  }

  #dataplanes(config: Config) {
    return assembleDataplanes(config, {
      kernel: this.ipvs,
      nftables: this.nftables,
      links: this.links,
      ledger: this.ledger,
      sockets: this.socketKernel,
      socketRefusal: this.socketRefusal,
      nowMs: () => 0,
      readSysctl: this.sysctls.read,
      writeSysctl: this.sysctls.write,
    });
  }

  #node(config: Config) {
    let dataplanes = this.#dataplanes(config);
    return {
      get stages() {
        return dataplanes.stages;
      },
      get scopedStages() {
        return dataplanes.scopedStages;
      },
      configure: async (changed: Config) => {
        dataplanes = this.#dataplanes(changed);
      },
      announcements: () => [],
      endAnnouncing: () => this.endAnnouncing(),
      sockets: () => this.sockets,
      traffic: async () => [],
      deletedFlows: () => ({ IPv4: 0, IPv6: 0 }),
      ledgerCounts: () => ({}),
      disown: (keep: ReadonlySet<VirtualServerKey>) => this.ledger.update((ledger) => disowned(ledger, keep)),
      notes: [],
      hostAddresses: async (signal: AbortSignal) =>
        nodeAddressesOf(await dataplanes.addresses.observe(signal)),
      snapshot: (node: string, signal: AbortSignal) => observeSnapshot(dataplanes, node, signal),
      watchLinks: (_: unknown, signal: AbortSignal) => this.#linkNews(signal),
      drainCheckMs: () => null,
      ipvsInfo: async () => ({ version: '1.2.1', connectionTableSize: 4096 }),
      [Symbol.asyncDispose]: async () => undefined,
    };
  }
}
