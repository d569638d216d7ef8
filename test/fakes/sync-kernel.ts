import type { SyncAnswer, SyncKernel } from '../../src/dataplane/connsync/kernel.ts';
import type { SyncDaemon } from '../../src/dataplane/connsync/rows.ts';
import type { SyncRole } from '../../src/dataplane/ledger.ts';

const OK: SyncAnswer = { outcome: 'ok' };

/** One daemon of each role at most. @see net/netfilter/ipvs/ip_vs_sync.c start_sync_thread, stop_sync_thread */
export class FakeSyncKernel implements SyncKernel {
  readonly running = new Map<SyncRole, SyncDaemon>();
  /** With the indexes. */
  readonly links = new Map([
    ['eth0', 2],
    ['eth1', 3],
  ]);
  /** Whether answers get lost. */
  silent = false;

  async daemons(): Promise<readonly SyncDaemon[]> {
    return [...this.running.values()];
  }

  async start(daemon: SyncDaemon): Promise<SyncAnswer> {
    if (this.running.has(daemon.role)) return { outcome: 'refused', code: 'EEXIST' };
    if (!this.links.has(daemon.interface)) return { outcome: 'refused', code: 'ENODEV' };
    this.running.set(daemon.role, daemon);
    return this.silent ? { outcome: 'unknown' } : OK;
  }

  async stop(role: SyncRole): Promise<SyncAnswer> {
    return this.running.delete(role) ? OK : { outcome: 'refused', code: 'ESRCH' };
  }

  linkIndex(name: string): number | null {
    return this.links.get(name) ?? null;
  }
}
