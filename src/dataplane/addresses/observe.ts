import type { IpAddress } from '../../model/address.ts';
import { hostPrefixLength, specialAddress } from '../../model/cidr.ts';
import type { Ledger } from '../ledger.ts';
import type { KernelAddress, KernelLink, KernelRoute, LinkKernel } from './kernel.ts';
import {
  type AddressRow,
  type AddressRows,
  type AddressUse,
  type ForeignAddress,
  type LedgerEntry,
  type LedgerKey,
  ledgerKey,
  type RouteRow,
  useOf,
} from './rows.ts';

/** The link name that is ours by name alone: nobody else has a reason to use it. */
const OUR_LINK = 'svcplane0';

/** What one observation reads from the kernel. */
export interface KernelDump {
  readonly links: readonly KernelLink[];
  readonly addresses: readonly KernelAddress[];
  readonly routes: readonly KernelRoute[];
}

/** Reads links, addresses and local routes. @param linkName name of our link @param announcingLink see useOf */
export async function observe(
  kernel: LinkKernel,
  ledger: Ledger,
  linkName: string,
  signal: AbortSignal,
  announcingLink: string | null = null,
): Promise<AddressRows> {
  const links = await kernel.links();
  signal.throwIfAborted();
  const addresses = await kernel.addresses();
  signal.throwIfAborted();
  const hasLink = links.some((link) => link.name === linkName);
  const routes = hasLink ? await kernel.localRoutes() : [];
  return rowsOf({ links, addresses, routes }, ledger, linkName, announcingLink);
}

/** Pure: a dump as rows, each marked ours or foreign. */
export function rowsOf(
  dump: KernelDump,
  ledger: Ledger,
  linkName: string,
  announcingLink: string | null = null,
): AddressRows {
  const link = dump.links.find(({ name }) => name === linkName);
  // On anything but a dummy nothing is ours, whatever the ledger says.
  const isDummy = link?.kind === 'dummy';
  const links = new Map(dump.links.map((each) => [each.index, each]));
  const addresses = new Map<IpAddress, AddressRow>();
  const foreignLocal = new Map<IpAddress, ForeignAddress>();
  for (const { linkIndex, address, prefixLength } of dump.addresses) {
    if (linkIndex !== link?.index) {
      const { name = `link ${linkIndex}`, kind = null } = links.get(linkIndex) ?? {};
      const use = useOf(name, kind, address, prefixLength, announcingLink);
      const known = foreignLocal.get(address);
      if (!known || ORDER[use] < ORDER[known.use]) foreignLocal.set(address, { link: name, use });
      continue;
    }
    const ours = isDummy && ledger.addresses.has(address) && prefixLength === hostPrefixLength(address);
    // Asked last, for it takes longer than all else here.
    if (!ours && isKernelMade(address)) continue;
    addresses.set(address, { owner: ours ? 'svcplane' : 'foreign', prefixLength, origin: '' });
  }
  const routes = new Map<string, RouteRow>();
  for (const { linkIndex, prefix, source } of dump.routes) {
    if (linkIndex !== link?.index) continue;
    const ours = isDummy && ledger.routes.has(prefix);
    routes.set(prefix, { owner: ours ? 'svcplane' : 'foreign', source, origin: '' });
  }
  const row = {
    name: linkName,
    exists: link !== undefined,
    isUp: link?.isUp ?? false,
    kind: link?.kind ?? null,
    ours: isDummy && (linkName === OUR_LINK || ledger.links.has(linkName)),
  };
  const rows = { link: row, addresses, routes, foreignLocal };
  return { ...rows, missing: missingFrom(rows, ledger) };
}

/** What an address is first, should links have it for several uses. */
const ORDER = { node: 0, pod: 1, service: 2, proxy: 3 } as const satisfies Record<AddressUse, number>;

/** The kernel gives each link that is up an IPv6 address in fe80::/10; no Service can have one. */
function isKernelMade(address: IpAddress): boolean {
  return specialAddress(address) === 'link-local';
}

function missingFrom(
  rows: Omit<AddressRows, 'missing'>,
  ledger: Ledger,
): ReadonlyMap<LedgerKey, LedgerEntry> {
  const isMissing = (entry: LedgerEntry): boolean => {
    if (entry.kind === 'address') return rows.addresses.get(entry.address)?.owner !== 'svcplane';
    if (entry.kind === 'route') return rows.routes.get(entry.prefix)?.owner !== 'svcplane';
    return entry.link !== rows.link.name || rows.link.kind !== 'dummy';
  };
  const missing = new Map<LedgerKey, LedgerEntry>();
  const add = (entry: LedgerEntry) => {
    if (isMissing(entry)) missing.set(ledgerKey(entry), entry);
  };
  for (const address of ledger.addresses) add({ kind: 'address', address });
  for (const prefix of ledger.routes) add({ kind: 'route', prefix });
  for (const link of ledger.links) add({ kind: 'link', link });
  return missing;
}
