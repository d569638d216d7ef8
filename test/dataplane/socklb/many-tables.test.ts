import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import type { SocklbRows } from '../../../src/dataplane/socklb/rows.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { NEVER, OPTIONS, SocklbWorld, wantedOf } from './build.ts';
import { measureTurns } from './event-loop.ts';
import { openKernel, SocketGround, syncOnce } from './ground.ts';

/** So many Services, each with a Maglev table. */
function tablesOf(count: number): SocklbRows {
  return wantedOf(
    Array.from(
      { length: count },
      (_, i) => `TCP 10.96.${i >> 8}.${i & 255}:80 maglev 10.0.0.1:80 10.0.0.2:80`,
    ),
  );
}

/** One by one, each waits ten milliseconds or so for the kernel. */
const MANY = 256;

describe('many Maglev tables', needsBpf(), () => {
  let ground: SocketGround;

  beforeAll(() => {
    ground = SocketGround.make();
  });

  afterAll(() => {
    ground?.[Symbol.dispose]();
  });

  it('are made, filled again and given up while others have their turn', { timeout: 120_000 }, async () => {
    using kernel = openKernel(ground.place('tables'));
    let nowMs = 0;
    const dataplane = createSocklbDataplane({ kernel, nowMs: () => nowMs }, OPTIONS);
    await syncOnce(dataplane, wantedOf([]));
    const made = await measureTurns(() => syncOnce(dataplane, tablesOf(MANY)));
    expect(await kernel.tables(NEVER)).toHaveLength(MANY);
    // Without turns it is all of it; a busy machine stops everybody for a while.
    expect(made.longestMs).toBeLessThan(made.totalMs * 0.8);
    await syncOnce(dataplane, wantedOf([]));
    nowMs = 50;
    const cleared = await measureTurns(() => syncOnce(dataplane, wantedOf([])));
    expect(await kernel.tables(NEVER)).toEqual([]);
    // Less than each alone would take.
    expect(cleared.totalMs).toBeLessThan(made.totalMs);
    console.log(`${MANY} tables: ${JSON.stringify({ made, cleared })}`);
    await kernel.remove(NEVER);
  });
});

describe('applySocklb()', () => {
  it('lets others have their turn between tables, and stops there after an abort', async () => {
    const world = new SocklbWorld();
    const { make } = world.dataplane.plan(await world.observe(), tablesOf(MANY));
    const ended = new AbortController();
    setImmediate(() => ended.abort());
    const { acknowledged, refused, notAttempted } = await world.dataplane.apply(make, ended.signal);
    expect([refused, acknowledged.length + notAttempted.length]).toEqual([[], make.length]);
    expect(notAttempted.length).toBeGreaterThan(0);
    expect((await world.observe()).services.size).toBe(acknowledged.length);
  });
});
