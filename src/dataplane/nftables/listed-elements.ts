import { parseIpAddress } from '../../model/address.ts';
import { parseCidr } from '../../model/cidr.ts';
import { isKeyOf, protocolText, rangeText, SEPARATOR } from './keys.ts';
import type { ElementRow } from './rows.ts';
import { declarationOf, isSetName, type KeyPart, type SetName } from './sets.ts';

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
  const { key: parts, value } = declarationOf(set);
  let unreadable: string | undefined;
  for (const entry of Array.isArray(listed) ? listed : [listed]) {
    const [key, mark] = value === null ? [entry, null] : pairOf(entry);
    const text = keyText(set, parts, key);
    if (text !== undefined && (value === null || typeof mark === 'number')) {
      elements.set(text, { mark: typeof mark === 'number' ? mark : null, reason: '' });
    } else unreadable ??= JSON.stringify(entry).slice(0, 100);
  }
  return { elements, unreadable };
}

function pairOf(entry: unknown): readonly [unknown, unknown] {
  return Array.isArray(entry) && entry.length === 2 ? [entry[0], entry[1]] : [undefined, undefined];
}

function keyText(set: SetName, parts: readonly KeyPart[], key: unknown): string | undefined {
  const components = isObject(key) && Array.isArray(key.concat) ? key.concat : [key];
  if (components.length !== parts.length) return undefined;
  const text = components.map((component, i) => componentText(parts[i], component)).join(SEPARATOR);
  return isKeyOf(set, text) ? text : undefined;
}

/** "" if it is none. */
function componentText(part: KeyPart | undefined, component: unknown): string {
  switch (part) {
    case 'protocol':
      return protocolText(String(component)) ?? '';
    case 'port':
      return String(component);
    default:
      return isObject(component) ? prefixText(component) : (parseIpAddress(component) ?? '');
  }
}

function prefixText({ prefix }: Readonly<Record<string, unknown>>): string {
  if (!isObject(prefix)) return '';
  const range = parseCidr(`${prefix.addr}/${prefix.len}`);
  return range ? rangeText(range) : '';
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
