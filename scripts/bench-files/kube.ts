import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { type ApiAccess, startApiServer, wireToApi } from '../../test/kernel/kube/api-server.ts';
import { pathOf } from '../../test/kernel/kube/binaries.ts';
import { clusterContent } from '../../test/kernel/kube/cluster-content.ts';
import { createContent } from '../../test/kernel/kube/load.ts';
import { createNamespace, run } from '../../test/kernel/probe.ts';
import { node } from '../../test/objects.ts';
import { NODE } from './kube-candidates.ts';
import { CANDIDATES, type Candidate, type Machine, type Result, type Task } from './kube-figures.ts';
import { thisMachine } from './machine.ts';

/**
 * In the lab: an API server with content, and the candidates in turn, each on a node of its own. Writes the results
 * to $SVCPLANE_LAB_OUT/kube.jsonl, one JSON value per line, the first of which is about the machine.
 */
const { values } = parseArgs({
  options: {
    candidates: { type: 'string', default: CANDIDATES.join(',') },
    sizes: { type: 'string', default: '200,1000,10000' },
    idle: { type: 'string', default: '60' },
    changes: { type: 'string', default: '50' },
    limit: { type: 'string', default: '420' },
    'single-stack': { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
});

/** Beyond this svcplane is alone. */
const COMPARED_SERVICES = 1000;
/** Counting under strace is slow, and what is counted does not depend on the time. */
const COUNTED_SERVICES = 200;

const output = join(process.env.SVCPLANE_LAB_OUT ?? '.', 'kube.jsonl');
const candidates = CANDIDATES.filter((name) => values.candidates.split(',').includes(name));
const sizes = values.quick ? [20] : values.sizes.split(',').map(Number);

function taskOf(candidate: Candidate, services: number): Task {
  const countsNetlink = services <= COUNTED_SERVICES;
  const isDualStack = !values['single-stack'];
  const common = { candidate, services, isDualStack, limitSeconds: Number(values.limit), countsNetlink };
  if (values.quick)
    return { ...common, endpoints: 2, changes: 4, idleSeconds: 1, rollingPods: 20, burst: 10 };
  const [changes, idleSeconds] = [Number(values.changes), Number(values.idle)];
  return { ...common, endpoints: 5, changes, idleSeconds, rollingPods: 200, burst: 1000 };
}

async function measure(task: Task, access: ApiAccess): Promise<void> {
  using namespace = createNamespace('bench');
  namespace.run(['ip', 'link', 'add', 'eth0', 'type', 'dummy']);
  namespace.run(['ip', 'address', 'add', `${NODE.address}/24`, 'dev', 'eth0']);
  namespace.run(['ip', 'link', 'set', 'eth0', 'up']);
  wireToApi(namespace, NODE.address);
  const program = join(import.meta.dirname, 'kube-candidate.ts');
  const command = [process.execPath, '--expose-gc', '--disable-warning=ExperimentalWarning', program];
  const [file, ...args] = ['ip', 'netns', 'exec', namespace.name, ...command];
  const child = spawn(file, [...args, JSON.stringify(task), JSON.stringify(access)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await Promise.all([text(child.stdout), once(child, 'close')]);
  const result: Result = JSON.parse(line);
  record(result);
}

function record(value: Result | Machine): void {
  const line = JSON.stringify(value);
  appendFileSync(output, `${line}\n`);
  process.stderr.write(`${line}\n`);
}

function machine(): Machine {
  const version = run([pathOf('kube-proxy'), '--version'])
    .trim()
    .split(' ')
    .at(-1);
  return { ...thisMachine(), kubernetes: version ?? '' };
}

writeFileSync(output, '');
record(machine());
// What it is compiled to is kept from here on, so that none of its starts is another's warm-up.
run(['scripts/svcplane', 'run', '--help']);
await using api = await startApiServer();
await api.apply([node({ name: NODE.name, addresses: [NODE.address] })]);
let filled = 0;
for (const services of sizes) {
  const { endpoints, isDualStack } = taskOf('svcplane', services);
  const added = { services: services - filled, endpoints, isDualStack, first: filled };
  await createContent(api, clusterContent(added));
  filled = services;
  for (const candidate of candidates) {
    if (candidate !== 'svcplane' && services > COMPARED_SERVICES) continue;
    await measure(taskOf(candidate, services), { server: api.server, token: api.token, caFile: api.caFile });
  }
}
