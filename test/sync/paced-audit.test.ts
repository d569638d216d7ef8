import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Look } from '../../src/dataplane/dataplane.ts';
import type { Seen } from '../../src/sync/incremental.ts';
import { PacedAudit } from '../../src/sync/paced-audit.ts';

/** Longer than a look goes on without letting others come to their turn. */
const SLICE_MS = 10;
const { signal } = new AbortController();

function work(): void {
  const endMs = performance.now() + SLICE_MS;
  while (performance.now() < endMs);
}

/** An audit of four steps, which are written down; each works for two slices. */
class Bench {
  readonly steps: number[] = [];
  readonly audit = new PacedAudit();
  seen: Seen | undefined;

  async next(asked: AbortSignal, until = signal): Promise<Seen> {
    return this.audit.next((step, look) => this.#look(step, look), until, asked);
  }

  async #look(step: number, look: Look): Promise<Seen> {
    this.steps.push(step);
    for (let slice = 0; slice < 2; slice++) {
      work();
      await look.pause();
    }
    return this.seen ?? (step === 3 ? 'allAsLeft' : 'asLeft');
  }
}

describe('PacedAudit.next()', () => {
  it('takes one step after the other, and begins anew', async () => {
    const bench = new Bench();
    const seen: Seen[] = [];
    for (let i = 0; i < 5; i++) seen.push(await bench.next(signal));
    expect(bench.steps).toEqual([0, 1, 2, 3, 0]);
    expect(seen).toEqual(['asLeft', 'asLeft', 'asLeft', 'allAsLeft', 'asLeft']);
    bench.seen = 'unknown';
    expect(await bench.next(signal)).toBe('unknown');
    await bench.next(signal);
    expect(bench.steps.slice(5)).toEqual([1, 0]);
  });

  it('gives way to what is asked for while it looks, and takes the same step again', async () => {
    const bench = new Bench();
    await bench.next(signal);
    const asked = new AbortController();
    const stepping = bench.next(asked.signal);
    await setImmediate();
    asked.abort();
    expect(await stepping).toBe('asLeft');
    await bench.next(signal);
    await bench.next(signal);
    expect(bench.steps).toEqual([0, 1, 1, 2]);
  });

  it('gives way five times in a row, and no more', async () => {
    const bench = new Bench();
    for (let i = 0; i < 7; i++) await bench.next(AbortSignal.abort());
    expect(bench.steps).toEqual([0, 0, 0, 0, 0, 0, 1]);
  });

  it('says to what may be broken off anywhere that it gives way', async () => {
    const asked = new AbortController();
    const seen: boolean[] = [];
    const looking = async (_: number, look: Look): Promise<Seen> => {
      seen.push(look.givenUp.aborted);
      asked.abort();
      seen.push(look.givenUp.aborted, look.signal.aborted);
      await look.pause();
      return 'allAsLeft';
    };
    const audit = new PacedAudit();
    expect(await audit.next(looking, signal, asked.signal)).toBe('asLeft');
    expect(seen).toEqual([false, true, false]);
  });

  it('ends at once when all is to end, and tells of what has failed', async () => {
    const bench = new Bench();
    const over = AbortSignal.abort(new Error('over'));
    await expect(bench.next(signal, over)).rejects.toThrow('over');
    const failing = () => Promise.reject(new Error('broken'));
    await expect(bench.audit.next(failing, signal, AbortSignal.abort())).rejects.toThrow('broken');
  });
});
