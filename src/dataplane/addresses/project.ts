import { familyOf, type IpAddress } from '../../model/address.ts';
import { type Cidr, cidrContains, formatCidr, hostPrefixLength } from '../../model/cidr.ts';
import type { DesiredState } from '../../model/desired-state.ts';
import { compareText, type Rejected } from '../../model/rejected.ts';
import type { VirtualServer } from '../../model/virtual-server.ts';
import { atOnce, type Pieces, type Projection } from '../dataplane.ts';
import { type AddressRow, type AddressRows, emptyRows, type RouteRow } from './rows.ts';

export interface AddressesOptions {
  /** Name of our link, ≤ 15 characters; never one of another service proxy. */
  readonly interface: string;
  /** Whether ClusterIPs are bound one by one, or made local by one route per range. */
  readonly clusterIPs: 'bind' | 'route';
  /** Addresses in these ranges are served by others, as while migrating from another proxy. */
  readonly excludeCIDRs?: readonly Cidr[];
  /** See useOf. */
  readonly announcingLink?: string | null;
}

/** The addresses and routes that make `desired` local on this node. */
export function project(desired: DesiredState, options: AddressesOptions): Projection<AddressRows> {
  return atOnce(projecting(desired, options));
}

/** {@link project} in pieces. */
export function* projecting(
  desired: DesiredState,
  options: AddressesOptions,
): Pieces<Projection<AddressRows>> {
  const routing = options.clusterIPs === 'route' ? routableRanges(desired) : { ranges: [], refused: [] };
  const bound = yield* boundAddresses(desired, routing.ranges, options);
  const addresses = new Map([...anchor(routing.ranges), ...bound]);
  const routes = new Map(
    routing.ranges.map((range): [string, RouteRow] => [
      formatCidr(range),
      { owner: 'svcplane', source: nodeAddress(desired, range), origin: originOf(range) },
    ]),
  );
  const empty = emptyRows(options.interface);
  const needsLink = addresses.size + routes.size > 0;
  const link = needsLink
    ? { ...empty.link, exists: true, isUp: true, kind: 'dummy', ours: true }
    : empty.link;
  return { rows: { ...empty, link, addresses, routes }, refused: routing.refused };
}

/** A frontend whose address we make local, by an address of its own unless a route covers it. */
function* boundAddresses(
  desired: DesiredState,
  routed: readonly Cidr[],
  { excludeCIDRs = [] }: AddressesOptions,
): Pieces<Map<IpAddress, AddressRow>> {
  const services = new Map<IpAddress, readonly string[]>();
  for (const virtualServer of desired.virtualServers.values()) {
    yield;
    if (!virtualServer.bindAddress || isRouted(virtualServer, routed)) continue;
    const { address, service } = virtualServer;
    if (excludeCIDRs.some((range) => cidrContains(range, address))) continue;
    const known = services.get(address) ?? [];
    if (!known.includes(service)) services.set(address, [...known, service]);
  }
  const rows = new Map<IpAddress, AddressRow>();
  for (const [address, names] of services) {
    yield;
    const origin = names
      .toSorted(compareText)
      .map((name) => `Service ${name}`)
      .join(', ');
    rows.set(address, { owner: 'svcplane', prefixLength: hostPrefixLength(address), origin });
  }
  return rows;
}

/**
 * With the last IPv4 address of a link the kernel drops all IPv4 routes through it (net/ipv4/fib_frontend.c
 * fib_inetaddr_event: "Last address was deleted from this interface"). So one stays as long as the routes: the
 * network address of a range, which is local by its route anyway, and which no Service gets.
 */
function anchor(ranges: readonly Cidr[]): [IpAddress, AddressRow][] {
  const range = ranges.find(({ family }) => family === 'IPv4');
  if (!range) return [];
  const origin = `${originOf(range)}, whose route needs an address on the link`;
  return [[range.network, { owner: 'svcplane', prefixLength: 32, origin }]];
}

/** Only ClusterIPs: an external address inside the range may be announced by address, as ARP does. */
function isRouted(virtualServer: VirtualServer, routed: readonly Cidr[]): boolean {
  return (
    virtualServer.exposure === 'ClusterIP' &&
    routed.some((range) => cidrContains(range, virtualServer.address))
  );
}

function routableRanges(desired: DesiredState): { ranges: readonly Cidr[]; refused: readonly Rejected[] } {
  if (desired.serviceCIDRs.length === 0) {
    const reason =
      'no ServiceCIDR is known, so ClusterIPs are bound one by one; name the ranges in serviceCIDRs to route them';
    return { ranges: [], refused: [{ subject: 'clusterIPs: route', reason }] };
  }
  const ranges: Cidr[] = [];
  const refused: Rejected[] = [];
  for (const range of desired.serviceCIDRs) {
    // A local route over the node's own network would cut the node off from its neighbours.
    const inside = desired.nodeAddresses.find((address) => cidrContains(range, address));
    if (inside === undefined) ranges.push(range);
    else {
      const reason = `node address ${inside} is in it, so it is not made local; its ClusterIPs are bound one by one`;
      refused.push({ subject: originOf(range), reason });
    }
  }
  return { ranges, refused };
}

/** With it as source, the node's own connections to the range need no masquerade. */
function nodeAddress(desired: DesiredState, range: Cidr): IpAddress | null {
  return desired.nodeAddresses.find((address) => familyOf(address) === range.family) ?? null;
}

function originOf(range: Cidr): string {
  return `ServiceCIDR ${formatCidr(range)}`;
}
