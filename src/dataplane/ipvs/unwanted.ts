import type { IpAddress } from '../../model/address.ts';
import { type VirtualServerKey, virtualServerKey } from '../../model/virtual-server.ts';
import type { Unwanted, UnwantedFrontend } from '../dataplane.ts';
import { frontendOf, type IpvsRows, type SysctlRow, type VirtualServerRow } from './rows.ts';
import { STRICT_ARP_SYSCTLS } from './sysctls.ts';

/**
 * The virtual servers of ours that `wanted` does not have; one that is another Service's by now is wanted. A NodePort
 * at an address that the host has lost is left out: nobody can reach it, whatever the API server says.
 */
export function unwantedServers(
  observed: IpvsRows,
  wanted: IpvsRows,
  hostAddresses: ReadonlySet<IpAddress> | null,
): Unwanted {
  let ours = 0;
  const rows: VirtualServerRow[] = [];
  for (const [key, row] of observed.virtualServers) {
    if (row.owner !== 'svcplane') continue;
    const isWanted = wanted.virtualServers.has(key);
    if (!isWanted && hasLostAddress(row, hostAddresses)) continue;
    ours += 1;
    if (!isWanted) rows.push(row);
  }
  const frontends = new Map<VirtualServerKey, UnwantedFrontend>();
  for (const row of rows) {
    const frontend = frontendOf(row);
    if (frontend === null) continue;
    const key = virtualServerKey(frontend);
    // A wanted frontend may lose its inside clients' row: what it needs itself is known better than what it had.
    if (wanted.virtualServers.has(key)) continue;
    const { address, port, protocol } = frontend;
    const before = frontends.get(key);
    const mark = row.identity.kind === 'firewallMark' ? row.identity.firewallMark : (before?.mark ?? null);
    const endpoints = new Set<IpAddress>(before?.endpoints);
    for (const { config } of row.realServers.values()) endpoints.add(config.address);
    frontends.set(key, { address, port, protocol, mark, endpoints });
  }
  return { ours, keys: new Set(rows.map(({ key }) => key)), frontends: [...frontends.values()] };
}

/** `wanted` with the unwanted rows of ours as they are, and the sysctls that keep their addresses from being announced. */
export function holdUnwantedServers(
  observed: IpvsRows,
  wanted: IpvsRows,
  { keys }: Pick<Unwanted, 'keys'>,
): IpvsRows {
  const held = [...keys].flatMap((key) => observed.virtualServers.get(key) ?? []);
  if (held.length === 0) return wanted;
  const virtualServers = new Map(wanted.virtualServers);
  for (const row of held) virtualServers.set(row.key, row);
  const isAnnounced = held.some(({ origin }) => isExternal(origin?.exposure));
  return { ...wanted, virtualServers, sysctls: isAnnounced ? heldSysctls(observed, wanted) : wanted.sysctls };
}

function hasLostAddress(row: VirtualServerRow, hostAddresses: ReadonlySet<IpAddress> | null): boolean {
  if (hostAddresses === null || row.origin?.exposure !== 'NodePort') return false;
  const frontend = frontendOf(row);
  return frontend !== null && !hostAddresses.has(frontend.address);
}

function heldSysctls({ sysctls }: IpvsRows, wanted: IpvsRows): ReadonlyMap<string, SysctlRow> | null {
  if (sysctls === null || wanted.sysctls === null) return wanted.sysctls;
  const held = new Map(wanted.sysctls);
  for (const [name] of STRICT_ARP_SYSCTLS) {
    const have = sysctls.get(name);
    if (have && !held.has(name)) held.set(name, have);
  }
  return held;
}

/** Whether others may announce an address of this exposure. */
export function isExternal(exposure: string | undefined): boolean {
  return exposure === 'ExternalIP' || exposure === 'LoadBalancer';
}
