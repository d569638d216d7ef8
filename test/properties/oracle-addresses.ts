import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net';

/** Addresses as node:net sees them, so that the oracle shares nothing with the product's own parser. */

/** The addressType of an EndpointSlice that may hold this address, or undefined if it is none. */
export function familyOfText(text: string): 'IPv4' | 'IPv6' | undefined {
  if (isIPv4(text)) return 'IPv4';
  return isIPv6(text) ? 'IPv6' : undefined;
}

/** One text per address: `FD00:0::1` → `fd00::1`. */
export function canonicalAddress(text: string): string {
  return isIPv6(text) ? new SocketAddress({ address: text, family: 'ipv6' }).address : text;
}

/** Whether one of the ranges holds the address. */
export function isInside(address: string, ranges: readonly string[]): boolean {
  return ranges.some((range) => {
    const slash = range.indexOf('/');
    const network = range.slice(0, slash);
    const family = isIPv4(network) ? 'ipv4' : 'ipv6';
    if (isIPv4(address) !== isIPv4(network)) return false;
    const list = new BlockList();
    list.addSubnet(network, Number(range.slice(slash + 1)), family);
    return list.check(address, family);
  });
}

export const LOOPBACK = ['127.0.0.0/8', '::1/128'];
export const LINK_LOCAL = ['169.254.0.0/16', 'fe80::/10'];
export const MULTICAST = ['224.0.0.0/4', 'ff00::/8'];
export const UNSPECIFIED = ['0.0.0.0/32', '::/128'];
