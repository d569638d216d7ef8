import { FIREWALL_MARK_BITS } from '../model/firewall-mark.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';

/** How many marks there are. */
export const MARKS = 2 ** FIREWALL_MARK_BITS;

/**
 * A mark for each frontend whose inside clients have endpoints of their own. It follows from the frontend's key, not
 * from its place among others, so that a new Service changes no mark in use; only where two keys fall on one mark
 * the later one moves on.
 * @param virtualServers in canonical order
 * @param base the bits above the lower {@link FIREWALL_MARK_BITS}
 * @throws RangeError if there are more frontends than marks
 */
export function assignMarks(
  virtualServers: Iterable<VirtualServer>,
  base: number,
): ReadonlyMap<VirtualServerKey, number> {
  const marks = new Map<VirtualServerKey, number>();
  const taken = new Set<number>();
  for (const { key, insideRealServers } of virtualServers) {
    if (insideRealServers === null) continue;
    if (taken.size === MARKS)
      throw new RangeError(`Cannot mark ${key}: all ${MARKS} firewall marks are taken`);
    let mark = preferredMark(key);
    while (taken.has(mark)) mark = (mark + 1) % MARKS;
    taken.add(mark);
    marks.set(key, base + mark);
  }
  return marks;
}

/** The lower bits of the mark that a frontend gets unless others fall on it. */
export function preferredMark(key: VirtualServerKey): number {
  return fnv1a(key) % MARKS;
}

/** 32-bit FNV-1a over the code units of `text`. @see RFC 9923 */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
