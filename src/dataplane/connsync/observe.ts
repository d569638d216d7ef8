import type { LedgerAccess } from '../ledger.ts';
import type { SyncKernel } from './kernel.ts';
import { equalConfig, type SyncRows } from './rows.ts';

/** Reads the daemons; one that is not as we started it is somebody else's. @throws what the kernel throws */
export async function observe(
  kernel: SyncKernel,
  ledger: LedgerAccess,
  signal: AbortSignal,
): Promise<SyncRows> {
  const daemons = await kernel.daemons(signal);
  const { syncDaemons } = ledger.read();
  return new Map(
    daemons.map((daemon) => {
      const ours = syncDaemons.get(daemon.role);
      const owner = ours && equalConfig(ours, daemon) ? 'svcplane' : 'foreign';
      return [daemon.role, { ...daemon, owner }] as const;
    }),
  );
}
