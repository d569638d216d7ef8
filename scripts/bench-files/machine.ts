import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

/** Where something was measured. */
export interface Place {
  /** As 2026-11-28. */
  readonly date: string;
  readonly kernel: string;
  readonly processors: number;
  readonly processor: string;
  readonly memoryBytes: number;
  readonly node: string;
}

/** This machine, or that of the lab. */
export function thisMachine(): Place {
  const [processor] = cpus();
  const model = /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1];
  return {
    date: new Date().toISOString().slice(0, 10),
    kernel: `Linux ${release()}, ${process.env.SVCPLANE_LAB_KERNEL ?? 'native'}`,
    processors: cpus().length,
    processor: (model ?? processor?.model ?? '').trim(),
    memoryBytes: totalmem(),
    node: process.version,
  };
}
