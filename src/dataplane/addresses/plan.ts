import { compareAddresses, type IpAddress } from '../../model/address.ts';
import { cidrContains, hostPrefixLength, parseCidr } from '../../model/cidr.ts';
import type { Rejected } from '../../model/rejected.ts';
import type { Plan, Unwanted } from '../dataplane.ts';
import { type AddressOp, operation } from './ops.ts';
import {
  type AddressRows,
  type LedgerEntry,
  ledgerKey,
  type RouteRow,
  sortedAddresses,
  sortedMissing,
  sortedRoutes,
} from './rows.ts';

/** From observed to wanted rows. What somebody else put on our link, or any other link has, is left alone. */
export function plan(observed: AddressRows, wanted: AddressRows): Plan<AddressOp> {
  const { name, exists, kind } = observed.link;
  if (exists && kind !== 'dummy') {
    const reason = `it exists and is ${kind === null ? 'no dummy' : `a ${kind}, not a dummy`}: name another --interface, or delete it`;
    const conflicts = wanted.link.exists ? [{ subject: `link ${name}`, reason }] : [];
    return { make: [], break: [], conflicts };
  }
  const routes = planRoutes(observed, wanted);
  const addresses = planAddresses(observed, wanted);
  return {
    make: [...planLink(observed, wanted), ...routes.make, ...addresses.make],
    break: [...addresses.break, ...routes.break, ...planForgetting(observed, wanted)],
    conflicts: [...addresses.conflicts, ...routes.conflicts],
  };
}

/** Removes what is ours. The link goes only if it is ours and nobody else uses it. */
export function teardown(observed: AddressRows): Plan<AddressOp> {
  const { name: link, exists, ours } = observed.link;
  const reason = 'clean-up';
  const addresses = sortedAddresses(observed).filter(([, row]) => row.owner === 'svcplane');
  const routes = sortedRoutes(observed).filter(([, row]) => row.owner === 'svcplane');
  const shared = addresses.length < observed.addresses.size || routes.length < observed.routes.size;
  return {
    make: [],
    break: [
      ...addresses.map(([address]) => operation({ op: 'deleteAddress', link, address }, reason)),
      ...routes.map(([prefix]) => operation({ op: 'deleteRoute', link, prefix }, reason)),
      ...(exists && ours && !shared ? [operation({ op: 'deleteLink', link }, reason)] : []),
      ...sortedMissing(observed).map((entry) => operation({ op: 'forgetMissing', entry }, reason)),
    ],
    conflicts: [],
  };
}

/** `wanted`, and those of `addresses` that we have bound now: for connections to them that drain. */
export function retainAddresses(
  observed: AddressRows,
  wanted: AddressRows,
  addresses: ReadonlySet<IpAddress>,
): AddressRows {
  const retained = [...addresses].filter(
    (address) => observed.addresses.get(address)?.owner === 'svcplane' && !wanted.addresses.has(address),
  );
  if (retained.length === 0) return wanted;
  const rows = new Map(wanted.addresses);
  for (const address of retained) {
    const origin = 'connections to it still drain';
    rows.set(address, { owner: 'svcplane', prefixLength: hostPrefixLength(address), origin });
  }
  const link = { ...wanted.link, exists: true, isUp: true, kind: 'dummy', ours: true };
  return { ...wanted, link, addresses: rows };
}

/** `wanted`, and what makes the addresses of unwanted frontends local now: an address each, or a route over them. */
export function holdUnwantedAddresses(
  observed: AddressRows,
  wanted: AddressRows,
  { frontends }: Pick<Unwanted, 'frontends'>,
): AddressRows {
  const addresses = new Set(frontends.map(({ address }) => address));
  const routes = new Map(wanted.routes);
  for (const [prefix, row] of observed.routes) {
    const range = row.owner === 'svcplane' && !routes.has(prefix) ? parseCidr(prefix) : undefined;
    if (!range || ![...addresses].some((address) => cidrContains(range, address))) continue;
    routes.set(prefix, row);
    // The address that its routes need on the link: see anchor() in project.ts.
    addresses.add(range.network);
  }
  const retained = retainAddresses(observed, wanted, addresses);
  return routes.size === wanted.routes.size ? retained : { ...retained, routes };
}

function planLink(observed: AddressRows, wanted: AddressRows): AddressOp[] {
  const { name: link, exists, isUp } = observed.link;
  const reason = 'addresses of Services are bound to it';
  if (!exists) return wanted.link.exists ? [operation({ op: 'addLink', link }, reason)] : [];
  return wanted.link.isUp && !isUp ? [operation({ op: 'setLinkUp', link }, reason)] : [];
}

function planAddresses(observed: AddressRows, wanted: AddressRows): Plan<AddressOp> {
  const link = observed.link.name;
  const make: [IpAddress, AddressOp][] = [];
  const conflicts: [IpAddress, Rejected][] = [];
  for (const [address, want] of wanted.addresses) {
    if (want.owner === 'foreign') continue;
    const have = observed.addresses.get(address);
    const conflict = addressConflict(observed, wanted, address);
    if (conflict !== undefined) conflicts.push([address, { subject: want.origin, reason: conflict }]);
    else if (!have) make.push([address, operation({ op: 'addAddress', link, address }, want.origin)]);
    else if (have.owner === 'foreign') {
      make.push([address, operation({ op: 'adoptAddress', address }, want.origin)]);
    }
  }
  const unbind: [IpAddress, AddressOp][] = [];
  for (const [address, have] of observed.addresses) {
    if (have.owner === 'foreign') continue;
    const other = otherLink(observed, wanted, address);
    if (wanted.addresses.has(address) && other === undefined) continue;
    const reason = other === undefined ? 'no Service has it' : `it is an address of ${other} now`;
    unbind.push([address, operation({ op: 'deleteAddress', link, address }, reason)]);
  }
  return { make: inOrder(make), break: inOrder(unbind), conflicts: inOrder(conflicts) };
}

/** Why a wanted address is not bound; undefined if it is. */
function addressConflict(observed: AddressRows, wanted: AddressRows, address: IpAddress): string | undefined {
  const other = otherLink(observed, wanted, address);
  if (other !== undefined) return `${address} is an address of ${other}; it is served there and not bound`;
  // The kernel takes one IPv6 address once per link, whatever its length: ours could not be added beside it.
  const have = observed.addresses.get(address);
  if (!have || have.prefixLength === hostPrefixLength(address)) return undefined;
  return `${address} is on ${observed.link.name} as ${address}/${have.prefixLength}, made by somebody else; it is served so`;
}

/**
 * The other link that has `address`, unless it is wanted on both, as by rows that were observed, or is kube-proxy's:
 * an address that is bound to ours as well stays local when kube-proxy's link goes.
 */
function otherLink(observed: AddressRows, wanted: AddressRows, address: IpAddress): string | undefined {
  const other = observed.foreignLocal?.get(address);
  if (wanted.foreignLocal?.has(address) || other?.use === 'proxy') return undefined;
  return other?.link;
}

function planRoutes(observed: AddressRows, wanted: AddressRows): Plan<AddressOp> {
  const link = observed.link.name;
  const make: AddressOp[] = [];
  const conflicts: Rejected[] = [];
  for (const [prefix, want] of sortedRoutes(wanted)) {
    if (want.owner === 'foreign') continue;
    const have = observed.routes.get(prefix);
    const source = sourceFor(observed, prefix, want);
    if (source !== want.source) {
      const reason = `${want.source} is no address of this host, so the route to ${prefix} goes without a source`;
      conflicts.push({ subject: want.origin, reason });
    }
    const conflict = routeConflict(observed, prefix, want);
    if (conflict !== undefined) conflicts.push({ subject: want.origin, reason: conflict });
    else if (!have) make.push(operation({ op: 'addRoute', link, prefix, source }, want.origin));
    else if (have.owner === 'foreign') make.push(operation({ op: 'adoptRoute', prefix }, want.origin));
    else if (have.source !== source) {
      make.push(operation({ op: 'setRouteSource', link, prefix, source }, want.origin));
    }
  }
  const unroute = sortedRoutes(observed)
    .filter(([prefix, have]) => have.owner === 'svcplane' && !wanted.routes.has(prefix))
    .map(([prefix]) => operation({ op: 'deleteRoute', link, prefix }, 'no ServiceCIDR is routed as it'));
  return { make, break: unroute, conflicts };
}

/** Why a wanted route is not ours; undefined if it is. */
function routeConflict(observed: AddressRows, prefix: string, want: RouteRow): string | undefined {
  const have = observed.routes.get(prefix);
  if (have?.owner !== 'foreign' || have.source === sourceFor(observed, prefix, want)) return undefined;
  const source = have.source === null ? 'no source' : `source ${have.source}`;
  return `${prefix} is routed to ${observed.link.name} by somebody else, with ${source}; it is served so`;
}

/** The kernel takes only a local address as source, though one may stay that is none any more. */
function sourceFor(observed: AddressRows, prefix: string, want: RouteRow): IpAddress | null {
  const { foreignLocal } = observed;
  const possible =
    want.source === null ||
    want.source === observed.routes.get(prefix)?.source ||
    foreignLocal === null ||
    foreignLocal.has(want.source);
  return possible ? want.source : null;
}

/** What is in the ledger only, and is not about to be made. */
function planForgetting(observed: AddressRows, wanted: AddressRows): AddressOp[] {
  const isMade = (entry: LedgerEntry): boolean => {
    if (entry.kind === 'link') return wanted.link.exists && entry.link === wanted.link.name;
    if (entry.kind === 'address') {
      const { address } = entry;
      return wanted.addresses.has(address) && addressConflict(observed, wanted, address) === undefined;
    }
    const want = wanted.routes.get(entry.prefix);
    return want !== undefined && routeConflict(observed, entry.prefix, want) === undefined;
  };
  const reason = 'the kernel does not have it, and no Service needs it';
  return sortedMissing(observed)
    .filter((entry) => !wanted.missing.has(ledgerKey(entry)) && !isMade(entry))
    .map((entry) => operation({ op: 'forgetMissing', entry }, reason));
}

function inOrder<T>(entries: [IpAddress, T][]): T[] {
  return entries.sort(([a], [b]) => compareAddresses(a, b)).map(([, entry]) => entry);
}
