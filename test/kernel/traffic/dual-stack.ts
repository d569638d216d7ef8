import { type IpAddress, type IpFamily, parseIpAddress } from '../../../src/model/address.ts';

export const FAMILIES = ['IPv4', 'IPv6'] as const;

/** One of each family. */
export type DualStack<T> = Readonly<Record<IpFamily, T>>;

/** The address that `text` is. @throws TypeError if it is none */
export function ipAddress(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (!address) throw new TypeError(`${text} is no IP address`);
  return address;
}

/** @throws TypeError unless both are addresses */
export function addressPair(ipv4: string, ipv6: string): DualStack<IpAddress> {
  return { IPv4: ipAddress(ipv4), IPv6: ipAddress(ipv6) };
}
