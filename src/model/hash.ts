/** @see https://datatracker.ietf.org/doc/html/rfc9923 */
export const FNV_OFFSET = 0x811c9dc5;
export const FNV_PRIME = 0x01000193;

/**
 * A hash of 32 bits: FNV-1a, its bits mixed once more, for short names differ in their last letters alone.
 * @param seed hashes of two seeds have nothing to do with each other
 */
export function hashOf(text: string, seed: number = FNV_OFFSET): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return mixed(hash);
}

/** As MurmurHash3 ends: each of the 32 bits depends on all bits of `value`. */
export function mixed(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
