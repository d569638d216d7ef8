import type { AddressRows } from '../dataplane/addresses/rows.ts';
import type { IpAddress } from '../model/address.ts';
import { type Cidr, cidrContains, formatCidr, parseCidr, specialAddress } from '../model/cidr.ts';

/** Why packets to an address are for this host; undefined if they are for others. */
export type WhyLocal = (address: IpAddress) => string | undefined;

/** The kernel's local routing table, as far as `rows` tell it. */
export function localAddresses(rows: AddressRows, nodeAddresses: readonly IpAddress[]): WhyLocal {
  const own = new Set(nodeAddresses);
  const routes = [...rows.routes.keys()].map(rangeOf);
  return (address) => {
    const bound = rows.addresses.get(address);
    if (bound) return `bound to ${rows.link.name}${bound.origin === '' ? '' : ` for ${bound.origin}`}`;
    if (own.has(address)) return 'an address of this node';
    const link = rows.foreignLocal?.get(address);
    if (link !== undefined) return `an address of ${link}`;
    if (specialAddress(address) === 'loopback') return 'a loopback address';
    const route = routes.find((range) => cidrContains(range, address));
    return route && `in ${formatCidr(route)}, which is local by its route through ${rows.link.name}`;
  };
}

function rangeOf(prefix: string): Cidr {
  const range = parseCidr(prefix);
  if (!range) throw new RangeError(`Cannot trace: ${prefix} is no range`);
  return range;
}
