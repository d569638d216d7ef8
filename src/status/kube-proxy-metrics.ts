import type { IpFamily } from '../model/address.ts';
import { familyOf } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { MetricRegistry } from './prometheus-client.ts';
import type { ChangeRecord, NodeView, SyncRecord } from './records.ts';

const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6'];

/** 1 ms to 16.4 s, doubling. */
const SYNC_BUCKETS: readonly number[] = Array.from({ length: 15 }, (_, i) => 0.001 * 2 ** i);

const PROGRAMMING_BUCKETS: readonly number[] = [
  ...linear(0.25, 0.25, 2),
  ...linear(1, 1, 59),
  ...linear(60, 5, 12),
  ...linear(120, 30, 7),
];

/** Samples beyond these, of a node that can't complete a sync, would add nothing but memory. */
const MAX_TRIGGERS = 10_000;

type Trigger = ChangeRecord['triggers'][number];

/**
 * The metrics of kube-proxy that mean something here, with its names, so that its dashboards and alerts go on working.
 * One sync of ours is for both families, and counts for both.
 * @see pkg/proxy/metrics/metrics.go
 */
export class KubeProxyMetrics {
  readonly #metrics: ReturnType<typeof register>;
  readonly #startMs: number;
  /** Of changes that no complete sync has brought to the kernel. */
  readonly #waiting: Trigger[] = [];
  readonly #taken: Trigger[] = [];

  /** @param startMs when the process began: what happened to pods before is not its delay */
  constructor(registry: MetricRegistry, startMs: number) {
    this.#metrics = register(registry);
    this.#startMs = startMs;
  }

  changed({ services, endpoints, triggers }: ChangeRecord, nowMs: number): void {
    const { pending, total, lastQueued } = this.#metrics;
    pending.services.inc(services);
    total.services.inc(services);
    pending.endpoints.inc(endpoints);
    total.endpoints.inc(endpoints);
    for (const family of FAMILIES) lastQueued.set({ ip_family: family }, nowMs / 1000);
    for (const trigger of triggers) {
      if (trigger.atMs >= this.#startMs && this.#waiting.length < MAX_TRIGGERS) this.#waiting.push(trigger);
    }
  }

  syncBegun(): void {
    const { pending } = this.#metrics;
    pending.services.set(0);
    pending.endpoints.set(0);
    for (const trigger of this.#waiting.splice(0)) {
      if (this.#taken.length < MAX_TRIGGERS) this.#taken.push(trigger);
    }
  }

  synced({ kind, begunAtMs, endedAtMs, isComplete }: SyncRecord): void {
    const { duration, full, partial, last, programming } = this.#metrics;
    const seconds = Math.max(0, endedAtMs - begunAtMs) / 1000;
    for (const family of FAMILIES) {
      duration.observe({ ip_family: family }, seconds);
      (kind === 'whole' ? full : partial).observe({ ip_family: family }, seconds);
      if (isComplete) last.set({ ip_family: family }, endedAtMs / 1000);
    }
    if (!isComplete) return;
    for (const { family, atMs } of this.#taken.splice(0)) {
      programming.observe({ ip_family: family }, Math.max(0, endedAtMs - atMs) / 1000);
    }
  }

  /** One answer at `/healthz` or `/livez`. */
  answered(path: 'healthz' | 'livez', status: number): void {
    this.#metrics.answers[path].inc({ code: String(status) });
  }

  /** Brings up to date what is looked at only when somebody asks. */
  looked({ desired, deletedFlows }: Pick<NodeView, 'desired' | 'deletedFlows'>): void {
    const { flows } = this.#metrics;
    // The figures are sums already.
    flows.reset();
    for (const family of FAMILIES) flows.inc({ ip_family: family }, deletedFlows[family]);
    if (!desired) return;
    for (const [family, policy, count] of withoutLocalEndpoints(desired)) {
      this.#metrics.noLocalEndpoints.set({ ip_family: family, traffic_policy: policy }, count);
    }
  }
}

/**
 * Service ports whose policy Local leaves their clients on this node nothing: those from outside where others have
 * endpoints, those inside wherever.
 */
function withoutLocalEndpoints(
  desired: DesiredState,
): readonly (readonly [IpFamily, 'internal' | 'external', number])[] {
  const ports = new Map<string, Set<string>>();
  for (const family of FAMILIES) {
    for (const policy of ['internal', 'external']) ports.set(`${family} ${policy}`, new Set());
  }
  for (const server of desired.virtualServers.values()) {
    if (server.trafficPolicy !== 'Local' || server.realServers.length > 0) continue;
    const isInternal = server.exposure === 'ClusterIP';
    if (!isInternal && server.insideRealServers?.length === 0) continue;
    const key = `${familyOf(server.address)} ${isInternal ? 'internal' : 'external'}`;
    ports.get(key)?.add(`${server.service}:${server.servicePort}`);
  }
  return FAMILIES.flatMap((family) =>
    (['internal', 'external'] as const).map(
      (policy) => [family, policy, ports.get(`${family} ${policy}`)?.size ?? 0] as const,
    ),
  );
}

function register(registry: MetricRegistry) {
  const rules = 'kubeproxy_sync_proxy_rules';
  const histogram = (name: string, help: string, buckets: readonly number[]) =>
    registry.histogram(name, help, buckets, ['ip_family']);
  return {
    duration: histogram(`${rules}_duration_seconds`, 'Time of one sync', SYNC_BUCKETS),
    full: histogram(
      'kubeproxy_sync_full_proxy_rules_duration_seconds',
      'Time of one sync that looked at everything',
      SYNC_BUCKETS,
    ),
    partial: histogram(
      'kubeproxy_sync_partial_proxy_rules_duration_seconds',
      'Time of one sync that looked only at what had changed',
      SYNC_BUCKETS,
    ),
    last: registry.gauge(`${rules}_last_timestamp_seconds`, 'When a sync was last complete', ['ip_family']),
    lastQueued: registry.gauge(`${rules}_last_queued_timestamp_seconds`, 'When a change last came', [
      'ip_family',
    ]),
    programming: histogram(
      'kubeproxy_network_programming_duration_seconds',
      'Time from the change of a pod to the kernel of this node',
      PROGRAMMING_BUCKETS,
    ),
    pending: {
      endpoints: registry.gauge(`${rules}_endpoint_changes_pending`, 'Changed EndpointSlices that wait'),
      services: registry.gauge(`${rules}_service_changes_pending`, 'Changed Services that wait'),
    },
    total: {
      endpoints: registry.counter(`${rules}_endpoint_changes_total`, 'Changed EndpointSlices'),
      services: registry.counter(`${rules}_service_changes_total`, 'Changed Services'),
    },
    noLocalEndpoints: registry.gauge(
      `${rules}_no_local_endpoints_total`,
      'Service ports with traffic policy Local and no endpoint for it',
      ['ip_family', 'traffic_policy'],
    ),
    answers: {
      healthz: registry.counter('kubeproxy_proxy_healthz_total', 'Answers at /healthz', ['code']),
      livez: registry.counter('kubeproxy_proxy_livez_total', 'Answers at /livez', ['code']),
    },
    flows: registry.counter(
      'kubeproxy_conntrack_reconciler_deleted_entries_total',
      'Entries of conntrack deleted, for they led to endpoints that are gone',
      ['ip_family'],
    ),
  };
}

function linear(start: number, width: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => start + width * i);
}
