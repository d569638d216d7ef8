import type { ProcessFigures } from './host.ts';
import type { MetricRegistry } from './prometheus-client.ts';

/** What this process is and costs, under the names that dashboards of processes and of Node know. */
export class ProcessMetrics {
  readonly #metrics: ReturnType<typeof register>;

  constructor(registry: MetricRegistry, startMs: number, versions: { svcplane: string; node: string }) {
    this.#metrics = register(registry);
    this.#metrics.start.set(startMs / 1000);
    this.#metrics.build.set({ version: versions.svcplane, node_version: versions.node }, 1);
  }

  looked(figures: ProcessFigures): void {
    const { cpu, resident, heap, openFiles, maxFiles, lag, utilization } = this.#metrics;
    // The figure is a sum already.
    cpu.reset();
    cpu.inc(figures.cpuSeconds);
    resident.set(figures.residentBytes);
    heap.set(figures.heapUsedBytes);
    if (figures.openFiles !== null) openFiles.set(figures.openFiles);
    if (figures.maxFiles !== null) maxFiles.set(figures.maxFiles);
    lag.set(figures.eventLoopLagSeconds);
    utilization.set(figures.eventLoopUtilization);
  }
}

function register(registry: MetricRegistry) {
  return {
    build: registry.gauge('svcplane_build_info', 'Always 1; the labels tell what is running', [
      'version',
      'node_version',
    ]),
    cpu: registry.counter('process_cpu_seconds_total', 'Processor time, user and system'),
    resident: registry.gauge('process_resident_memory_bytes', 'Resident memory'),
    start: registry.gauge('process_start_time_seconds', 'When the process began'),
    openFiles: registry.gauge('process_open_fds', 'Open file descriptors'),
    maxFiles: registry.gauge('process_max_fds', 'Limit of open file descriptors'),
    heap: registry.gauge('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap'),
    lag: registry.gauge('nodejs_eventloop_lag_seconds', 'How late a callback ran when this was asked for'),
    utilization: registry.gauge(
      'svcplane_event_loop_utilization',
      'Busy share of the event loop since this was last asked for, 0 to 1',
    ),
  };
}
