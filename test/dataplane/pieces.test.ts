import { describe, expect, it } from 'vitest';
import { atOnce, inPieces, type Pieces } from '../../src/dataplane/dataplane.ts';
import { LOOK } from './look.ts';

function* counting(to: number): Pieces<number> {
  let count = 0;
  for (; count < to; count++) yield;
  return count;
}

describe('Pieces', () => {
  it('come to the same at once and in pieces', async () => {
    expect([atOnce(counting(1000)), await inPieces(counting(1000), LOOK)]).toEqual([1000, 1000]);
    expect([atOnce(counting(0)), await inPieces(counting(0), LOOK)]).toEqual([0, 0]);
  });

  it('rest now and then, and end where the look does', async () => {
    let pauses = 0;
    await inPieces(counting(1000), { pause: async () => void pauses++ });
    expect(pauses).toBe(15);
    const given = { pause: () => Promise.reject(new Error('given up')) };
    await expect(inPieces(counting(1000), given)).rejects.toThrow('given up');
  });
});
