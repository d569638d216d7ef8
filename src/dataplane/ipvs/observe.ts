import { readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { parseVirtualServerKey, virtualServerKey } from '../../model/virtual-server.ts';
import { allInGroups, inPieces, type Look } from '../dataplane.ts';
import { EMPTY_LEDGER, type Ledger, type LedgerAccess } from '../ledger.ts';
import type { IpvsKernel, KernelState } from './kernel.ts';
import { joinLedger, type StaleEntries, staleEntries } from './ownership.ts';
import type { WantedServer } from './project.ts';
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

/** The text of /proc/net/ip_vs; undefined where there is none, it may not be read, or the signal is aborted meanwhile. */
export type ReadTable = (signal: AbortSignal) => Promise<string | undefined>;

/** What a look at the table compares it with. */
export interface WantedTable {
  readonly servers: Iterable<WantedServer>;
  readonly sysctls: ReadonlyMap<string, string>;
  /** What the table calls the virtual servers of others, as of when all was looked at. */
  readonly foreign: ReadonlySet<string>;
}

/**
 * A look at the table as text, and at our sysctls: whether there is nothing to do, once a sync has done it.
 * @throws as `look`
 */
export async function isAsWanted(
  { servers, sysctls, foreign }: WantedTable,
  { drains, staleFlows }: Ledger,
  { readSysctl, readTable }: { readonly readSysctl: ReadSysctl; readonly readTable: ReadTable },
  look: Omit<Look, 'signal'>,
): Promise<boolean> {
  if (staleFlows.size > 0) return false;
  if (![...sysctls].every(([name, value]) => readSysctl(name) === value)) return false;
  const text = await readTable(look.givenUp);
  await look.pause();
  if (text === undefined) return false;
  const comparison = await inPieces(compareTable(text, servers, drains.keys()), look);
  return comparison.isAsWanted && foreign.symmetricDifference(new Set(comparison.strangers)).size === 0;
}

/** Virtual servers between two pauses of a look: two requests each. */
const READ_AT_ONCE = 32;

/**
 * A look at virtual servers by name, for what the table as text does not have: thresholds, tunnels, flags. What drains
 * beside them is not looked at.
 * @throws what the kernel's reads throw, and as `look`
 */
export function areAsWanted(
  kernel: IpvsKernel,
  rows: readonly VirtualServerRow[],
  look: Look,
): Promise<boolean> {
  return allInGroups(rows, READ_AT_ONCE, look, async (group) => {
    const identities = group.map(({ identity }) => identity);
    const state = await kernel.read(identities, look.signal);
    const { virtualServers } = joinLedger(state, new Map(), EMPTY_LEDGER, 0);
    return group.every((row) => hasWanted(virtualServers.get(row.key), row));
  });
}

/** Whether it is configured as wanted, and has the wanted real servers at least. */
function hasWanted(found: VirtualServerRow | undefined, { config, realServers }: VirtualServerRow): boolean {
  if (!found || !equalConfig(found.config, config)) return false;
  return [...realServers].every(([key, wanted]) => {
    const realServer = found.realServers.get(key);
    return realServer !== undefined && equalRealServerConfig(realServer.config, wanted.config);
  });
}

const TABLE_FILE = '/proc/net/ip_vs';
const TABLE_BYTES = 65_536;

/**
 * {@link ReadTable} of this network namespace, one reading at a time: by way of memory that it keeps, for to get new
 * memory takes longer than the reading.
 */
export function tableReader(): ReadTable {
  let buffer = Buffer.allocUnsafeSlow(TABLE_BYTES);
  return async (signal) => {
    try {
      await using file = await open(TABLE_FILE);
      for (let length = 0; ; ) {
        signal.throwIfAborted();
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
        if (bytesRead === 0) return buffer.toString('latin1', 0, length);
        length += bytesRead;
        if (length === buffer.length) buffer = Buffer.concat([buffer], 2 * length);
      }
    } catch {
      return undefined;
    }
  };
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
