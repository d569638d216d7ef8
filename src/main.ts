#!/usr/bin/env node
import { hostname, release } from 'node:os';
import type { NetlinkSocket } from '../native-bindings/netlink-socket.ts';
import {
  assembleDataplanes,
  assembleUnconnected,
  observeSnapshot,
  projectSnapshot,
  type Resources,
  recordedStates,
  socketStanding,
  traceRows,
} from './assembly.ts';
import type { CliContext, NodeAccess } from './cli/context.ts';
import type { HostReport } from './cli/doctor.ts';
import { runCli } from './cli/program.ts';
import { watchManifests } from './cluster/manifest-watch.ts';
import { readManifests } from './cluster/manifests.ts';
import type { Config } from './config.ts';
import { daemonAccess, openCluster, openLoadBalancer } from './daemon-host.ts';
import { openLinkKernel } from './dataplane/addresses/client.ts';
import { nodeAddressesOf } from './dataplane/addresses/rows.ts';
import { NOTICE_GROUPS, watchLinks } from './dataplane/addresses/watch.ts';
import { NetlinkSyncKernel } from './dataplane/connsync/client.ts';
import { NetlinkIpvsKernel } from './dataplane/ipvs/client.ts';
import { NetlinkFlowKernel } from './dataplane/ipvs/flow-client.ts';
import { readSysctls } from './dataplane/ipvs/observe.ts';
import { readTraffic } from './dataplane/ipvs/statistics.ts';
import { IPV6_SYSCTLS, SYSCTLS } from './dataplane/ipvs/sysctls.ts';
import { disowned, entryCounts, type Ledger } from './dataplane/ledger.ts';
import { ledgerNotes, lockNode, openLedgerStore } from './dataplane/ledger-store.ts';
import { LibraryNftablesKernel } from './dataplane/nftables/client.ts';
import { forwardDrops } from './dataplane/nftables/forward-policy.ts';
import {
  directoryAbility,
  endsWith,
  missingModules,
  moduleAbility,
  portsWithoutHairpin,
  readText,
  version,
  writeOut,
} from './host.ts';
import { openKubeProxyHost } from './kube-proxy/leftovers-client.ts';
import type { IpAddress } from './model/address.ts';
import { parseScheduler, SCHEDULERS, type Scheduler } from './model/scheduler.ts';
import { GenlClient } from './netlink/client.ts';
import { ConntrackClient } from './netlink/conntrack-client.ts';
import { decodeInfo, getInfo } from './netlink/ipvs-messages.ts';
import { NftablesGenerationClient } from './netlink/nftables-generation-client.ts';
import { FamilyNotFoundError, NetlinkRequestError } from './netlink/results.ts';
import { inspectSockets, NodeSockets, type SocketBindings } from './socket-host.ts';
import { drainCheckMs, earlier } from './sync/drain-check.ts';
import { observeStages } from './sync/sync-once.ts';
import { announcementWordsOf, inspectAnnouncing, openKeepalived } from './vrrp-host.ts';

const IPVS_FAMILY = 'IPVS';

async function openNode(config: Config, access: 'read' | 'write'): Promise<NodeAccess> {
  // Loaded here, for the planning verbs start faster without it.
  const { NETLINK_GENERIC, NETLINK_NETFILTER, NetlinkSocket } = await import(
    '../native-bindings/netlink-socket.ts'
  );
  await using resources = new AsyncDisposableStack();
  const socket = resources.use(NetlinkSocket.open(NETLINK_GENERIC));
  const client = openIpvs(socket);
  const links = resources.use(openLinkKernel());
  const tracking = new ConntrackClient(resources.use(NetlinkSocket.open(NETLINK_NETFILTER)));
  const nftables = await openNftables(resources, resources.use(NetlinkSocket.open(NETLINK_NETFILTER)));
  // Before the ledger is read: what another process enters until it ends must be in it.
  if (access === 'write') resources.use(await lockNode());
  const ledger = openLedgerStore(config.stateDirectory);
  const kernel = new NetlinkIpvsKernel(client, missingSchedulers());
  const flows = new NetlinkFlowKernel(tracking);
  const sockets = resources.use(await openSockets(config, access));
  const connectionSync = new NetlinkSyncKernel(client);
  const others = { keepalived: openKeepalived, connectionSync, ...CLOCKS };
  const outside = { kernel, flows, links, nftables, ledger, ...others };
  let wired = wire(config, outside, sockets);
  // A process that makes no further sync leaves nothing over.
  if (access === 'write') resources.defer(() => wired.dataplanes.socklb?.finish(interrupted.signal));
  const kept = resources.move();
  return {
    get stages() {
      return wired.dataplanes.stages;
    },
    get scopedStages() {
      return wired.dataplanes.scopedStages;
    },
    configure: async (changed) => {
      await sockets.configure(changed.socketLoadBalancer);
      wired = wire(changed, outside, sockets);
    },
    sockets: (desired) => {
      const { failure, ...counts } = socketStanding(wired.dataplanes, desired);
      return { ...sockets.state(failure), ...counts };
    },
    announcements: (desired) => (desired ? (wired.dataplanes.vrrp?.announcements(desired) ?? []) : []),
    endAnnouncing: async () => (endsWith(process) ? wired.dataplanes.vrrp?.stop() : undefined),
    notes: ledger.notes,
    hostAddresses: async (signal) => nodeAddressesOf(await wired.dataplanes.addresses.observe(signal)),
    snapshot: (node, signal) => observeSnapshot(wired.dataplanes, node, signal),
    traffic: readTrafficAside,
    deletedFlows: () => flows.deleted,
    watchLinks: (wanted, signal) => watchNode(config, wanted, signal),
    ledgerCounts: () => entryCounts(ledger.read()),
    disown: (keep) => ledger.update((entries) => disowned(entries, keep)),
    drainCheckMs: () => nextCheckMs(wired, ledger.read()),
    ipvsInfo: async () => readInfo(client),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** @param socket for what the library does not tell; stays the caller's */
async function openNftables(resources: AsyncDisposableStack, socket: NetlinkSocket) {
  const { NftablesContext } = await import('../native-bindings/nftables-library.ts');
  const generations = new NftablesGenerationClient(socket);
  return new LibraryNftablesKernel(resources.use(NftablesContext.open()), () => generations.read());
}

/** Over a socket of its own: a sync may be at work on the other. */
async function readTrafficAside(signal: AbortSignal) {
  const { NETLINK_GENERIC, NetlinkSocket } = await import('../native-bindings/netlink-socket.ts');
  using socket = NetlinkSocket.open(NETLINK_GENERIC);
  return readTraffic(openIpvs(socket), signal);
}

const CLOCKS = { nowMs: Date.now, monotonicMs: () => performance.now() };

/** What sockets are balanced with may change with the configuration. */
function wire(config: Config, outside: Resources, { kernel, refusal }: NodeSockets) {
  const resources = { ...outside, sockets: kernel, socketRefusal: refusal };
  return { config, dataplanes: assembleDataplanes(config, resources) };
}

/** When what drains, and what may go once nobody can use it any more, is to be looked at again. */
function nextCheckMs({ config, dataplanes }: ReturnType<typeof wire>, { drains }: Ledger): number | null {
  const drained = drainCheckMs(drains.values(), Date.now(), config.drainTimeoutSeconds * 1000);
  return earlier(drained, dataplanes.socklb?.clearanceMs() ?? null);
}

const openSockets = ({ socketLoadBalancer }: Config, access: 'read' | 'write') =>
  NodeSockets.open(socketLoadBalancer, access, loadSocketBindings);

/** Loaded where sockets may be balanced: nobody else needs them. */
async function loadSocketBindings(): Promise<SocketBindings> {
  return {
    ...(await import('../native-bindings/bpf-object.ts')),
    ...(await import('../native-bindings/bpf-maps.ts')),
    ...(await import('../native-bindings/bpf-links.ts')),
    ...(await import('../native-bindings/bpf-programs.ts')),
    ...(await import('../native-bindings/bpf-probe.ts')),
    ...(await import('../native-bindings/mounts.ts')),
    ...(await import('../native-bindings/network-namespace.ts')),
    ...(await import('../native-bindings/netlink-socket.ts')),
    ...(await import('../native-bindings/socket-diagnosis-probe.ts')),
  };
}

/** Listens before it yields for the first time. */
async function* watchNode(
  config: Config,
  wanted: () => ReadonlySet<IpAddress>,
  signal: AbortSignal,
): AsyncGenerator<'ours' | 'others' | 'listening'> {
  const { NetlinkNotices } = await import('../native-bindings/netlink-notices.ts');
  const { NETLINK_ROUTE } = await import('../native-bindings/netlink-socket.ts');
  // A socket of its own: the package mixes up a dump and another request that run at the same time.
  await using links = openLinkKernel();
  await using notices = NetlinkNotices.open(NETLINK_ROUTE, Object.values(NOTICE_GROUPS));
  const stop = () => void notices[Symbol.asyncDispose]();
  if (signal.aborted) return;
  signal.addEventListener('abort', stop);
  using _ = { [Symbol.dispose]: () => signal.removeEventListener('abort', stop) };
  yield 'listening';
  yield* watchLinks(notices, links, config.interface, wanted);
}

/** Known before a write would be refused for it, so that an idle apply stays without one. */
function missingSchedulers(): readonly Scheduler[] {
  const modules = new Map(SCHEDULERS.map((name) => [`ip_vs_${name}`, name]));
  return missingModules([...modules.keys()]).flatMap((module) => parseScheduler(modules.get(module)) ?? []);
}

function openIpvs(socket: NetlinkSocket): GenlClient {
  try {
    return GenlClient.open(socket, IPVS_FAMILY);
  } catch (error) {
    if (!(error instanceof FamilyNotFoundError)) throw error;
    throw new Error('Cannot use IPVS: this kernel does not have it: modprobe ip_vs, or run svcplane doctor', {
      cause: error,
    });
  }
}

function readInfo(client: GenlClient): { version: string; connectionTableSize: number } {
  const answer = client.query(getInfo(), decodeInfo);
  if (answer.outcome !== 'ok') {
    throw new NetlinkRequestError(
      'read the version of IPVS',
      answer.outcome === 'refused' ? answer : undefined,
    );
  }
  const { version, connectionTableSize } = answer.row;
  return {
    version: [version >> 16, version >> 8, version].map((part) => part & 0xff).join('.'),
    connectionTableSize,
  };
}

const unconnected = (config: Config) => assembleUnconnected(config, openLinkKernel(), Date.now);

async function inspectHost(config: Config): Promise<HostReport> {
  const { probeCapability, probeGenericNetlinkFamily, probeWritable } = await import(
    '../native-bindings/probe.ts'
  );
  await using kernel = openLinkKernel();
  const links = await kernel.links();
  const hasDummy = links.some(({ kind }) => kind === 'dummy');
  return {
    kernelRelease: release(),
    ipvs: probeGenericNetlinkFamily(IPVS_FAMILY),
    ...(await inspectNftables()),
    portsWithoutHairpin: portsWithoutHairpin(),
    netAdmin: probeCapability('CAP_NET_ADMIN'),
    dummyLink: hasDummy ? { outcome: 'supported' } : moduleAbility('dummy'),
    sysctlsWritable: probeWritable('/proc/sys/net/ipv4/ip_forward'),
    stateDirectory: { path: config.stateDirectory, ...directoryAbility(config.stateDirectory) },
    sysctls: [...readSysctls(SYSCTLS, false), ...readSysctls(IPV6_SYSCTLS, true)],
    links: links.map(({ name }) => name),
    ...(await inspectRows(config)),
    clusterIPs: config.clusterIPs,
    sockets: await inspectSockets(config.socketLoadBalancer, loadSocketBindings),
    announcing: await inspectAnnouncing(config.vrrp, links, probeCapability('CAP_NET_RAW')),
    ledgerNotes: ledgerNotes(config.stateDirectory),
  };
}

async function inspectNftables(): Promise<Pick<HostReport, 'nftables' | 'forwardDrops'>> {
  const { NftablesContext } = await import('../native-bindings/nftables-library.ts');
  try {
    using library = NftablesContext.open();
    const listed = await library.listJson('list chains');
    if (listed.outcome === 'ok') {
      return { nftables: { outcome: 'supported' }, forwardDrops: forwardDrops(JSON.parse(listed.output)) };
    }
    // Without the privilege to read nothing is known; anything else says that the kernel has no nf_tables.
    const outcome = listed.code === 'EPERM' ? 'unknown' : 'unsupported';
    return { nftables: { outcome, reason: listed.message }, forwardDrops: [] };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { nftables: { outcome: 'unsupported', reason }, forwardDrops: [] };
  }
}

/** Without IPVS or the right to read it there is nothing to see, and the probes say why. */
async function inspectRows(config: Config) {
  try {
    await using node = await openNode(config, 'read');
    const signal = new AbortController().signal;
    const { addresses } = await node.snapshot('', signal);
    const states = await observeStages(node.stages, signal);
    const foreign = states.filter(({ name }) => name === 'ipvs').flatMap((state) => state.foreign());
    return { foreignVirtualServers: foreign, boundAddresses: addresses.length };
  } catch {
    return { foreignVirtualServers: [], boundAddresses: 0 };
  }
}

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort());

const context: CliContext = {
  env: process.env,
  hostname: hostname(),
  colour: process.stdout.isTTY && process.env.NO_COLOR === undefined,
  signal: interrupted.signal,
  nowMs: Date.now,
  out: writeOut,
  err: (text) => void process.stderr.write(text),
  readText,
  readManifests,
  watchManifests,
  daemon: daemonAccess(version()),
  openKubeProxy: () => openKubeProxyHost(openLinkKernel()),
  openNode,
  openCluster,
  openLoadBalancer,
  recordedStates: (config, snapshot, desired) =>
    recordedStates(unconnected(config), snapshot, desired, Date.now()),
  projectSnapshot: (config, desired) => projectSnapshot(unconnected(config), desired),
  announcementWords: announcementWordsOf,
  traceRows: (config, desired) => traceRows(unconnected(config), config, desired),
  inspectHost,
};

process.exitCode = await runCli(process.argv.slice(2), context, version());
