import type { IpAddress } from '../../model/address.ts';
import {
  parseVirtualServerKey,
  type VirtualServerIdentity,
  type VirtualServerKey,
} from '../../model/virtual-server.ts';
import type { RowsChange } from '../dataplane.ts';
import type { Ledger, LedgerOrigin } from '../ledger.ts';
import type { IpvsKernel } from './kernel.ts';
import { joinLedger } from './ownership.ts';
import { equalOrigin, equalRows, frontendOf, type IpvsRows, type VirtualServerRow } from './rows.ts';

/** What a look at a scope has to know besides. */
export interface ScopeContext {
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number;
  /** Whether one of these virtual servers, which nobody wants, has nothing to wait for any more. */
  readonly isOver: (rows: IpvsRows) => boolean;
}

/**
 * Reads the virtual servers of a scope that are wanted otherwise than before: only the kernel knows the connections and
 * the draining real servers of those. In a drain check those that drain are read, too.
 * @returns null where a virtual server that nobody wants any more is in the way, or at the end of its wait: what else
 *   was kept for it then only a look at everything tells
 * @throws what the kernel's reads throw
 */
export async function observeIpvsChange(
  kernel: IpvsKernel,
  ledger: Ledger,
  { before, wanted, isDrainCheck }: RowsChange<IpvsRows>,
  { nowMs, isOver }: ScopeContext,
  signal: AbortSignal,
): Promise<IpvsRows | null> {
  const draining = drainingServers(ledger);
  const known = new Map<VirtualServerKey, VirtualServerRow>();
  const changed = new Map<VirtualServerKey, VirtualServerRow>();
  for (const [key, row] of [...before.virtualServers, ...wanted.virtualServers]) {
    const want = wanted.virtualServers.get(key);
    const isLeft = want && isSame(before.virtualServers.get(key), want);
    if (isLeft && !(isDrainCheck && draining.has(key))) known.set(key, want);
    else changed.set(key, row);
  }
  if (isInTheWay(draining, before, wanted)) return null;
  const observedAtMs = nowMs();
  const read = async (identities: readonly VirtualServerIdentity[]) =>
    joinLedger(await kernel.read(identities, signal), new Map(), ledger, observedAtMs);
  const rows = await read([...changed.values()].map(({ identity }) => identity));
  const leftovers = isDrainCheck
    ? [...draining.keys()].filter((key) => !known.has(key) && !changed.has(key))
    : [];
  const unwanted = await read(leftovers.flatMap((key) => parseVirtualServerKey(key) ?? []));
  if (isOver(unwanted)) return null;
  return {
    ...rows,
    virtualServers: new Map([...known, ...rows.virtualServers, ...unwanted.virtualServers]),
    sysctls: wanted.sysctls,
    staleFlows: new Set(),
  };
}

/** The Services, by `namespace/name`, of the virtual servers with draining real servers. */
export function drainingServices(ledger: Ledger): ReadonlySet<string> {
  return new Set([...drainingServers(ledger).values()].flatMap((origin) => origin?.service ?? []));
}

type DrainingServers = ReadonlyMap<VirtualServerKey, LedgerOrigin | undefined>;

function drainingServers({ drains, virtualServers }: Ledger): DrainingServers {
  const draining = new Map<VirtualServerKey, LedgerOrigin | undefined>();
  for (const drain of drains.keys()) {
    const key = drain.slice(0, drain.indexOf(' -> ')) as VirtualServerKey;
    draining.set(key, virtualServers.get(key));
  }
  return draining;
}

function isSame(had: VirtualServerRow | undefined, want: VirtualServerRow): boolean {
  return had === want || (had !== undefined && equalRows(had, want) && equalOrigin(had.origin, want.origin));
}

/**
 * Whether an address that comes or goes is kept for a virtual server that nobody wants any more. Whoever wants one at
 * such an address is in the scope.
 */
function isInTheWay(draining: DrainingServers, before: IpvsRows, wanted: IpvsRows): boolean {
  if (draining.size === 0) return false;
  const [had, has] = [addressesOf(before), addressesOf(wanted)];
  return [...draining].some(([key, origin = null]) => {
    // The node's own addresses are nobody's to keep.
    if (before.virtualServers.has(key) || origin?.exposure === 'NodePort') return false;
    const identity = parseVirtualServerKey(key);
    const frontend = identity && frontendOf({ identity, origin });
    return frontend && had.has(frontend.address) !== has.has(frontend.address);
  });
}

function addressesOf({ virtualServers }: IpvsRows): ReadonlySet<IpAddress | undefined> {
  return new Set([...virtualServers.values()].map((row) => frontendOf(row)?.address));
}
