import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export type { Counter, Gauge, Histogram } from 'prom-client';

/** Metrics of this process and no others, as text for Prometheus. */
export class MetricRegistry {
  readonly #registry = new Registry();

  /** As the header Content-Type. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) {
    return new Counter<Label>({ name, help, labelNames, registers: [this.#registry] });
  }

  gauge<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) {
    return new Gauge<Label>({ name, help, labelNames, registers: [this.#registry] });
  }

  /** @param buckets upper bounds, in ascending order */
  histogram<Label extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly Label[] = [],
  ) {
    return new Histogram<Label>({
      name,
      help,
      buckets: [...buckets],
      labelNames,
      registers: [this.#registry],
    });
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }
}
