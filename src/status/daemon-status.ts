import {
  type ApiWatchState,
  type HealthState,
  healthzAnswer,
  INITIAL_HEALTH,
  livezAnswer,
  type NodeEligibility,
  readyzAnswer,
  withQueued,
  withSyncBegun,
  withSyncEnded,
} from './health.ts';
import type { ProcessFigures } from './host.ts';
import { KubeProxyMetrics } from './kube-proxy-metrics.ts';
import { type DataplaneOf, NodeMetrics } from './node-metrics.ts';
import { ProcessMetrics } from './process-metrics.ts';
import { MetricRegistry } from './prometheus-client.ts';
import {
  type AuditRecord,
  type ChangeRecord,
  failuresOf,
  type GuardRecord,
  type NodeView,
  type SyncRecord,
} from './records.ts';
import { type StatusDocument, statusDocument } from './status-document.ts';
import { type HttpAnswer, JSON_TYPE } from './status-http.ts';

export interface DaemonStatusOptions {
  /** Name of the Node. */
  readonly node: string;
  readonly versions: { readonly svcplane: string; readonly node: string };
  /** When the process began, ms since the epoch. */
  readonly startMs: number;
  /** Wall clock, ms since the epoch. */
  nowMs(): number;
  readonly dataplaneOf: DataplaneOf;
  /** Looked at when somebody asks for metrics or the status. */
  view(): NodeView;
  /** When what has failed is tried again, ms since the epoch; null if nothing is. */
  retryAtMs(): number | null;
  /** Ports and sockets that can't be had, one line each. */
  listenFailures(): readonly string[];
  figures(): Promise<ProcessFigures>;
  /** The counters of virtual servers as metrics; without it there are none. */
  readonly traffic?: { render(): Promise<string> };
}

/** What the daemon tells of itself: it is told what happens, and answers at `/healthz`, `/metrics` and `/status`. */
export class DaemonStatus {
  readonly #options: DaemonStatusOptions;
  readonly #registry = new MetricRegistry();
  readonly #kubeProxy: KubeProxyMetrics;
  readonly #nodeMetrics: NodeMetrics;
  readonly #costs: ProcessMetrics;
  #health: HealthState = INITIAL_HEALTH;
  #lastSync: SyncRecord | null = null;
  #lastAudit: AuditRecord | null = null;
  #guard: GuardRecord | null = null;

  constructor(options: DaemonStatusOptions) {
    this.#options = options;
    this.#kubeProxy = new KubeProxyMetrics(this.#registry, options.startMs);
    this.#nodeMetrics = new NodeMetrics(this.#registry, options.dataplaneOf);
    this.#costs = new ProcessMetrics(this.#registry, options.startMs, options.versions);
  }

  get health(): HealthState {
    return this.#health;
  }

  /** Something has changed, and waits for a sync. @param change `NO_CHANGES` where it is not of the cluster */
  changed(change: ChangeRecord): void {
    const nowMs = this.#options.nowMs();
    this.#health = withQueued(this.#health, nowMs);
    this.#kubeProxy.changed(change, nowMs);
  }

  /** A sync takes up all that waits. */
  syncBegun(): void {
    this.#health = withSyncBegun(this.#health);
    this.#kubeProxy.syncBegun();
  }

  synced(record: SyncRecord): void {
    this.#health = withSyncEnded(this.#health, record.endedAtMs, failuresOf(record));
    this.#lastSync = record;
    this.#kubeProxy.synced(record);
    this.#nodeMetrics.synced(record);
  }

  /** A sync threw. */
  syncFailed(kind: SyncRecord['kind'], error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#health = withSyncEnded(this.#health, this.#options.nowMs(), [message]);
    this.#nodeMetrics.failed(kind, error);
  }

  audited(record: AuditRecord): void {
    this.#lastAudit = record;
    this.#nodeMetrics.audited(record);
  }

  /** After each sync. @param guard null while nothing is held back */
  guarded(guard: GuardRecord | null): void {
    this.#nodeMetrics.guarded(guard, this.#guard === null);
    this.#guard = guard;
    this.#health = { ...this.#health, guardHeld: guard?.reason ?? null };
  }

  /** The watch of one kind is in another state. */
  watching(state: ApiWatchState): void {
    const { api } = this.#health;
    const before = api.find(({ kind }) => kind === state.kind);
    // How long it has been failing counts from its first failure.
    const since = before?.state === state.state ? before.sinceMs : state.sinceMs;
    const others = api.filter(({ kind }) => kind !== state.kind);
    this.#health = { ...this.#health, api: [...others, { ...state, sinceMs: since }] };
  }

  /** A kind was listed from the beginning, or its watch begun anew. */
  watched(kind: string, event: 'relist' | 'restart'): void {
    this.#nodeMetrics.watched(kind, event);
  }

  eligible(node: NodeEligibility): void {
    this.#health = { ...this.#health, node };
  }

  /** The answer at one of kube-proxy's paths, or ours, and counted. */
  answer(path: 'healthz' | 'livez' | 'readyz'): HttpAnswer {
    const { startMs } = this.#options;
    const nowMs = this.#options.nowMs();
    if (path === 'readyz') return { ...readyzAnswer(this.#health, nowMs), type: JSON_TYPE };
    const answer = (path === 'healthz' ? healthzAnswer : livezAnswer)(this.#health, nowMs, startMs);
    this.#kubeProxy.answered(path, answer.status);
    return { ...answer, type: JSON_TYPE };
  }

  /** All metrics as text for Prometheus; those of virtual servers are left out where they can't be read. */
  async metrics(): Promise<HttpAnswer> {
    const { traffic, figures, nowMs } = this.#options;
    const view = this.#options.view();
    this.#nodeMetrics.looked(view, this.#health, nowMs());
    this.#kubeProxy.looked(view);
    this.#costs.looked(await figures());
    const ofTraffic = await traffic?.render().catch((error: unknown) => {
      this.#nodeMetrics.unread(error);
      return '';
    });
    const text = `${await this.#registry.render()}${ofTraffic ?? ''}`;
    return { status: 200, type: this.#registry.contentType, body: text };
  }

  document(): StatusDocument {
    const { node, versions, startMs, nowMs, view, retryAtMs, listenFailures } = this.#options;
    return statusDocument(
      {
        node,
        version: versions.svcplane,
        startMs,
        health: this.#health,
        lastSync: this.#lastSync,
        lastAudit: this.#lastAudit,
        guard: this.#guard,
        view: view(),
        retryAtMs: retryAtMs(),
        listenFailures: listenFailures(),
      },
      nowMs(),
    );
  }
}
