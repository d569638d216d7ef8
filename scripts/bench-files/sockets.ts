import { writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createSocklbDataplane } from '../../src/dataplane/socklb/index.ts';
import type { SocklbRows } from '../../src/dataplane/socklb/rows.ts';
import { NEVER, OPTIONS } from '../../test/dataplane/socklb/build.ts';
import { openKernel, SocketGround, syncOnce } from '../../test/dataplane/socklb/ground.ts';
import { TrafficProcesses } from '../../test/dataplane/socklb/traffic.ts';
import { TRAFFIC } from '../../test/dataplane/socklb/traffic-process.ts';
import { makeTrouble } from '../../test/dataplane/socklb/trouble.ts';
import { ownCgroup } from '../../test/native-bindings/socklb-lab.ts';
import { thisMachine } from './machine.ts';
import type { Sample, SocketResults, Way } from './sockets-figures.ts';
import { createWay, ENDPOINTS, OWN_ROWS, PORTS, targetOf, usableWays } from './sockets-ways.ts';
import { measureWrites, rowsOf } from './sockets-writes.ts';

/**
 * Measures the socket balancer on this kernel, beside the other ways to an endpoint, in cgroups and network namespaces
 * of its own. Writes the results as JSON to $SVCPLANE_LAB_OUT/sockets.json.
 */
const { values } = parseArgs({
  options: {
    services: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '21' },
    changes: { type: 'string', default: '10000' },
    slice: { type: 'string', default: '200' },
    quick: { type: 'boolean', default: false },
  },
});
const size = values.quick
  ? { services: 100, rounds: 3, sliceMs: 20, writes: 1, single: 5, changes: 40, kills: 1, replacesEvery: 10 }
  : {
      services: Number(values.services),
      rounds: Number(values.rounds),
      sliceMs: Number(values.slice),
      writes: 7,
      single: 201,
      changes: Number(values.changes),
      kills: 10,
      replacesEvery: 100,
    };

/** All ways in turn, in every round in another order, so that none is always the first. */
async function measureTraffic(
  ways: readonly Way[],
  ground: SocketGround,
  rows: SocklbRows,
): Promise<readonly Sample[]> {
  using stack = new DisposableStack();
  await using processes = new TrafficProcesses(cpus().length - 1);
  const namespaces = new Map<Way, string>();
  const servers = new Map<string, number>();
  for (const way of ways) {
    const shared = way === 'socket LB' ? namespaces.get('direct') : undefined;
    const name = shared ?? stack.use(createWay(way, rows)).name;
    namespaces.set(way, name);
    for (const kind of shared === undefined ? TRAFFIC : []) {
      servers.set(`${name} ${kind}`, await processes.serve(name, kind, PORTS[kind]));
    }
  }
  const client = await processes.client();
  const slice = async (way: Way, kind: (typeof TRAFFIC)[number], ms: number) => {
    const cgroup = way === 'socket LB' ? ground.cgroup : ownCgroup();
    const namespace = namespaces.get(way) ?? '';
    const server = servers.get(`${namespace} ${kind}`) ?? 0;
    return client.measure({ kind, to: targetOf(way, kind), namespace, cgroup, ms, server });
  };
  const samples: Sample[] = [];
  for (let round = -1; round < size.rounds; round++) {
    for (const kind of TRAFFIC) {
      const first = (round + ways.length) % ways.length;
      const turn = [...ways.slice(first), ...ways.slice(0, first)];
      for (const way of round % 2 === 0 ? turn : turn.toReversed()) {
        const { operations, elapsedMs, processorMs, connectUs, failed } = await slice(
          way,
          kind,
          size.sliceMs,
        );
        if (Object.keys(failed).length > 0) throw new Error(`${way}, ${kind}: ${JSON.stringify(failed)}`);
        // The first round warms up.
        if (round < 0) continue;
        const rate = (operations / elapsedMs) * 1000;
        const processorUs = processorMs === null ? null : (processorMs / operations) * 1000;
        samples.push({ round, way, kind, rate, processorUs, connectUs });
      }
    }
  }
  return samples;
}

async function troubled(ground: SocketGround, rows: SocklbRows) {
  using namespace = createWay('direct', rows);
  await using processes = new TrafficProcesses(null);
  await processes.serve(namespace.name, 'connect', PORTS.connect);
  const endpoints = ENDPOINTS.map((address) => `${address}:${PORTS.connect}`);
  const service = { frontend: targetOf('socket LB', 'connect'), endpoints };
  const client = await processes.client();
  return await makeTrouble(client, ground.place('trouble'), namespace.name, service, size);
}

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

const before = loadavg()[0] ?? 0;
const rows = rowsOf(size.services);
using ground = SocketGround.make();
say(`writing ${rows.services.size} frontends to the maps`);
const writes = await measureWrites(rows, (name) => ground.place(name), {
  rounds: size.writes,
  changes: size.single,
});
const ways = usableWays();
say(`traffic: ${ways.join(', ')}`);
const samples = await withBalancer(rows, () => measureTraffic(ways, ground, rows));
say(`${size.changes} changes of endpoints under a client that connects without pause`);
const trouble = await troubled(ground, rows);
const results: SocketResults = {
  machine: thisMachine(),
  load: [before, loadavg()[0] ?? 0],
  rounds: size.rounds,
  sliceMs: size.sliceMs,
  ways,
  samples,
  writes,
  trouble,
};
writeFileSync(join(process.env.SVCPLANE_LAB_OUT ?? '.', 'sockets.json'), JSON.stringify(results));

async function withBalancer<Result>(all: SocklbRows, body: () => Promise<Result>): Promise<Result> {
  using kernel = openKernel(ground.place('traffic'));
  const dataplane = createSocklbDataplane({ kernel, nowMs: Date.now }, OPTIONS);
  await syncOnce(dataplane, { ...OWN_ROWS, services: new Map([...all.services, ...OWN_ROWS.services]) });
  const result = await body();
  await kernel.remove(NEVER);
  return result;
}
