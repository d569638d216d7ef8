import { parseRange } from '../dataplane/nftables/keys.ts';
import type { ElementRow, NftablesRows } from '../dataplane/nftables/rows.ts';
import { declarationOf, type SetName } from '../dataplane/nftables/sets.ts';
import { isInterval } from '../dataplane/nftables/text.ts';
import { parseCidr } from '../model/cidr.ts';

/** An element of a set, as found. */
export interface Element {
  /** Its canonical text: `10.0.0.1 . tcp . 80`, `10.96.0.0/16`. */
  readonly text: string;
  readonly row: ElementRow;
}

/** Finds the element of a set that a key is in. @throws RangeError if there is no such set */
export type FindElement = (set: SetName, key: readonly string[]) => Element | undefined;

const JOINT = ' . ';

/** A {@link FindElement} over `sets`, whose look-ups take the same time in large sets as in small ones. */
export function elementFinder(sets: NftablesRows['sets']): FindElement {
  const indexes = new Map<SetName, FindRange>();
  return (name, key) => {
    const elements = sets.get(name)?.elements;
    if (!elements) throw new RangeError(`Cannot trace: the table has no set ${name}`);
    if (elements.size === 0) return undefined;
    if (!isInterval(declarationOf(name).key)) {
      const text = key.join(JOINT);
      const row = elements.get(text);
      return row && { text, row };
    }
    const index = indexes.get(name) ?? rangeIndex(name, elements);
    indexes.set(name, index);
    return index(key);
  };
}

type FindRange = (key: readonly string[]) => Element | undefined;

/** By prefix length; within one by the exact components and the network. */
function rangeIndex(name: SetName, elements: ReadonlyMap<string, ElementRow>): FindRange {
  const byLength = new Map<number, Map<string, Element>>();
  for (const [text, row] of elements) {
    const parts = text.split(JOINT);
    const range = parseRange(parts.pop() ?? '');
    if (!range) throw new RangeError(`Cannot trace: element ${text} of set ${name} does not end in a range`);
    const ofLength = byLength.get(range.prefixLength) ?? new Map<string, Element>();
    byLength.set(range.prefixLength, ofLength.set([...parts, range.network].join(JOINT), { text, row }));
  }
  return (key) => {
    const exact = key.slice(0, -1);
    for (const [length, ofLength] of byLength) {
      const network = parseCidr(`${key.at(-1)}/${length}`)?.network ?? '';
      const found = ofLength.get([...exact, network].join(JOINT));
      if (found) return found;
    }
    return undefined;
  };
}
