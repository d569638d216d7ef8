import { compareAddresses, type IpAddress } from '../../model/address.ts';
import { hostPrefixLength, specialAddress } from '../../model/cidr.ts';
import { compareText } from '../../model/rejected.ts';

export type Owner = 'svcplane' | 'foreign';

/** The link our addresses are on. */
export interface LinkRow {
  readonly name: string;
  readonly exists: boolean;
  readonly isUp: boolean;
  /** `dummy`, or what else has the name; null for a device without a kind, or none at all. */
  readonly kind: string | null;
  /** Made by us, so that clean-up deletes it. */
  readonly ours: boolean;
}

export interface AddressRow {
  readonly owner: Owner;
  /** 32 or 128 for all we make. */
  readonly prefixLength: number;
  /** The objects it follows from: `Service web/front`; "" in observed rows. */
  readonly origin: string;
}

export interface RouteRow {
  readonly owner: Owner;
  /** The node's address towards the range; null to let the kernel choose. */
  readonly source: IpAddress | null;
  /** What it follows from: `ServiceCIDR 10.96.0.0/16`; "" in observed rows. */
  readonly origin: string;
}

/** One thing that the ledger calls ours. */
export type LedgerEntry =
  | { readonly kind: 'address'; readonly address: IpAddress }
  | { readonly kind: 'route'; readonly prefix: string }
  | { readonly kind: 'link'; readonly link: string };

export type LedgerKey = `address ${IpAddress}` | `route ${string}` | `link ${string}`;

/**
 * Whose an address of another link is: the node's own, a pod's gateway on the node, a DNS cache's, or one of a Service
 * that is bound to our link as well: kube-proxy's, or keepalived's while this node announces it.
 */
export type AddressUse = 'node' | 'pod' | 'service' | 'proxy';

/** An address of other links than ours. */
export interface ForeignAddress {
  /** Of several links that have it, one where it is of this use. */
  readonly link: string;
  /** Of several, the first in the order of the type. */
  readonly use: AddressUse;
}

/** What makes addresses local in one network namespace, observed or wanted. */
export interface AddressRows {
  readonly link: LinkRow;
  /** On our link, without those that the kernel gives a link by itself (fe80::/10). */
  readonly addresses: ReadonlyMap<IpAddress, AddressRow>;
  /** Local routes through our link by `network/length`, without those that come with an address. */
  readonly routes: ReadonlyMap<string, RouteRow>;
  /** Addresses of all other links. null: not known, as in recorded or wanted rows. */
  readonly foreignLocal: ReadonlyMap<IpAddress, ForeignAddress> | null;
  /** In the ledger and not in the kernel: an apply was interrupted, or somebody deleted it. Empty in wanted rows. */
  readonly missing: ReadonlyMap<LedgerKey, LedgerEntry>;
}

/** No link, no address: what a plan without a kernel starts from. */
export function emptyRows(linkName: string): AddressRows {
  return {
    link: { name: linkName, exists: false, isUp: false, kind: null, ours: false },
    addresses: new Map(),
    routes: new Map(),
    foreignLocal: null,
    missing: new Map(),
  };
}

/** Identity of an entry, as shown: `address 10.96.0.50`. */
export function ledgerKey(entry: LedgerEntry): LedgerKey {
  if (entry.kind === 'address') return `address ${entry.address}`;
  if (entry.kind === 'route') return `route ${entry.prefix}`;
  return `link ${entry.link}`;
}

/** Links whose addresses are those of Services, or of a DNS cache in their place, and not the node's. */
const SERVICE_LINKS: readonly string[] = ['kube-dummy-if', 'nodelocaldns'];

/**
 * Where kube-proxy binds addresses of Services. While a node goes from one to the other they are on both links, and
 * nobody but IPVS answers on kube-proxy's.
 */
const KUBE_PROXY_LINK = 'kube-ipvs0';

/**
 * Whose an address is. A single address on a veth is what several network plugins give the node's end of every pod's
 * link, the same for all pods (point-to-point, Calico, GKE); the kind of the link alone tells nothing, for the node
 * may itself be in a namespace at the end of a veth (kind).
 * @param kind of the link, null if it has none
 * @param announcingLink where keepalived binds single addresses while this node announces them; null if it does not
 */
export function useOf(
  link: string,
  kind: string | null,
  address: IpAddress,
  prefixLength: number,
  announcingLink: string | null,
): AddressUse {
  const isSingle = prefixLength === hostPrefixLength(address);
  if (link === KUBE_PROXY_LINK || (link === announcingLink && isSingle)) return 'proxy';
  if (SERVICE_LINKS.includes(link)) return 'service';
  return kind === 'veth' && isSingle ? 'pod' : 'node';
}

/** The node's own addresses, fit for NodePorts: of all links but ours, no loopback or link-local one. Sorted. */
export function nodeAddressesOf(rows: AddressRows): readonly IpAddress[] {
  return [...(rows.foreignLocal ?? [])]
    .filter(([address, { use }]) => use === 'node' && specialAddress(address) === undefined)
    .map(([address]) => address)
    .sort(compareAddresses);
}

/** Stable text of link, addresses and routes: equal text, equal configuration. */
export function canonical(rows: AddressRows): string {
  const { name, exists, isUp, kind } = rows.link;
  return [
    exists ? `link ${name} ${kind} ${isUp ? 'up' : 'down'}` : `link ${name} none`,
    ...sortedAddresses(rows).map(([address, row]) => `address ${address}/${row.prefixLength} ${row.owner}`),
    ...sortedRoutes(rows).map(([prefix, row]) => `route ${prefix} src ${row.source} ${row.owner}`),
  ].join('\n');
}

/** What on our link somebody else made, in canonical order. */
export function foreign(rows: AddressRows): readonly string[] {
  const { name } = rows.link;
  return [
    ...sortedAddresses(rows)
      .filter(([, row]) => row.owner === 'foreign')
      .map(([address, row]) => `address ${address}/${row.prefixLength} dev ${name}`),
    ...sortedRoutes(rows)
      .filter(([, row]) => row.owner === 'foreign')
      .map(([prefix]) => `route ${prefix} dev ${name}`),
  ];
}

/** In canonical order. */
export function sortedAddresses(rows: AddressRows): [IpAddress, AddressRow][] {
  return [...rows.addresses].sort(([a], [b]) => compareAddresses(a, b));
}

/** In canonical order. */
export function sortedRoutes(rows: AddressRows): [string, RouteRow][] {
  return [...rows.routes].sort(([a], [b]) => compareText(a, b));
}

/** In the order of their keys. */
export function sortedMissing(rows: AddressRows): LedgerEntry[] {
  return [...rows.missing].sort(([a], [b]) => compareText(a, b)).map(([, entry]) => entry);
}
