import { MetricRegistry } from './prometheus-client.ts';
import type { HttpAnswer } from './status-http.ts';

/** How much of the addresses of one family a pool has given. */
export interface PoolFigures {
  readonly pool: string;
  readonly family: string;
  readonly size: bigint;
  readonly used: number;
}

/** What the address controller counts. */
export class LoadBalancerMetrics {
  readonly #registry = new MetricRegistry();
  readonly #metrics = register(this.#registry);

  constructor() {
    this.#metrics.leading.set(0);
    for (const outcome of ['written', 'failed'] as const) this.#metrics.writes.inc({ outcome }, 0);
  }

  /** Who does not lead knows nothing of Services. */
  leads(isLeading: boolean): void {
    const { leading, size, used, services } = this.#metrics;
    leading.set(isLeading ? 1 : 0);
    for (const gauge of [size, used, services]) gauge.reset();
  }

  leaseFailed(): void {
    this.#metrics.leaseFailures.inc();
  }

  /** @param services how many there are by verdict */
  decided(
    pools: readonly PoolFigures[],
    services: ReadonlyMap<string, number>,
    writes: { readonly written: number; readonly failed: number },
  ): void {
    const { size, used, services: gauge, writes: counter } = this.#metrics;
    for (const each of [size, used, gauge]) each.reset();
    for (const { pool, family, ...figures } of pools) {
      size.set({ pool, family }, Number(figures.size));
      used.set({ pool, family }, figures.used);
    }
    for (const [verdict, count] of services) gauge.set({ verdict }, count);
    counter.inc({ outcome: 'written' }, writes.written);
    counter.inc({ outcome: 'failed' }, writes.failed);
  }

  async answer(): Promise<HttpAnswer> {
    return { status: 200, type: this.#registry.contentType, body: await this.#registry.render() };
  }
}

function register(registry: MetricRegistry) {
  return {
    leading: registry.gauge('svcplane_lb_leading', '1 where this process gives the addresses, else 0'),
    leaseFailures: registry.counter(
      'svcplane_lb_lease_failures_total',
      'Times that the Lease could not be read or written',
    ),
    size: registry.gauge('svcplane_lb_pool_addresses', 'Addresses that a pool has to give', [
      'pool',
      'family',
    ]),
    used: registry.gauge('svcplane_lb_pool_addresses_used', 'Addresses of a pool that are given', [
      'pool',
      'family',
    ]),
    services: registry.gauge('svcplane_lb_services', 'Services of ours by what was decided about them', [
      'verdict',
    ]),
    writes: registry.counter('svcplane_lb_writes_total', 'Writes of the status of a Service', ['outcome']),
  };
}
