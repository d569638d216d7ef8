import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: what /proc counts processor time in, on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** A process's memory, in bytes. */
export interface ProcessMemory {
  readonly residentBytes: number;
  /** The most it has been. */
  readonly peakBytes: number;
}

/**
 * Processor time of a process in seconds, user and system, with that of all children that have ended, as programs
 * started and waited for have. In steps of 10 ms.
 */
export function processorSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, the second field, is in parentheses and may hold anything. proc_pid_stat(5): fields 14 to 17.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return ticks / TICKS_PER_SECOND;
}

/** @throws Error if there is no such process */
export function processMemory(pid: number): ProcessMemory {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]);
  return { residentBytes: kibibytes('VmRSS') * 1024, peakBytes: kibibytes('VmHWM') * 1024 };
}

/** How many processes and threads this machine has started since it booted. */
export function processesStarted(): number {
  return Number(/^processes (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
}

/** The processes a process has started that still run. Not every kernel has /proc/PID/task/TID/children. */
export function childrenOf(pid: number): readonly number[] {
  const isChild = (other: string) => {
    try {
      return new RegExp(`^PPid:\\s+${pid}$`, 'm').test(readFileSync(`/proc/${other}/status`, 'utf8'));
    } catch {
      // It has ended since it was listed.
      return false;
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && isChild(name))
    .map(Number);
}

/** The IPVS table of a process's network namespace, by number of rows. */
export interface TableSize {
  readonly virtualServers: number;
  readonly realServers: number;
}

/** Counts the table in /proc. @param pid any process in the network namespace, or `self` */
export function tableSize(pid: number | 'self' = 'self'): TableSize {
  // Three lines of heading, the last of which looks like a real server's.
  const lines = readFileSync(`/proc/${pid}/net/ip_vs`, 'latin1').split('\n').slice(3, -1);
  const realServers = lines.filter((line) => line.startsWith('  ->')).length;
  return { virtualServers: lines.length - realServers, realServers };
}

/**
 * When each family was last in sync, from a page of metrics: kube-proxy's name, which svcplane has too.
 * @returns milliseconds since the epoch by family, "" where the metric has no label
 */
export function lastSyncsOf(metrics: string): ReadonlyMap<string, number> {
  const name = 'kubeproxy_sync_proxy_rules_last_timestamp_seconds';
  const found = metrics.matchAll(new RegExp(`^${name}(?:\\{ip_family="(\\w+)"\\})? (\\S+)$`, 'gm'));
  return new Map(
    [...found]
      .map(([, family = '', seconds]): [string, number] => [family, Number(seconds) * 1000])
      .filter(([, atMs]) => atMs > 0),
  );
}

/** The value of which a share `p` of the values is not above. @param values at least one */
export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? Number.NaN;
}
