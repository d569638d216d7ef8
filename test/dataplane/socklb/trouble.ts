import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import type { SocketPlace } from '../../../src/dataplane/socklb/program.ts';
import { serviceText } from '../../../src/dataplane/socklb/rows.ts';
import { NEVER, OPTIONS, wantedOf } from './build.ts';
import { openKernel, syncOnce } from './ground.ts';
import type { TrafficClient } from './traffic.ts';
import type { Told, Trouble } from './trouble-daemon.ts';

/** How much trouble there is to be. */
export interface TroubleSize {
  /** Changes of the set of endpoints, at least. */
  readonly changes: number;
  /** How often the daemon is killed, and started again. */
  readonly kills: number;
  readonly replacesEvery: number;
}

/** What came of it. */
export interface TroubleReport {
  readonly changes: number;
  readonly kills: number;
  /** How often all programs were replaced. */
  readonly replaced: number;
  readonly connects: number;
  readonly failed: Readonly<Record<string, number>>;
  /** Median of a change, look, plan and apply, while the client hammers, in ms. */
  readonly changeMs: number;
  /** What is left over in the end, and what can't be used. */
  readonly leftOver: readonly string[];
}

const DAEMON = join(import.meta.dirname, 'trouble-daemon.ts');

/**
 * One client connects without pause, while the daemon changes its endpoints, is killed at any moment, comes back as
 * another version, and replaces its programs.
 * @param endpoints at least 3 which somebody listens at
 * @param namespace of the client
 */
export async function makeTrouble(
  client: TrafficClient,
  place: SocketPlace,
  namespace: string,
  { frontend, endpoints }: { readonly frontend: string; readonly endpoints: readonly string[] },
  { changes, kills, replacesEvery }: TroubleSize,
): Promise<TroubleReport> {
  const [a = '', b = '', c = ''] = endpoints;
  const sets = [[a, b, c], [b], [a, c], [c], [a, b]];
  const lines = sets.map((set) => `TCP ${frontend} random ${set.join(' ')}`);
  using kernel = openKernel(place);
  const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
  await syncOnce(dataplane, wantedOf(lines.slice(0, 1)));
  const hammering = client.hammer({ to: frontend, namespace, cgroup: place.cgroup });
  const told: Told[] = [];
  const times: number[] = [];
  for (let life = 0; life <= kills; life++) {
    const build = life % 2 === 0 ? 'socklb-no-retval' : 'socklb';
    const trouble: Trouble = { place, build, lines, replacesEvery };
    told.push(await liveUntil(trouble, Math.ceil(changes / (kills + 1)), (changeMs) => times.push(changeMs)));
  }
  const { operations, failed } = await hammering.end();
  const sum = (of: (each: Told) => number) => told.reduce((total, each) => total + of(each), 0);
  times.sort((x, y) => x - y);
  return {
    changes: sum((each) => each.changes),
    kills,
    replaced: sum((each) => each.replaced),
    connects: operations,
    failed,
    changeMs: times[times.length >> 1] ?? Number.NaN,
    leftOver: await settle(place, wantedOf(lines.slice(0, 1))),
  };
}

/** A daemon's life: until it has told of so many changes. It is killed while it makes the next one. */
async function liveUntil(trouble: Trouble, changes: number, note: (changeMs: number) => void): Promise<Told> {
  const args = ['--disable-warning=ExperimentalWarning', DAEMON, JSON.stringify(trouble)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  let last: Told = { changes: 0, replaced: 0, changeMs: 0 };
  child.on('message', (message: Told) => {
    last = message;
    note(message.changeMs);
    if (last.changes >= changes) child.kill('SIGKILL');
  });
  const [code] = await once(child, 'exit');
  if (code !== null) throw new Error(`The daemon has ended by itself, with code ${code}`);
  return last;
}

/** A last daemon finds what the killed ones have left. @returns what it could not mend */
async function settle(place: SocketPlace, wanted: ReturnType<typeof wantedOf>): Promise<readonly string[]> {
  using kernel = openKernel(place);
  const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
  await syncOnce(dataplane, wanted);
  await dataplane.finish(NEVER);
  const { services, remains, programs } = await dataplane.observe(NEVER);
  const have = [...services.values()].map(serviceText);
  const want = [...wanted.services.values()].map(serviceText);
  return [
    ...have.filter((text) => !want.includes(text)),
    ...want.filter((text) => !have.includes(text)),
    ...remains.keys(),
    ...(programs === 'attached' ? [] : [programs]),
  ];
}
