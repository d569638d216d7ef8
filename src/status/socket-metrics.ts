import type { MetricRegistry } from './prometheus-client.ts';
import type { SocketRecord } from './records.ts';

/** What becomes of the sockets of a node, as metrics. */
export class SocketMetrics {
  readonly #metrics: ReturnType<typeof register>;

  constructor(registry: MetricRegistry) {
    this.#metrics = register(registry);
    this.#metrics.balanced.set(0);
    this.#metrics.failed.set(0);
  }

  /** Brings them up to date: they are looked at only when somebody asks. */
  looked({ mode, outcome, served, left, events: counted }: SocketRecord): void {
    const { balanced, failed, frontends, events } = this.#metrics;
    balanced.set(outcome === 'used' && mode !== 'off' ? 1 : 0);
    failed.set(outcome === 'refused' ? 1 : 0);
    frontends.set({ by: 'sockets' }, served);
    frontends.set({ by: 'ipvs' }, left);
    // The figures are sums already, of all that the maps have seen.
    events.reset();
    for (const [event, count] of Object.entries(counted ?? {})) events.inc({ event }, count);
  }
}

function register(registry: MetricRegistry) {
  return {
    balanced: registry.gauge('svcplane_sockets_balanced', '1 where sockets are balanced, else 0'),
    failed: registry.gauge(
      'svcplane_sockets_failed',
      '1 where sockets are to be balanced and cannot be, else 0',
    ),
    frontends: registry.gauge(
      'svcplane_socket_frontends',
      'Virtual servers by who serves the sockets of this node',
      ['by'],
    ),
    events: registry.counter(
      'svcplane_socket_events_total',
      'What the programs of sockets have counted since their maps were made',
      ['event'],
    ),
  };
}
