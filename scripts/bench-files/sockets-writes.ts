import { setTimeout } from 'node:timers/promises';
import { decodeObjects } from '../../src/cluster/decode.ts';
import { parseConfig } from '../../src/config.ts';
import { BpfSocklbKernel } from '../../src/dataplane/socklb/client.ts';
import { createSocklbDataplane, type SocklbDataplane } from '../../src/dataplane/socklb/index.ts';
import type { SocketPlace } from '../../src/dataplane/socklb/program.ts';
import { GRACE_MS } from '../../src/dataplane/socklb/remains.ts';
import { EMPTY_ROWS, type ServiceRow, type SocklbRows } from '../../src/dataplane/socklb/rows.ts';
import { derive, nodeContext } from '../../src/desired/derive.ts';
import { NEVER, OPTIONS, wantedOf } from '../../test/dataplane/socklb/build.ts';
import { measureTurns } from '../../test/dataplane/socklb/event-loop.ts';
import { boundPrograms, syncOnce } from '../../test/dataplane/socklb/ground.ts';
import { generateServices } from '../generate-services.ts';
import type { TableFigures, WriteFigures } from './sockets-figures.ts';

/** Endpoints of every Service. */
const ENDPOINTS = 3;

/** Notes how long it is in bpf(2) for what changes maps. */
class TimedKernel extends BpfSocklbKernel {
  writingMs = 0;
  /** The same, as time of a processor. */
  processorMs = 0;

  override async update(...request: Parameters<BpfSocklbKernel['update']>) {
    return this.#timed(() => super.update(...request));
  }

  override async delete(...request: Parameters<BpfSocklbKernel['delete']>) {
    return this.#timed(() => super.delete(...request));
  }

  override async setTables(...request: Parameters<BpfSocklbKernel['setTables']>) {
    return this.#timed(() => super.setTables(...request));
  }

  async #timed<Result>(write: () => Promise<Result>): Promise<Result> {
    const [start, cpu] = [performance.now(), process.threadCpuUsage()];
    const result = await write();
    const { user, system } = process.threadCpuUsage(cpu);
    this.writingMs += performance.now() - start;
    this.processorMs += (user + system) / 1000;
    return result;
  }
}

/** The rows of so many Services, as the daemon has them from an API server. */
export function rowsOf(services: number): SocklbRows {
  const config = parseConfig({}, 'bench');
  const facts = decodeObjects(generateServices(services, ENDPOINTS), 'n0');
  const options = { ...config, node: 'n0', nodeAddresses: null, hostAddresses: [], followHost: false };
  const { desired } = derive(facts, nodeContext(facts, options));
  const programs = boundPrograms('socklb');
  using kernel = new BpfSocklbKernel(programs, { directory: '', cgroup: '' });
  return createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS).project(desired).rows;
}

/** @param placeOf a place for each round, and `changes` for the last part */
export async function measureWrites(
  rows: SocklbRows,
  placeOf: (name: string) => SocketPlace,
  { rounds, changes }: { readonly rounds: number; readonly changes: number },
): Promise<WriteFigures> {
  const [writingMs, processorMs, changeMs]: [number[], number[], number[]] = [[], [], []];
  const [fullMs, idleMs]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    using kernel = new TimedKernel(boundPrograms('socklb'), placeOf(`writes-${round}`));
    const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
    await syncOnce(dataplane, wantedOf([]));
    kernel.writingMs = 0;
    kernel.processorMs = 0;
    fullMs.push(await timeOf(() => syncOnce(dataplane, rows)));
    writingMs.push(kernel.writingMs);
    processorMs.push(kernel.processorMs);
    idleMs.push(await timeOf(() => syncOnce(dataplane, rows)));
    if (round === rounds - 1) changeMs.push(...(await measureChanges(dataplane, rows, 0, changes)));
    await kernel.remove(NEVER);
  }
  return {
    services: rows.services.size,
    endpoints: ENDPOINTS,
    writingMs,
    processorMs,
    fullMs,
    idleMs,
    changeMs,
    tables: await measureTables(rows, placeOf, { rounds, changes }),
  };
}

/** So many of the Services, with scheduler mh. */
const TABLES = 1000;
/** Each change of a table that is exchanged waits for the kernel. */
const EXCHANGES = 21;

async function measureTables(
  rows: SocklbRows,
  placeOf: (name: string) => SocketPlace,
  { rounds, changes }: { readonly rounds: number; readonly changes: number },
): Promise<TableFigures> {
  const services = [...rows.services].slice(0, TABLES).map(([key, row]): [typeof key, ServiceRow] => {
    return [key, { ...row, algorithm: 'maglev' }];
  });
  const wanted = { ...rows, services: new Map(services) };
  const [fullMs, longestMs]: [number[], number[]] = [[], []];
  for (let round = 1; ; round++) {
    const place = placeOf(`tables-${round}`);
    using kernel = new BpfSocklbKernel(boundPrograms('socklb'), place);
    const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
    await syncOnce(dataplane, wantedOf([]));
    const turns = await measureTurns(() => syncOnce(dataplane, wanted));
    fullMs.push(turns.totalMs);
    longestMs.push(turns.longestMs);
    if (round === rounds) {
      const changeMs = await measureChanges(dataplane, wanted, 0, Math.min(changes, services.length / 2));
      using restarted = new BpfSocklbKernel(boundPrograms('socklb'), place);
      const after = createSocklbDataplane({ kernel: restarted, nowMs: Date.now }, OPTIONS);
      await after.observe(NEVER);
      const restartedMs = await measureChanges(after, wanted, services.length / 2, EXCHANGES);
      await restarted.remove(NEVER);
      return { services: services.length, fullMs, longestMs, changeMs, restartedMs };
    }
    await kernel.remove(NEVER);
  }
}

/** One Service after the other loses an endpoint. What that leaves is cleared away with the next change. */
async function measureChanges(
  dataplane: SocklbDataplane,
  rows: SocklbRows,
  first: number,
  changes: number,
): Promise<readonly number[]> {
  const changeMs: number[] = [];
  for (const row of [...rows.services.values()].slice(first, first + changes)) {
    const [before, wanted] = [row, without(row)].map((each) => ({
      ...rows,
      services: new Map([[each.key, each]]),
    }));
    const change = { before: before ?? EMPTY_ROWS, wanted: wanted ?? EMPTY_ROWS, isDrainCheck: true };
    changeMs.push(
      await timeOf(async () => {
        const seen = await dataplane.scoped?.observe(change, NEVER);
        if (!seen) throw new Error(`Cannot look at ${row.key} alone`);
        const plan = dataplane.plan(seen, change.wanted);
        for (const ops of [plan.make, plan.break]) await dataplane.apply(ops, NEVER);
      }),
    );
    await setTimeout(GRACE_MS);
  }
  return changeMs;
}

function without(row: ServiceRow): ServiceRow {
  return { ...row, backends: new Map([...row.backends].slice(1)) };
}

async function timeOf(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}
