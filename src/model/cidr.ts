import {
  addressBytes,
  addressFromBytes,
  familyOf,
  type IpAddress,
  type IpFamily,
  ipv4Number,
  mappedBytes,
  parseIpAddress,
} from './address.ts';

/** An address range with its host bits cleared. */
export interface Cidr {
  readonly family: IpFamily;
  readonly network: IpAddress;
  /** 0–32 or 0–128 */
  readonly prefixLength: number;
}

/**
 * Parses `ADDRESS/PREFIX`, clearing host bits as Kubernetes does. A prefix of an IPv4-mapped address counts from the
 * start of the IPv6 address, as in Go: `::ffff:10.0.0.0/104` is 10.0.0.0/8, and `::ffff:10.0.0.0/8` is ::/8.
 * @returns undefined if it is none
 */
export function parseCidr(text: unknown): Cidr | undefined {
  if (typeof text !== 'string') return undefined;
  const [, addressText = '', prefixText] = /^([^/]+)\/(\d{1,3})$/.exec(text.trim()) ?? [];
  const address = parseIpAddress(addressText);
  if (!address) return undefined;
  const prefixLength = Number(prefixText);
  const isMapped = addressText.includes(':') && familyOf(address) === 'IPv4';
  if (isMapped && prefixLength >= MAPPED_PREFIX)
    return rangeOf(addressBytes(address), prefixLength - MAPPED_PREFIX);
  return rangeOf(isMapped ? mappedBytes(address) : addressBytes(address), prefixLength);
}

/** Length of ::ffff:0:0/96, the IPv4-mapped addresses. */
const MAPPED_PREFIX = 96;

function rangeOf(bytes: Uint8Array, prefixLength: number): Cidr | undefined {
  if (prefixLength > 8 * bytes.length) return undefined;
  const family = bytes.length === 4 ? 'IPv4' : 'IPv6';
  return { family, network: addressFromBytes(masked(bytes, prefixLength)), prefixLength };
}

/** Canonical `network/prefix` text. */
export function formatCidr(cidr: Cidr): string {
  return `${cidr.network}/${cidr.prefixLength}`;
}

/** The prefix length of a single address. */
export function hostPrefixLength(address: IpAddress): 32 | 128 {
  return familyOf(address) === 'IPv4' ? 32 : 128;
}

/** The range of one address alone. */
export function hostRange(address: IpAddress): Cidr {
  return { family: familyOf(address), network: address, prefixLength: hostPrefixLength(address) };
}

/** Whether `address` lies in `cidr`; false for the other family. */
export function cidrContains(cidr: Cidr, address: IpAddress): boolean {
  if (familyOf(address) !== cidr.family) return false;
  if (cidr.family === 'IPv4') {
    const size = 2 ** (32 - cidr.prefixLength);
    const offset = ipv4Number(address) - ipv4Number(cidr.network);
    return offset >= 0 && offset < size;
  }
  return addressFromBytes(masked(addressBytes(address), cidr.prefixLength)) === cidr.network;
}

function masked(bytes: Uint8Array, prefixLength: number): Uint8Array {
  return bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, prefixLength - 8 * i))));
}

const LOOPBACK = rangesOf('127.0.0.0/8', '::1/128');
const LINK_LOCAL = rangesOf('169.254.0.0/16', 'fe80::/10');
const MULTICAST = rangesOf('224.0.0.0/4', 'ff00::/8');
const UNSPECIFIED = rangesOf('0.0.0.0/32', '::/128');

/** What makes an address unfit to be served to others, or undefined if nothing does. */
export type SpecialAddress = 'loopback' | 'link-local' | 'multicast' | 'unspecified';

/** Classifies the addresses that no externalIP or NodePort may use. */
export function specialAddress(address: IpAddress): SpecialAddress | undefined {
  const within = (ranges: readonly Cidr[]) => ranges.some((range) => cidrContains(range, address));
  if (within(LOOPBACK)) return 'loopback';
  if (within(LINK_LOCAL)) return 'link-local';
  if (within(MULTICAST)) return 'multicast';
  if (within(UNSPECIFIED)) return 'unspecified';
  return undefined;
}

function rangesOf(...texts: readonly string[]): readonly Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? []);
}
