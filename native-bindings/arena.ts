import { mapMemory } from './libc.ts';

/**
 * The only memory whose addresses stand in structs that C reads. A typed array may be moved or freed as soon as no
 * JavaScript refers to it, and an address does not count as a reference; this memory stays where it is.
 */

const ARENA_BYTES = 8 * 1024 * 1024;
const ALIGNMENT = 8;

const memory = mapMemory(ARENA_BYTES);

/** A piece of the arena: valid until the next `openScratch`. */
export interface Region {
  /** Where the kernel finds it. */
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

/** Hands out pieces of the arena, aligned to 8 bytes, one after the other. */
export class Scratch {
  #used = 0;

  /** A piece whose bytes are whatever was there before. @throws RangeError if the arena is used up */
  take(length: number): Region {
    const start = this.#used;
    if (start + length > ARENA_BYTES) {
      throw new RangeError(`Cannot take ${length} bytes: the arena has ${ARENA_BYTES - start} left`);
    }
    this.#used = (start + length + ALIGNMENT - 1) & -ALIGNMENT;
    return {
      address: memory.address + BigInt(start),
      bytes: memory.bytes.subarray(start, start + length),
    };
  }

  /** A copy of these bytes. @throws RangeError if the arena is used up */
  put(bytes: Uint8Array): Region {
    const region = this.take(bytes.length);
    region.bytes.set(bytes);
    return region;
  }

  /** A copy of this text, UTF-8 with a zero byte behind it. */
  putText(text: string): Region {
    return this.put(Buffer.from(`${text}\0`));
  }
}

/**
 * The arena from its beginning: everything that was handed out before is lost. Calls of C are synchronous, so nobody
 * can be in the middle of one.
 */
export function openScratch(): Scratch {
  return new Scratch();
}
