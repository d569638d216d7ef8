import { familyOf, type IpFamily, parseIpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { parseCidr } from '../../model/cidr.ts';
import { protocolText, rangeText, SEPARATOR } from './keys.ts';
import type { ElementRow } from './rows.ts';
import { declarationOf, isSetName, type KeyPart } from './sets.ts';

export interface ListedElements {
  readonly elements: ReadonlyMap<string, ElementRow>;
  /** The first one that can't be an element of ours, in short. */
  readonly unreadable: string | undefined;
}

/**
 * The elements of a set as libnftables lists them; of a set that is none of ours, none.
 * @param listed numbers or names for protocols, as it was asked
 */
export function observedElements(set: string, listed: unknown): ListedElements {
  const elements = new Map<string, ElementRow>();
  if (!isSetName(set)) return { elements, unreadable: undefined };
  const { key: parts, value, family } = declarationOf(set);
  let unreadable: string | undefined;
  for (const entry of Array.isArray(listed) ? listed : [listed]) {
    const [key, mark] = value === null ? [entry, null] : pairOf(entry);
    const text = keyText(parts, family, key);
    if (text !== undefined && (value === null || typeof mark === 'number')) {
      elements.set(text, { mark: typeof mark === 'number' ? mark : null, reason: '' });
    } else unreadable ??= JSON.stringify(entry).slice(0, 100);
  }
  return { elements, unreadable };
}

function pairOf(entry: unknown): readonly [unknown, unknown] {
  return Array.isArray(entry) && entry.length === 2 ? [entry[0], entry[1]] : [undefined, undefined];
}

function keyText(parts: readonly KeyPart[], family: IpFamily, key: unknown): string | undefined {
  const components = isObject(key) && Array.isArray(key.concat) ? key.concat : [key];
  if (components.length !== parts.length) return undefined;
  const texts: string[] = [];
  for (const [i, part] of parts.entries()) {
    const text = componentText(part, family, components[i]);
    if (text === undefined) return undefined;
    texts.push(text);
  }
  return texts.join(SEPARATOR);
}

function componentText(part: KeyPart, family: IpFamily, component: unknown): string | undefined {
  switch (part) {
    case 'protocol':
      return protocolText(String(component));
    case 'port':
      return isPort(component) ? String(component) : undefined;
    case 'address':
      return addressText(family, component);
    case 'range':
      return isObject(component) ? prefixText(family, component.prefix) : addressText(family, component);
    default:
      return unreachable(part);
  }
}

function isPort(component: unknown): boolean {
  return Number.isInteger(component) && Number(component) >= 0 && Number(component) < 2 ** 16;
}

function addressText(family: IpFamily, component: unknown): string | undefined {
  const address = parseIpAddress(component);
  return address !== undefined && familyOf(address) === family ? address : undefined;
}

function prefixText(family: IpFamily, prefix: unknown): string | undefined {
  const range = isObject(prefix) ? parseCidr(`${prefix.addr}/${prefix.len}`) : undefined;
  return range?.family === family ? rangeText(range) : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
