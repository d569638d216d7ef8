import type { Brand } from './brand.ts';

/** An IPv4 or IPv6 address in canonical text (dotted decimal, or RFC 5952). Equal text means equal address. */
export type IpAddress = Brand<string, 'IpAddress'>;

export type IpFamily = 'IPv4' | 'IPv6';

/**
 * Parses an IP address the way the Kubernetes API server reads stored objects: leading zeros of an IPv4
 * number are decimal, an IPv4-mapped IPv6 address is the IPv4 address, a zone is refused.
 * @returns undefined if `text` is not an address
 */
export function parseIpAddress(text: unknown): IpAddress | undefined {
  if (typeof text !== 'string' || text.length > 45) return undefined;
  if (!text.includes(':')) {
    const octets = parseIpv4(text);
    return octets && (octets.join('.') as IpAddress);
  }
  if (!readIpv6(text, GROUPS)) return undefined;
  return (mappedIpv4(GROUPS) ?? formatIpv6(GROUPS)) as IpAddress;
}

/** The address family, told from the canonical text. */
export function familyOf(address: IpAddress): IpFamily {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

/** The address in network byte order: 4 or 16 bytes. */
export function addressBytes(address: IpAddress): Uint8Array {
  if (familyOf(address) === 'IPv4') {
    const value = ipv4Number(address);
    return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
  }
  const bytes = new Uint8Array(16);
  readIpv6(address, GROUPS);
  for (let i = 0; i < 8; i++) {
    const group = GROUPS[i] ?? 0;
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  }
  return bytes;
}

/** An IPv6 address as /proc has it: eight groups of four digits each, in lower case. */
export function fullIpv6Text(address: IpAddress): string {
  readIpv6(address, GROUPS);
  let text = '';
  for (let i = 0; i < 8; i++) text += `${i > 0 ? ':' : ''}${(GROUPS[i] ?? 0).toString(16).padStart(4, '0')}`;
  return text;
}

/** The address as IPv6, 16 bytes in network byte order; an IPv4 address is mapped to ::ffff:0:0/96. */
export function mappedBytes(address: IpAddress): Uint8Array {
  const bytes = addressBytes(address);
  if (bytes.length === 16) return bytes;
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}

/**
 * The inverse of {@link addressBytes}.
 * @param bytes network byte order
 * @throws RangeError unless there are 4 or 16 bytes
 */
export function addressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return bytes.join('.') as IpAddress;
  if (bytes.length !== 16) throw new RangeError(`Cannot read an address of ${bytes.length} bytes`);
  for (let i = 0; i < 8; i++) GROUPS[i] = ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0);
  return formatIpv6(GROUPS) as IpAddress;
}

/** Numeric order, every IPv4 address before every IPv6 address. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a === b) return 0;
  const familyA = familyOf(a);
  if (familyA !== familyOf(b)) return familyA === 'IPv4' ? -1 : 1;
  if (familyA === 'IPv4') return ipv4Number(a) - ipv4Number(b);
  readIpv6(a, GROUPS);
  readIpv6(b, OTHER_GROUPS);
  for (let i = 0; i < 8; i++) {
    const difference = (GROUPS[i] ?? 0) - (OTHER_GROUPS[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** An IPv4 address as a number, 0 to 2^32 - 1; it allocates nothing, for it is asked of every endpoint in every sync. */
export function ipv4Number(address: IpAddress): number {
  let value = 0;
  let octet = 0;
  for (let i = 0; i < address.length; i++) {
    const code = address.charCodeAt(i);
    if (code === DOT) {
      value = value * 256 + octet;
      octet = 0;
    } else octet = octet * 10 + code - ZERO;
  }
  return value * 256 + octet;
}

const DOT = 46;
const ZERO = 48;
const COLON = 58;
const LOWER_A = 97;

// What is being read or compared: never in use beyond one call of this module.
const GROUPS = new Uint16Array(8);
const OTHER_GROUPS = new Uint16Array(8);

function parseIpv4(text: string): number[] | undefined {
  const octets: number[] = [];
  let octet = -1;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (octet < 0) return undefined;
      octets.push(octet);
      octet = -1;
    } else if (code >= ZERO && code <= ZERO + 9) {
      octet = Math.max(octet, 0) * 10 + code - ZERO;
      if (octet > 255) return undefined;
    } else return undefined;
  }
  if (octet < 0) return undefined;
  octets.push(octet);
  return octets.length === 4 ? octets : undefined;
}

/**
 * Allocates nothing, for addresses are compared in every sort.
 * @param groups eight; arbitrary where `text` is no IPv6 address
 */
function readIpv6(text: string, groups: Uint16Array): boolean {
  const { length } = text;
  let at = 0;
  let count = 0;
  let gap = -1;
  if (text.startsWith('::')) {
    gap = 0;
    at = 2;
  }
  while (at < length) {
    const start = at;
    let group = 0;
    for (let digit = 0; at < length; at++) {
      digit = hexDigit(text.charCodeAt(at));
      if (digit < 0) break;
      group = group * 16 + digit;
    }
    if (text.charCodeAt(at) === DOT) {
      const octets = count <= 6 ? parseIpv4(text.slice(start)) : undefined;
      if (!octets) return false;
      const [a = 0, b = 0, c = 0, d = 0] = octets;
      groups[count++] = (a << 8) | b;
      groups[count++] = (c << 8) | d;
      break;
    }
    if (at === start || at > start + 4 || count === 8) return false;
    groups[count++] = group;
    if (at === length) break;
    if (text.charCodeAt(at++) !== COLON || at === length) return false;
    if (text.charCodeAt(at) !== COLON) continue;
    if (gap >= 0) return false;
    gap = count;
    at++;
  }
  if (gap < 0) return count === 8;
  if (count === 8) return false;
  const tail = 8 - (count - gap);
  groups.copyWithin(tail, gap, count);
  groups.fill(0, gap, tail);
  return true;
}

/** -1 for what is none. */
function hexDigit(code: number): number {
  if (code >= ZERO && code <= ZERO + 9) return code - ZERO;
  const letter = code | 0x20;
  return letter >= LOWER_A && letter <= LOWER_A + 5 ? letter - LOWER_A + 10 : -1;
}

function mappedIpv4(groups: Uint16Array): string | undefined {
  if (groups[5] !== 0xffff || groups.slice(0, 5).some((group) => group !== 0)) return undefined;
  const [high = 0, low = 0] = groups.slice(6);
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of at least two zero groups as `::`. */
function formatIpv6(groups: Uint16Array): string {
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    if (end > i) i = end;
  }
  const hex = Array.from(groups, (group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}
