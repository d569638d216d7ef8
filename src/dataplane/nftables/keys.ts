import { familyOf, type IpFamily, parseIpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { type Cidr, formatCidr, hostPrefixLength, hostRange, parseCidr } from '../../model/cidr.ts';
import { declarationOf, type KeyPart, type SetName } from './sets.ts';

/** What stands between the components of a key. */
export const SEPARATOR = ' . ';

/** Whether `key` is the canonical text of a key that the set can have. */
export function isKeyOf(set: SetName, key: string): boolean {
  const { key: parts, family } = declarationOf(set);
  const texts = key.split(SEPARATOR);
  return texts.length === parts.length && parts.every((part, i) => isComponent(part, family, texts[i] ?? ''));
}

function isComponent(part: KeyPart, family: IpFamily, text: string): boolean {
  switch (part) {
    case 'address': {
      const address = parseIpAddress(text);
      return address === text && familyOf(address) === family;
    }
    case 'range': {
      const range = parseRange(text);
      return range !== undefined && range.family === family && rangeText(range) === text;
    }
    case 'protocol':
      return protocolText(text) === text;
    case 'port':
      return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) < 2 ** 16;
    default:
      return unreachable(part);
  }
}

/** `10.0.0.0/8`, or an address alone. @returns undefined if it is none */
export function parseRange(text: string): Cidr | undefined {
  if (text.includes('/')) return parseCidr(text);
  const address = parseIpAddress(text);
  return address && hostRange(address);
}

/** As the kernel lists it: without a length where it is one address. */
export function rangeText(range: Cidr): string {
  return range.prefixLength === hostPrefixLength(range.network) ? range.network : formatCidr(range);
}

// include/uapi/linux/in.h IPPROTO_*
const PROTOCOLS: ReadonlyMap<string, string> = new Map([
  ['tcp', 'tcp'],
  ['udp', 'udp'],
  ['sctp', 'sctp'],
  ['6', 'tcp'],
  ['17', 'udp'],
  ['132', 'sctp'],
]);

/** `tcp` for `tcp` and `6`; a protocol that no Service has is its number. @returns undefined if it is none */
export function protocolText(text: string): string | undefined {
  const isNumber = /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) < 2 ** 8;
  return PROTOCOLS.get(text) ?? (isNumber ? text : undefined);
}

/** The components of an interval set's key: all before its range, the separator with them, and the range. */
export function splitRange(key: string): readonly [fixed: string, range: string] {
  const end = key.lastIndexOf(SEPARATOR);
  const start = end < 0 ? 0 : end + SEPARATOR.length;
  return [key.slice(0, start), key.slice(start)];
}

/**
 * Those of `leaving` that overlap one of `adding`: the kernel refuses elements that do, while both are there.
 * @param leaving keys of one interval set, none of them in `adding`
 */
export function overlapping(leaving: readonly string[], adding: readonly string[]): ReadonlySet<string> {
  if (leaving.length === 0 || adding.length === 0) return new Set();
  const [leavingRanges, addingRanges] = [rangesOf(leaving), rangesOf(adding)];
  const lengthsOf = (ranges: Ranges) => [
    ...new Set([...ranges.values()].map(([, { prefixLength }]) => prefixLength)),
  ];
  // Ranges are nested or apart, so that two overlap if one of them, widened to the other's length, is the other.
  const inside = widened(leavingRanges, lengthsOf(addingRanges)).filter(([, wide]) => addingRanges.has(wide));
  const around = widened(addingRanges, lengthsOf(leavingRanges)).filter(([, wide]) =>
    leavingRanges.has(wide),
  );
  return new Set([...inside.map(([key]) => key), ...around.map(([, wide]) => wide)]);
}

type Ranges = ReadonlyMap<string, readonly [fixed: string, range: Cidr]>;

function rangesOf(keys: readonly string[]): Ranges {
  const ranges = new Map<string, readonly [string, Cidr]>();
  for (const key of keys) {
    const [fixed, text] = splitRange(key);
    const range = parseRange(text);
    if (range) ranges.set(key, [fixed, range]);
  }
  return ranges;
}

/** Each key, with the key it would be at each of the shorter lengths. */
function widened(
  ranges: Ranges,
  lengths: readonly number[],
): readonly (readonly [key: string, wide: string])[] {
  return [...ranges].flatMap(([key, [fixed, range]]) =>
    lengths
      .filter((length) => length <= range.prefixLength)
      .map((length) => {
        const wide = parseCidr(`${range.network}/${length}`);
        return [key, wide ? `${fixed}${rangeText(wide)}` : key] as const;
      }),
  );
}
