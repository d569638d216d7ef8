import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseVirtualServerKey, virtualServerKey } from '../../model/virtual-server.ts';
import { type Look, type Part, partOf } from '../dataplane.ts';
import { EMPTY_LEDGER, type Ledger, type LedgerAccess } from '../ledger.ts';
import type { IpvsKernel, KernelState } from './kernel.ts';
import { joinLedger, type StaleEntries, staleEntries } from './ownership.ts';
import { equalConfig, equalRealServerConfig, type IpvsRows, type VirtualServerRow } from './rows.ts';
import { SYSCTL_NAMES } from './sysctls.ts';
import { compareTable } from './table-text.ts';

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
  const state = await dumpWhole(kernel, ledgerAccess.read(), signal);
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

/** While somebody changes the table in a loop there may be no whole dump of it. */
const MAX_DUMPS = 5;

/**
 * A dump that misses nothing of ours. The kernel resumes a dump by position in a table that all network namespaces
 * share, and does not say when it has changed meanwhile (net/netfilter/ipvs/ip_vs_ctl.c ip_vs_genl_dump_services):
 * rows are passed over. A row of ours that seems gone would lose its owner for good, so it is asked for by name.
 */
async function dumpWhole(kernel: IpvsKernel, ledger: Ledger, signal: AbortSignal): Promise<KernelState> {
  for (let dumps = 1; dumps <= MAX_DUMPS; dumps++) {
    const state = await kernel.dump(signal);
    if (!(await missesOurs(kernel, state, ledger))) return state;
  }
  throw new Error(`Cannot read IPVS: its table changed during each of ${MAX_DUMPS} dumps: try again`);
}

async function missesOurs(kernel: IpvsKernel, state: KernelState, ledger: Ledger): Promise<boolean> {
  const seen = new Set(state.virtualServers.map(({ identity }) => virtualServerKey(identity)));
  for (const key of ledger.virtualServers.keys()) {
    const identity = seen.has(key) ? undefined : parseVirtualServerKey(key);
    if (identity && (await kernel.has(identity))) return true;
  }
  return false;
}

/** The text of /proc/net/ip_vs; undefined where there is none, or it may not be read. */
export type ReadTable = () => Promise<string | undefined>;

/**
 * A look at the table as text, and at our sysctls: whether there is nothing to do for `wanted`, once a sync has done it.
 * @param foreign what the table calls the virtual servers of others, when all was looked at
 */
export async function isAsWanted(
  wanted: IpvsRows,
  foreign: ReadonlySet<string>,
  { drains, staleFlows }: Ledger,
  { readSysctl, readTable }: { readonly readSysctl: ReadSysctl; readonly readTable: ReadTable },
  look: Look,
): Promise<boolean> {
  const sysctls = [...(wanted.sysctls ?? [])];
  if (staleFlows.size > 0 || !sysctls.every(([name, { value }]) => readSysctl(name) === value)) return false;
  const text = await readTable();
  if (text === undefined) return false;
  const comparison = await compareTable(text, wanted, drains.keys(), look);
  return comparison.isAsWanted && foreign.symmetricDifference(new Set(comparison.strangers)).size === 0;
}

/**
 * A look at a part of the wanted rows by name, for what the table as text does not have: thresholds, tunnels, flags.
 * What drains beside them is not looked at.
 * @throws what the kernel's reads throw
 */
export async function isPartAsWanted(
  kernel: IpvsKernel,
  wanted: IpvsRows,
  part: Part,
  look: Look,
): Promise<boolean> {
  const rows = partOf(wanted.virtualServers.values(), part);
  for (let start = 0; start < rows.length; start += READ_AT_ONCE) {
    await look.pause();
    if (!(await areAsWanted(kernel, rows.slice(start, start + READ_AT_ONCE), look.signal))) return false;
  }
  return true;
}

/** Virtual servers between two pauses of a look: two requests each. */
const READ_AT_ONCE = 32;

async function areAsWanted(
  kernel: IpvsKernel,
  rows: readonly VirtualServerRow[],
  signal: AbortSignal,
): Promise<boolean> {
  const identities = rows.map(({ identity }) => identity);
  const state = await kernel.read(identities, signal);
  const { virtualServers } = joinLedger(state, new Map(), EMPTY_LEDGER, 0);
  return rows.every((row) => {
    const found = virtualServers.get(row.key);
    if (!found || !equalConfig(found.config, row.config)) return false;
    return [...row.realServers].every(([key, { config }]) => {
      const realServer = found.realServers.get(key);
      return realServer !== undefined && equalRealServerConfig(realServer.config, config);
    });
  });
}

/** {@link ReadTable} of this network namespace. */
export async function readTableFile(): ReturnType<ReadTable> {
  try {
    return await readFile('/proc/net/ip_vs', 'utf8');
  } catch {
    return undefined;
  }
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

/** What this host has where something is needed; null where it has none, or may not be read. */
export function readSysctls(
  wanted: readonly (readonly [name: string, needs: string])[],
  onlyForIpv6: boolean,
) {
  return wanted.map(([name, needs]) => ({ name, needs, has: readSysctlFile(name) ?? null, onlyForIpv6 }));
}
