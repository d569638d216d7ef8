import { readFileSync } from 'node:fs';
import { vi } from 'vitest';
import { messagesOf } from '../log-text.ts';
import type { Ended, Host } from './host.ts';

/** A `svcplane run` on a host. */
export interface Daemon {
  readonly pid: number;
  /** What it has said in its log and on standard error so far, without times and levels. */
  said(): string;
  /** The IPVS table of its network namespace, as /proc/net/ip_vs has it: numbers in hexadecimal. */
  table(): string;
  /** Sends it SIGTERM. */
  stop(): Promise<Ended>;
  readonly ended: Promise<Ended>;
}

/** No audit: what happens, happens for another reason. */
const NO_AUDIT = 'audit: { intervalSeconds: 0 }\n';

/** Starts it, and waits until its first sync has changed something. @param config lines of a configuration file */
export async function startDaemon(host: Host, manifests: string, config = NO_AUDIT): Promise<Daemon> {
  const args = ['run', '-f', manifests, '--config', host.file('run.yaml', config)];
  const { process: started, ended } = host.start(args);
  let said = '';
  for (const stream of [started.stdout, started.stderr]) {
    stream?.on('data', (text: string) => {
      said += text;
    });
  }
  const daemon: Daemon = {
    pid: started.pid ?? 0,
    said: () => messagesOf(said),
    // `ip netns exec` and the script become the process, so that its number is the daemon's.
    table: () => readFileSync(`/proc/${started.pid}/net/ip_vs`, 'utf8'),
    stop: () => {
      started.kill('SIGTERM');
      return ended;
    },
    ended,
  };
  await until(() => started.exitCode !== null || said.includes('(start)'));
  if (started.exitCode !== null) throw new Error(`svcplane run has ended: ${said}`);
  return daemon;
}

/** Looks until it is so; the bound is for what never comes true, on a machine however slow. */
export async function until(isSo: () => boolean): Promise<void> {
  await vi.waitFor(
    () => {
      if (!isSo()) throw new Error(`not so yet: ${isSo}`);
    },
    { timeout: 60_000, interval: 2 },
  );
}
