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
  const groups = parseIpv6(text);
  if (!groups) return undefined;
  return (mappedIpv4(groups) ?? formatIpv6(groups)) as IpAddress;
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
  const groups = parseIpv6(address) ?? [];
  groups.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
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
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  return formatIpv6(groups) as IpAddress;
}

/** Numeric order, every IPv4 address before every IPv6 address. */
export function compareAddresses(a: IpAddress, b: IpAddress): number {
  if (a === b) return 0;
  const familyA = familyOf(a);
  if (familyA !== familyOf(b)) return familyA === 'IPv4' ? -1 : 1;
  if (familyA === 'IPv4') return ipv4Number(a) - ipv4Number(b);
  const bytesA = addressBytes(a);
  const bytesB = addressBytes(b);
  for (let i = 0; i < 16; i++) {
    const difference = (bytesA[i] ?? 0) - (bytesB[i] ?? 0);
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

function parseIpv6(text: string): number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  if (!head) return undefined;
  if (halves.length === 1) return head.length === 8 ? head : undefined;
  const tail = parseGroups(halves[1] ?? '', true);
  if (!tail || head.length + tail.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const octets = mayEndInIpv4 && i === parts.length - 1 ? parseIpv4(part) : undefined;
    if (!octets) return undefined;
    const [a = 0, b = 0, c = 0, d = 0] = octets;
    groups.push((a << 8) | b, (c << 8) | d);
  }
  return groups;
}

function mappedIpv4(groups: readonly number[]): string | undefined {
  if (groups[5] !== 0xffff || groups.slice(0, 5).some((group) => group !== 0)) return undefined;
  const [high = 0, low = 0] = groups.slice(6);
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of at least two zero groups as `::`. */
function formatIpv6(groups: readonly number[]): string {
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
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':');
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}`;
}
