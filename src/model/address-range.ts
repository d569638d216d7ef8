import {
  addressBytes,
  addressFromBytes,
  compareAddresses,
  familyOf,
  type IpAddress,
  type IpFamily,
  parseIpAddress,
} from './address.ts';
import { parseCidr } from './cidr.ts';

/** Addresses of one family without a gap. */
export interface AddressRange {
  /** As it is shown: `10.10.0.0/26`, `10.10.0.5-10.10.0.9`, `10.10.0.5`. */
  readonly text: string;
  readonly family: IpFamily;
  readonly first: IpAddress;
  /** Belongs to the range. */
  readonly last: IpAddress;
  /** Of a CIDR, 0–32 or 0–128; null of a range that is given by its ends. */
  readonly prefixLength: number | null;
}

/**
 * Parses a CIDR, `FIRST-LAST` or a single address.
 * @returns undefined if it is none, or a CIDR with host bits, of which nobody knows what was meant
 */
export function parseAddressRange(text: unknown): AddressRange | undefined {
  if (typeof text !== 'string') return undefined;
  if (text.includes('/')) return rangeOfCidr(text);
  const [firstText, lastText = firstText, ...more] = text.split('-');
  const [first, last] = [parseIpAddress(firstText?.trim()), parseIpAddress(lastText?.trim())];
  if (!first || !last || more.length > 0) return undefined;
  const family = familyOf(first);
  if (family !== familyOf(last) || compareAddresses(first, last) > 0) return undefined;
  return { text: first === last ? first : `${first}-${last}`, family, first, last, prefixLength: null };
}

function rangeOfCidr(text: string): AddressRange | undefined {
  const cidr = parseCidr(text);
  if (!cidr || cidr.network !== parseIpAddress(text.trim().split('/')[0])) return undefined;
  const { family, network, prefixLength } = cidr;
  const bits = BigInt((family === 'IPv4' ? 32 : 128) - prefixLength);
  const last = addressOfNumber(family, addressNumber(network) + (1n << bits) - 1n);
  return { text: `${network}/${prefixLength}`, family, first: network, last, prefixLength };
}

/** Whether an address lies in a range; false for the other family. */
export function rangeContains({ family, first, last }: AddressRange, address: IpAddress): boolean {
  if (familyOf(address) !== family) return false;
  return compareAddresses(first, address) <= 0 && compareAddresses(address, last) <= 0;
}

/** Whether two ranges have an address in common. */
export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  if (a.family !== b.family) return false;
  return compareAddresses(a.first, b.last) <= 0 && compareAddresses(b.first, a.last) <= 0;
}

/** The address as a number, of 32 or 128 bits. */
export function addressNumber(address: IpAddress): bigint {
  return addressBytes(address).reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

/** The inverse of {@link addressNumber}. @param value 0 up to all ones of the family */
export function addressOfNumber(family: IpFamily, value: bigint): IpAddress {
  const length = family === 'IPv4' ? 4 : 16;
  const bytes = Uint8Array.from({ length }, (_, i) =>
    Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn),
  );
  return addressFromBytes(bytes);
}
