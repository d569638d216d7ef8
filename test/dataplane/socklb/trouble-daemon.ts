/**
 * The daemon's dataplane code alone, as a process that may be killed at any time: it changes the endpoints of one
 * frontend without pause, and tells of each change.
 * usage: trouble-daemon.ts JSON of a Trouble
 */
import { setImmediate } from 'node:timers/promises';
import type { SocklbBuild } from '../../../native-bindings/bpf-object.ts';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import type { SocketPlace } from '../../../src/dataplane/socklb/program.ts';
import { NEVER, OPTIONS, wantedOf } from './build.ts';
import { openKernel, syncOnce } from './ground.ts';

/** What it is to do. */
export interface Trouble {
  readonly place: SocketPlace;
  /** Another build is another version of the programs, which it puts in the place of those that are there. */
  readonly build: SocklbBuild;
  /** The frontend, with one set of endpoints after the other. */
  readonly lines: readonly string[];
  /** Looks at all maps once in so many changes, and puts programs in place of its own once in as many. */
  readonly replacesEvery: number;
}

/** What it has done when it tells of it. */
export interface Told {
  readonly changes: number;
  readonly replaced: number;
  /** Time of the last change, look, plan and apply, in ms. */
  readonly changeMs: number;
}

async function makeTrouble({ place, build, lines, replacesEvery }: Trouble): Promise<never> {
  using kernel = openKernel(place, build);
  const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
  const sets = lines.map((line) => wantedOf([line]));
  const setAt = (number: number) => sets[number % sets.length] ?? wantedOf([]);
  const first = await syncOnce(dataplane, setAt(0));
  let replaced = first.includes('addSocketPrograms') ? 1 : 0;
  for (let changes = 1; ; changes++) {
    const start = performance.now();
    const [before, wanted] = [setAt(changes - 1), setAt(changes)];
    const change = { before, wanted, isDrainCheck: true };
    const isWhole = changes % replacesEvery === 0;
    const seen = isWhole ? null : await dataplane.scoped?.observe(change, NEVER);
    const plan = dataplane.plan(seen ?? (await dataplane.observe(NEVER)), wanted);
    for (const ops of [plan.make, plan.break]) {
      const { refused } = await dataplane.apply(ops, NEVER);
      if (refused.length > 0) throw new Error(refused.map(({ message }) => message).join('; '));
    }
    const changeMs = performance.now() - start;
    if (isWhole) {
      await kernel.attach(NEVER);
      replaced += 1;
    }
    process.send?.({ changes, replaced, changeMs } satisfies Told);
    await setImmediate();
  }
}

await makeTrouble(JSON.parse(process.argv[2] ?? ''));
