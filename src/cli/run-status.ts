import type { WatchClusterOptions } from '../cluster/api-watch.ts';
import type { NodeState } from '../cluster/decode-node.ts';
import {
  guardHeld,
  healthCheckPortTaken,
  type Occurrence,
  portTaken,
  rejectedServices,
  started,
} from '../cluster/events.ts';
import type { FactChanges } from '../cluster/fact-store.ts';
import type { Config } from '../config.ts';
import { compareRejected, type Rejected } from '../model/rejected.ts';
import { renderJson } from '../snapshot/render-json.ts';
import { parseBindAddress } from '../status/bind-address.ts';
import { DaemonStatus } from '../status/daemon-status.ts';
import type { DaemonLog } from '../status/log.ts';
import { dataplaneFinder } from '../status/node-metrics.ts';
import {
  type AuditRecord,
  type GuardRecord,
  NO_CHANGES,
  NO_VIEW,
  type NodeView,
  type SyncRecord,
} from '../status/records.ts';
import { healthRoutes, localRoutes, metricsRoutes } from '../status/routes.ts';
import type { StatusServer } from '../status/status-http.ts';
import { TrafficMetrics, trafficOwners } from '../status/traffic-metrics.ts';
import type { SyncLoop } from '../sync/loop.ts';
import { observeStages, planSync } from '../sync/sync-once.ts';
import { configObject } from './config.ts';
import type { CliContext, HealthCheckAnswers, NodeAccess, RecordsEvents } from './context.ts';
import { exposureWarning } from './load-desired.ts';
import { planDocument, renderPlanJson } from './render-plan.ts';
import type { FactSource } from './run-sources.ts';
import type { NodeSync, SyncObserver } from './run-sync.ts';
import type { ResolvedConfig } from './settings.ts';
import { snapshotOfDesired } from './snapshot.ts';
import { withSockets } from './sockets.ts';

/** What is told of, once it is there. */
interface Subject {
  readonly node: NodeAccess;
  readonly sync: NodeSync;
  readonly loop: SyncLoop;
  readonly source: FactSource;
  readonly healthChecks: HealthCheckAnswers;
}

/** What `run` tells of itself: in its log, as health and metrics, in Events, and to whoever asks at its socket. */
export class RunStatus implements SyncObserver, AsyncDisposable {
  readonly log: DaemonLog;
  readonly #context: CliContext;
  readonly #nodeName: string;
  readonly #status: DaemonStatus;
  readonly #servers: Readonly<Record<'health' | 'metrics' | 'local', StatusServer>>;
  #resolved: ResolvedConfig;
  #subject: Subject | undefined;
  #events: RecordsEvents | undefined;
  #rejected: readonly Rejected[] = [];

  constructor(context: CliContext, resolved: ResolvedConfig, nodeName: string) {
    const { daemon } = context;
    this.#context = context;
    this.#resolved = resolved;
    this.#nodeName = nodeName;
    this.log = daemon.openLog(resolved.config.log.level);
    this.#status = new DaemonStatus({
      node: nodeName,
      versions: daemon.versions,
      startMs: daemon.startMs,
      nowMs: () => context.nowMs(),
      dataplaneOf: (op) => this.#dataplaneOf(op),
      view: () => this.#view(),
      retryAtMs: () => this.#retryAtMs(),
      listenFailures: () => this.#listenFailures(),
      figures: () => daemon.figures(),
      traffic: this.#traffic(),
    });
    const report = (line: string) => this.log.report(line);
    this.#servers = {
      health: daemon.openServer('health', healthRoutes(this.#status), report),
      metrics: daemon.openServer(
        'metrics',
        metricsRoutes(this.#status, () => configObject(this.#resolved)),
        report,
      ),
      local: daemon.openServer('local questions', this.#localRoutes(), report),
    };
  }

  get #config(): Config {
    return this.#resolved.config;
  }

  /** From now on this is in force: listens where it says. */
  async configure(resolved: ResolvedConfig): Promise<void> {
    this.#resolved = resolved;
    const { log, healthzBindAddress, metricsBindAddress, socket } = resolved.config;
    this.log.level = log.level;
    await this.#servers.health.rebind(parseBindAddress(healthzBindAddress) ?? null);
    await this.#servers.metrics.rebind(parseBindAddress(metricsBindAddress) ?? null);
    await this.#servers.local.rebind(socket === '' ? null : { path: socket });
  }

  /** @param events where they can be written; there are none without an API server */
  attach(subject: Subject, events: RecordsEvents | undefined): void {
    this.#subject = subject;
    this.#events = events;
    this.#record([started(this.#nodeName)]);
  }

  /** To be told of what becomes of watches. */
  readonly watches: Required<Pick<WatchClusterOptions, 'onState' | 'onCount'>> = {
    onState: ({ kind, state, error }) => {
      if (state !== 'listing') this.log.watching(kind, error?.message ?? '');
      this.#status.watching({
        kind,
        state: state === 'failing' ? 'retrying' : state === 'listing' ? 'listing' : 'watching',
        sinceMs: this.#context.nowMs(),
        reason: error?.message ?? '',
      });
    },
    onCount: (kind, counter, by) => {
      if (counter === 'lists') this.#status.watched(kind, 'relist');
      else if (counter === 'restarts') this.#status.watched(kind, 'restart');
      else if (kind === 'Service') this.#status.changed({ ...NO_CHANGES, services: by });
      else if (kind === 'EndpointSlice') this.#status.changed({ ...NO_CHANGES, endpoints: by });
    },
  };

  /** Something asks for a sync. */
  queued(): void {
    this.#status.changed(NO_CHANGES);
  }

  /** The facts have changed. @param ownNode as the API server tells of it */
  updated(ownNode: NodeState | null): void {
    this.queued();
    this.#status.eligible({
      isBeingDeleted: ownNode?.isBeingDeleted ?? false,
      hasDeletionTaint: ownNode?.hasAutoscalerTaint ?? false,
    });
  }

  begun({ triggers }: FactChanges): void {
    if (triggers.length > 0) this.#status.changed({ ...NO_CHANGES, triggers });
    this.#status.syncBegun();
  }

  synced(record: SyncRecord): void {
    this.log.synced(record);
    this.#status.synced(record);
    if (record.kind !== 'whole') return;
    const { source, healthChecks } = this.#subject ?? {};
    if (source) this.log.told('exposure', exposureWarning(this.#config, source.facts));
    // What goes on is told again: how often, the recorder decides.
    this.#record([
      ...rejectedServices(this.#rejected),
      ...this.#portsTaken(),
      ...(healthChecks?.failures() ?? []).map(({ service, message }) =>
        healthCheckPortTaken(service, message),
      ),
    ]);
  }

  audited(record: AuditRecord): void {
    this.log.audited(record);
    this.#status.audited(record);
  }

  readonly foreign: SyncObserver['foreign'] = (rows) => this.log.foreign(rows);

  rejected(rejected: readonly Rejected[]): void {
    if (rejected === this.#rejected) return;
    this.#rejected = rejected;
    this.log.rejected(rejected);
    this.#record(rejectedServices(rejected));
  }

  guarded(guard: GuardRecord | null): void {
    this.log.guarded(guard);
    this.#status.guarded(guard);
    if (guard) this.#record([guardHeld(this.#nodeName, guard.reason)]);
  }

  /** A sync threw. */
  failed(error: unknown): void {
    this.log.failed([error instanceof Error ? error.message : String(error)]);
    this.#status.syncFailed('whole', error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Object.values(this.#servers).map((server) => server[Symbol.asyncDispose]()));
  }

  #record(occurrences: readonly Occurrence[]): void {
    if (this.#config.events) this.#events?.record(occurrences);
  }

  #portsTaken(): readonly Occurrence[] {
    return (['health', 'metrics'] as const).flatMap((name) => {
      const failure = this.#servers[name].failure();
      return failure === undefined ? [] : [portTaken(this.#nodeName, name, failure)];
    });
  }

  #listenFailures(): readonly string[] {
    const ofChecks = this.#subject?.healthChecks.failures() ?? [];
    return [
      ...Object.values(this.#servers).flatMap((server) => server.failure() ?? []),
      ...ofChecks.map(({ message }) => message),
    ];
  }

  #dataplaneOf: ReturnType<typeof dataplaneFinder> = (op) => {
    this.#dataplaneOf = dataplaneFinder(this.#subject?.node.stages ?? []);
    return this.#dataplaneOf(op);
  };

  #retryAtMs(): number | null {
    const inMs = this.#subject?.loop.retryInMs ?? null;
    return inMs === null ? null : this.#context.nowMs() + inMs;
  }

  #view(): NodeView {
    if (!this.#subject) return NO_VIEW;
    const { node, sync } = this.#subject;
    const ledger = node.ledgerCounts();
    const { desired, rejected, foreign } = sync;
    return {
      desired,
      rejected,
      foreign,
      ledger,
      draining: ledger.drains ?? 0,
      deletedFlows: node.deletedFlows(),
      sockets: node.sockets(desired),
      // Asked for by few who look, and read from a file.
      get announcements() {
        return node.announcements(desired);
      },
    };
  }

  #traffic(): TrafficMetrics {
    return new TrafficMetrics({
      read: async () => (await this.#subject?.node.traffic(this.#context.signal)) ?? [],
      owners: () => {
        const desired = this.#subject?.sync.desired;
        return desired ? trafficOwners(desired) : () => undefined;
      },
      maxVirtualServers: () => {
        const { virtualServers, maxVirtualServers } = this.#config.metrics;
        return virtualServers ? maxVirtualServers : 0;
      },
      nowMs: () => this.#context.daemon.monotonicMs(),
    });
  }

  #localRoutes() {
    return localRoutes(this.#status, {
      snapshot: async (of, signal) => {
        const { node, sync } = this.#known();
        if (of === 'desired') {
          const config = withSockets(this.#config, node.sockets(undefined));
          return renderJson(snapshotOfDesired(this.#context, config, desiredOf(sync)));
        }
        return renderJson(await sync.between(() => node.snapshot(this.#nodeName, signal)));
      },
      plan: async (signal) => {
        const { node, sync } = this.#known();
        const desired = desiredOf(sync);
        const states = await sync.between(() => observeStages(node.stages, signal));
        const plan = planSync(states, desired);
        return renderPlanJson(
          planDocument(plan, [...desired.rejected, ...plan.rejected].sort(compareRejected)),
        );
      },
      releaseGuard: () => {
        const { sync, loop } = this.#known();
        if (!sync.releaseGuard()) return 'guard: nothing is held back';
        loop.request('guard');
        return 'guard: released: what was held back goes with the next sync';
      },
    });
  }

  #known(): Subject {
    if (!this.#subject) throw new Error('the daemon has not opened the node yet: ask again in a moment');
    return this.#subject;
  }
}

function desiredOf({ desired }: NodeSync) {
  if (!desired) throw new Error('nothing is wanted yet: no Services have been read');
  return desired;
}
