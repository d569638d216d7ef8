import type { LedgerAccess } from '../ledger.ts';
import type { SyncKernel } from './kernel.ts';
import { equalConfig, type SyncRows } from './rows.ts';

/**
 * Reads the daemons; one that is not as we started it is somebody else's. The kernel tells of no more than the name of
 * the link.
 * @throws what the kernel throws
 */
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
      const isOurs = ours !== undefined && equalConfig(ours, daemon);
      const startedOn = isOurs ? ours.linkIndex : null;
      const isCutOff = startedOn !== null && startedOn !== kernel.linkIndex(daemon.interface);
      return [daemon.role, { ...daemon, owner: isOurs ? 'svcplane' : 'foreign', isCutOff }] as const;
    }),
  );
}
