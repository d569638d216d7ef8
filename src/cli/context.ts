import type { ApiConnection } from '../cluster/api-connection.ts';
import type { WatchClusterOptions } from '../cluster/api-watch.ts';
import type { EventRecorder } from '../cluster/events-client.ts';
import type { FactStore } from '../cluster/fact-store.ts';
import type { SourcedObjects } from '../cluster/manifest-objects.ts';
import type { WatchTimes } from '../cluster/manifest-watch.ts';
import type { Config } from '../config.ts';
import type { KubeProxyHost } from '../kube-proxy/leftovers.ts';
import type { LoadBalancerAccess, LoadBalancerHooks } from '../load-balancer-host.ts';
import type { IpAddress, IpFamily } from '../model/address.ts';
import type { Announcement } from '../model/announcement.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { VirtualServerKey } from '../model/virtual-server.ts';
import type { IpvsInfo } from '../snapshot/render-ipvsadm.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { ProcessFigures } from '../status/host.ts';
import type { HealthCheckPorts } from '../status/http.ts';
import type { DaemonLog, LogLevel } from '../status/log.ts';
import type { SocketRecord } from '../status/records.ts';
import type { Routes, StatusServer } from '../status/status-http.ts';
import type { TrafficRow } from '../status/traffic-metrics.ts';
import type { ScopedStage } from '../sync/scoped-stage.ts';
import type { StageState } from '../sync/stage.ts';
import type { Stages } from '../sync/sync-once.ts';
import type { TraceRows } from '../trace/trace.ts';
import type { HostReport } from './doctor.ts';

export const EXIT = { done: 0, error: 1, changes: 2 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Everything a verb needs from the outside; main.ts supplies the real ones. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly hostname: string;
  /** Whether standard output is a terminal that shows colours. */
  readonly colour: boolean;
  readonly signal: AbortSignal;
  /** Wall clock, ms since the epoch. */
  nowMs(): number;
  out(text: string): Promise<void>;
  err(text: string): void;
  readText(path: string): Promise<string>;
  /** @throws Error of one line that names file and line */
  readManifests(paths: readonly string[], signal: AbortSignal): Promise<SourcedObjects>;
  /**
   * @param access `write` makes this the only svcplane that changes the node, until disposed
   * @throws Error of one line if the kernel has no IPVS, this process may not use it, or another one writes
   */
  openNode(config: Config, access: 'read' | 'write'): Promise<NodeAccess>;
  /** Yields once before files are read, then whenever they have changed and are to be read again, until aborted. */
  watchManifests(paths: readonly string[], signal: AbortSignal, times?: WatchTimes): AsyncGenerator<void>;
  /**
   * The API server of the configuration; nothing is asked of it before it is watched.
   * @throws ApiConfigurationError of one line
   */
  openCluster(config: Config, nodeName: string): Promise<ClusterAccess>;
  /**
   * The address controller, connected to the API server of the configuration; nothing is asked of it before it runs.
   * @param name of this Pod or machine
   * @throws ApiConfigurationError of one line
   */
  openLoadBalancer(config: Config, name: string, hooks: LoadBalancerHooks): Promise<LoadBalancerAccess>;
  readonly daemon: DaemonAccess;
  /** What kube-proxy has made on this host. */
  openKubeProxy(): KubeProxyHost;
  /** The same dataplanes over a recorded snapshot instead of a kernel. */
  recordedStates(config: Config, snapshot: Snapshot, desired: DesiredState): readonly StageState[];
  /** The rows that `desired` means to the dataplanes, as a snapshot; `rejected` has what they refuse. */
  projectSnapshot(config: Config, desired: DesiredState): Snapshot;
  /** The rows that `desired` means to the dataplanes, for following connections through them. */
  traceRows(config: Config, desired: DesiredState): TraceRows;
  /** Who is to announce an address, and who does; empty where it is none of a load balancer, or nothing is announced. */
  announcementWords(config: Config, desired: DesiredState, address: IpAddress): readonly string[];
  /** For `doctor`; never throws for what it finds. */
  inspectHost(config: Config): Promise<HostReport>;
}

/** What a process that goes on has of the outside, besides. */
export interface DaemonAccess {
  readonly versions: { readonly svcplane: string; readonly node: string };
  /** When the process began, ms since the epoch. */
  readonly startMs: number;
  /** A clock that never goes back. */
  monotonicMs(): number;
  figures(): Promise<ProcessFigures>;
  /** From now on this process prefers little memory to speed. */
  saveMemory(): void;
  /** Gives back what is not needed any more, and does nothing else meanwhile. */
  collectGarbage(): void;
  openLog(level: LogLevel): DaemonLog;
  /** Answers nowhere yet. @param report told of each place that can't be had, in one line */
  openServer(name: string, routes: Routes, report: (line: string) => void): StatusServer;
  /** @param report told of each port that can't be had, in one line */
  openHealthChecks(report: (line: string) => void): HealthCheckAnswers;
}

/** Takes what Events are to tell, and sees to it. */
export type RecordsEvents = Pick<EventRecorder, 'record'>;

/** Answers at health check node ports until disposed of. */
export type HealthCheckAnswers = Pick<HealthCheckPorts, 'update' | 'failures' | typeof Symbol.asyncDispose>;

/** An API server, and what it says. */
export interface ClusterAccess extends Pick<ApiConnection, 'request' | 'server'>, Disposable {
  /** Whole after the first yield of `watch`. */
  readonly store: FactStore;
  /** Writes Events while it runs. */
  readonly events: Pick<EventRecorder, 'record' | 'run' | 'lastError'>;
  /** See watchCluster. */
  watch(told: Pick<WatchClusterOptions, 'onState' | 'onCount'>, signal: AbortSignal): AsyncGenerator<void>;
}

/** This node's kernel, opened for reading and writing. Calls must not overlap, but for `traffic`. */
export interface NodeAccess extends AsyncDisposable {
  /** The dataplanes, wired as configured last. */
  readonly stages: Stages;
  /** The same, looked at in part. */
  readonly scopedStages: readonly ScopedStage[];
  /** Addresses of all links but ours. */
  hostAddresses(signal: AbortSignal): Promise<readonly IpAddress[]>;
  snapshot(node: string, signal: AbortSignal): Promise<Snapshot>;
  /**
   * Yields once when the host is listened to, then whenever our link (`ours`) or addresses of other links have become
   * other than they were, or than we want them, until aborted.
   * @param wanted the addresses that are wanted now
   * @throws Error if the channel to the kernel is broken
   */
  watchLinks(
    wanted: () => ReadonlySet<IpAddress>,
    signal: AbortSignal,
  ): AsyncGenerator<'ours' | 'others' | 'listening'>;
  /** Wires the dataplanes anew; what was read of the kernel before is void. */
  configure(config: Config): Promise<void>;
  /** Who answers for addresses of load balancers, where this node announces them. */
  announcements(desired: DesiredState | undefined): readonly Announcement[];
  /**
   * Where what announces them would end with this process, it is ended in order, so that other nodes take over at once.
   * @throws Error if it does not end
   */
  endAnnouncing(): Promise<void>;
  /** What becomes of sockets. @param desired what is counted; undefined where nothing is wanted yet */
  sockets(desired: DesiredState | undefined): SocketRecord;
  /** The counters of all virtual servers, foreign ones too. */
  traffic(signal: AbortSignal): Promise<readonly TrafficRow[]>;
  /** How many entries of conntrack have been deleted since the node was opened. */
  deletedFlows(): Readonly<Record<IpFamily, number>>;
  /** How many objects the ledger has entered as ours, by kind. */
  ledgerCounts(): Readonly<Record<string, number>>;
  /** Strikes everything out of the ledger but these virtual servers. The kernel keeps it all, as somebody else's. */
  disown(keep: ReadonlySet<VirtualServerKey>): void;
  /** When the connections of draining real servers should be looked at again; null if none drains. */
  drainCheckMs(): number | null;
  /** Version and table size, as `ipvsadm -Ln` prints them first. */
  ipvsInfo(signal: AbortSignal): Promise<IpvsInfo>;
  /** What reading the ledger had to say: broken, or of another boot. */
  readonly notes: readonly string[];
}

/** An error whose message is the one line to show. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
