import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export type { Counter, Gauge, Histogram } from 'prom-client';

/** One metric, with all its series. */
export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labelNames: readonly string[];
}

/** Metrics of this process and no others, as text for Prometheus. */
export class MetricRegistry {
  readonly #registry = new Registry();
  readonly #families: MetricFamily[] = [];

  /** As the header Content-Type. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All that there are, in the order in which they were made. */
  get families(): readonly MetricFamily[] {
    return this.#families;
  }

  counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) {
    this.#families.push({ name, type: 'counter', help, labelNames });
    return new Counter<Label>({ name, help, labelNames, registers: [this.#registry] });
  }

  gauge<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) {
    this.#families.push({ name, type: 'gauge', help, labelNames });
    return new Gauge<Label>({ name, help, labelNames, registers: [this.#registry] });
  }

  /** @param buckets upper bounds, in ascending order */
  histogram<Label extends string = never>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly Label[] = [],
  ) {
    this.#families.push({ name, type: 'histogram', help, labelNames });
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
