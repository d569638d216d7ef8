import { readFileSync } from 'node:fs';
import type { Ledger, LedgerAccess } from '../ledger.ts';
import type { IpvsKernel } from './kernel.ts';
import { joinLedger, type StaleEntries, staleEntries } from './ownership.ts';
import type { IpvsRows } from './rows.ts';
import { SYSCTL_NAMES } from './sysctls.ts';

/** Reads one sysctl by its name with dots; undefined if it does not exist here or may not be read. */
export type ReadSysctl = (name: string) => string | undefined;

export interface Observation {
  readonly rows: IpvsRows;
  /** For the next apply to prune. */
  readonly stale: StaleEntries;
}

/**
 * Reads the IPVS table and our sysctls, and joins them with the ledger. Writes nothing.
 * @throws what the kernel's dump throws
 */
export async function observeIpvs(
  kernel: IpvsKernel,
  ledgerAccess: LedgerAccess,
  readSysctl: ReadSysctl,
  nowMs: () => number,
  signal: AbortSignal,
): Promise<Observation> {
  const observedAtMs = nowMs();
  const state = await kernel.dump(signal);
  // After the dump, for reaching the family loads ip_vs, and with it come its sysctls.
  const sysctls = new Map<string, string>();
  for (const name of SYSCTL_NAMES) {
    const value = readSysctl(name);
    if (value !== undefined) sysctls.set(name, value);
  }
  const ledger: Ledger = ledgerAccess.read();
  const rows = joinLedger(state, sysctls, ledger, observedAtMs);
  return { rows, stale: staleEntries(ledger, rows) };
}

/** {@link ReadSysctl} through /proc/sys. */
export function readSysctlFile(name: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, 'utf8').trim();
  } catch {
    // Absent or unreadable are one thing here: unknown. The plan reports it by name.
    return undefined;
  }
}
