import { FNV_OFFSET, FNV_PRIME, mixed } from '../../model/hash.ts';

/** Characters before the endpoint in a line, which is `  -> 0A01FA0A:192B      Masq    1      0          0`. */
const INDENT = 5;
/** Endpoint, forwarding, weight; what follows counts connections. */
const WORDS = 3;
const SPACE = 32;

/**
 * 64 bits and a number that two lists of real servers in `/proc/net/ip_vs` share if they name the same, in whatever
 * order: the kernel lists the newest first. It is made of characters where they are, for fifty thousand lines cut into
 * strings cost a daemon half a second of garbage collection.
 */
export class LinesDigest {
  #count = 0;
  #low = 0;
  #high = 0;

  /** @param start where a line begins in `text` */
  add(text: string, start: number): void {
    let low = FNV_OFFSET;
    let high = ~FNV_OFFSET;
    let words = 0;
    let previous = SPACE;
    for (let i = start + INDENT; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code === SPACE) {
        if (previous !== SPACE && ++words === WORDS) break;
      } else {
        // The first character of a word is told from one within a word.
        const mark = previous === SPACE ? code + SPACE * 8 : code;
        low = Math.imul(low ^ mark, FNV_PRIME);
        high = Math.imul(high ^ mark, OTHER_PRIME);
      }
      previous = code;
    }
    this.#count += 1;
    // Mixed, for sums of similar values must not cancel out.
    this.#low = (this.#low + mixed(low)) | 0;
    this.#high = (this.#high + mixed(high)) | 0;
  }

  equals(other: LinesDigest): boolean {
    return this.#count === other.#count && this.#low === other.#low && this.#high === other.#high;
  }
}

/** Of xxHash, whose bits are spread otherwise. */
const OTHER_PRIME = 0x9e3779b1 | 0;
