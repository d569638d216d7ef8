import { hashOf } from '../../model/hash.ts';
import { compareText } from '../../model/rejected.ts';
import { MAGLEV_SIZE } from './layout.ts';

/** One that takes a share of the table. */
export interface MaglevMember {
  /** What its places follow from, the same for the same endpoint: `10.244.1.20:8080`. */
  readonly name: string;
  /** What the table has in its places, not 0. */
  readonly id: number;
  /** Turns it takes in each round, at least 1. */
  readonly weight: number;
}

/**
 * A lookup table in which every member has a share by its weight, and keeps most of its places when others come and
 * go. Its order does not matter.
 * @returns the id of a member in every place; all 0 without members
 * @see Eisenbud et al., Maglev: A Fast and Reliable Software Network Load Balancer, section 3.4
 */
export function maglevTable(members: readonly MaglevMember[], size: number = MAGLEV_SIZE): Uint32Array {
  const table = new Uint32Array(size);
  const walks = members
    .toSorted((a, b) => compareText(a.name, b.name))
    .map(({ name, id, weight }) => ({
      id,
      weight,
      next: hashOf(name, OFFSET_SEED) % size,
      skip: (hashOf(name, SKIP_SEED) % (size - 1)) + 1,
    }));
  let free = walks.length > 0 ? size : 0;
  while (free > 0) {
    for (const walk of walks) {
      for (let turn = 0; turn < walk.weight && free > 0; turn++) {
        while (table[walk.next] !== 0) {
          walk.next += walk.skip;
          // A division takes longer than all the rest.
          if (walk.next >= size) walk.next -= size;
        }
        table[walk.next] = walk.id;
        free -= 1;
      }
    }
  }
  return table;
}

/** Two hashes that have nothing to do with each other: any two numbers do. */
const OFFSET_SEED = 0x811c_9dc5;
const SKIP_SEED = 0x9747_b28c;
