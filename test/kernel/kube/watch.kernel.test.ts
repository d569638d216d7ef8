import { renameSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openApiConnection } from '../../../src/cluster/api-connection-client.ts';
import { collectGarbage } from '../../../src/status/host.ts';
import { node, service, slice } from '../../objects.ts';
import { leftOutBecause } from '../probe.ts';
import { type ApiAccess, type ApiServer, startApiServer } from './api-server.ts';
import { whyNoPrograms } from './binaries.ts';
import { type CutProxy, startCutProxy } from './cut-proxy.ts';
import { type Following, follow, NODE_NAME } from './follow.ts';
import { recording, type Seen } from './recording.ts';
import { inTrouble } from './trouble.ts';

/** More than a page. */
const SERVICES = 510;
const BURST = inTrouble({ some: 1500, all: 10_000 });
const CLOSED = inTrouble({ some: 8, all: 30 });
const RECONNECTS = inTrouble({ some: 15, all: 100 });
const RECONNECTS_MS = inTrouble({ some: 300_000, all: 900_000 });
const CHANGED_TOGETHER = 16;
/** One for each kind. */
const WATCHES = 4;
/** A store of these facts has 1 MB, and the sockets of one reconnection 200 kB: either, kept each time, is more. */
const MAX_GROWTH_BYTES = RECONNECTS * 80_000;
const WAIT = { timeout: 60_000, interval: 20 };

/** The least that a watch can do with. */
const RULES = [
  { apiGroups: [''], resources: ['services', 'nodes'], verbs: ['list', 'watch'] },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  { apiGroups: ['networking.k8s.io'], resources: ['servicecidrs'], verbs: ['list', 'watch'] },
];
const ROLE = 'watch-only';
const SERVICES_PATH = '/api/v1/namespaces/web/services';
const SLICES_PATH = '/apis/discovery.k8s.io/v1/namespaces/web/endpointslices';

const skipReason = whyNoPrograms(['kube-apiserver']) ?? leftOutBecause;
const skip = skipReason === undefined ? {} : { skip: true, meta: { skipReason } };

const nameOf = (index: number) => `s${String(index).padStart(5, '0')}`;
const serviceOf = (index: number, metadata = {}) =>
  service({ name: nameOf(index), namespace: 'web', metadata, spec: { clusterIP: undefined } });
const sliceOf = (index: number, ready = true) =>
  slice({
    name: `${nameOf(index)}-1`,
    service: nameOf(index),
    endpoints: [{ address: `10.244.${index >> 8}.${index & 255}`, ready, node: NODE_NAME }],
  });

describe('watchCluster() on a real API server', skip, () => {
  let parts: AsyncDisposableStack;
  let api: ApiServer;
  let proxy: CutProxy;
  let directory: string;
  let tokenFile: string;
  let seen: Seen;
  let following: Following;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    api = parts.use(await startApiServer({ users: ['first', 'second'] }));
    proxy = parts.use(await startCutProxy(new URL(api.server).hostname, Number(new URL(api.server).port)));
    directory = await mkdtemp(join(tmpdir(), 'svcplane-watch-'));
    parts.defer(() => rm(directory, { recursive: true }));
    await api.apply([clusterRole(), ...['first', 'second'].map(bindingOf)]);
    await api.apply([
      node({ name: NODE_NAME, zone: 'z1' }),
      node({ name: 'node-2', addresses: ['172.16.0.6'] }),
    ]);
    await api.apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'web' } }]);
    await inTurn(SERVICES, async (index) => {
      await api.request('POST', SERVICES_PATH, serviceOf(index));
      await api.request('POST', SLICES_PATH, sliceOf(index));
    });

    tokenFile = join(directory, 'token');
    replace(tokenFile, api.accessOf('first').token);
    const connection = await openApiConnection({
      kubeconfig: writeKubeconfig(directory, api.accessOf('first'), proxy.port),
      env: {},
    });
    seen = { pages: [], openWatches: 0 };
    following = parts.use(follow(api, recording(connection, seen)));
  }, 600_000);

  afterAll(() => parts?.disposeAsync());

  it('lists page by page, with the least rights, and yields first when all is there', async () => {
    await following.converged();
    expect(following.store.facts.services.size).toBe(SERVICES + 1);
    expect(seen.pages.filter((path) => path === '/api/v1/services')).toHaveLength(2);
    expect(following.yields[0]?.services.size).toBe(SERVICES + 1);
    expect(following.store.facts.node?.name).toBe(NODE_NAME);
    expect(following.store.facts.otherNodes.size).toBe(1);
    expect(following.store.facts.serviceCIDRs).toHaveLength(2);
    expect(following.store.ownNode?.uid).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('tells of what is made, changed and deleted, and of a Service that goes to another proxy', async () => {
    const labels = { 'service.kubernetes.io/service-proxy-name': 'other' };
    await api.apply([serviceOf(SERVICES), sliceOf(SERVICES), sliceOf(1, false), serviceOf(2, { labels })]);
    await api.delete([serviceOf(3), sliceOf(4)]);
    await following.converged();
    const { services, slices } = following.store.facts;
    expect(services.has(`web/${nameOf(SERVICES)}`)).toBe(true);
    expect(slices.get(`web/${nameOf(1)}`)?.[0]?.endpoints[0]?.ready).toBe(false);
    for (const index of [2, 3]) expect(services.has(`web/${nameOf(index)}`)).toBe(false);
    expect(slices.has(`web/${nameOf(4)}`)).toBe(false);
  });

  it('resumes where connections were cut, without a list', async () => {
    const lists = following.count('lists');
    proxy.set('refuse');
    await api.apply([sliceOf(5, false)]);
    await failing();
    proxy.set('pass');
    await following.converged();
    expect(following.count('lists')).toBe(lists);
    expect(following.states.at(-1)?.state).toBe('watching');
  });

  it('comes back when the API server was killed', async () => {
    await api.kill();
    await failing();
    await api.start();
    await api.apply([sliceOf(6, false)]);
    await following.converged();
  });

  it('lists again when history is gone', async () => {
    const lists = following.count('lists');
    proxy.set('refuse');
    await api.apply([sliceOf(7, false)]);
    await api.delete([serviceOf(8)]);
    await api.kill();
    await api.compact();
    // What the API server itself remembers of history is gone with it.
    await api.start();
    proxy.set('pass');
    await following.converged();
    expect(following.count('lists')).toBeGreaterThan(lists);
  });

  it('uses a token that has been replaced, and one that comes after none was good', async () => {
    replace(tokenFile, api.accessOf('second').token);
    await api.delete([bindingOf('first')]);
    proxy.cut();
    await api.apply([sliceOf(9, false)]);
    await following.converged();

    const before = following.states.length;
    replace(tokenFile, 'no token');
    proxy.cut();
    await expect
      .poll(() => following.states.slice(before).map(({ error }) => error?.message), WAIT)
      .toContainEqual(expect.stringContaining('401'));
    replace(tokenFile, api.accessOf('second').token);
    await api.apply([sliceOf(10, false)]);
    await following.converged();
  });

  it(`takes a burst of ${BURST} events`, async () => {
    const before = following.count('events');
    const schedulers = ['rr', 'wrr', 'lc', 'wlc'];
    await inTurn(BURST, (index) => {
      const path = `${SERVICES_PATH}/${nameOf(100 + (index % 400))}`;
      const annotations = { 'svcplane.io/scheduler': schedulers[Math.floor(index / 400) % 4] };
      return api.request('PATCH', path, { metadata: { annotations } }, 'application/merge-patch+json');
    });
    await following.converged();
    expect(following.count('events') - before).toBeGreaterThanOrEqual(BURST);
  }, 300_000);

  it(`converges though watches are closed every second, ${CLOSED} times, while things change`, async () => {
    for (let cycle = 0; cycle < CLOSED; cycle++) {
      const ended = new Promise((resolve) => setTimeout(resolve, 1000));
      for (let index = 0; index < 10; index++)
        await api.apply([sliceOf(200 + index, (cycle + index) % 2 === 0)]);
      await ended;
      proxy.cut();
    }
    await following.converged();
  });

  it(
    `keeps nothing of ${RECONNECTS} reconnections`,
    async () => {
      const reconnect = async (times: number) => {
        for (let time = 0; time < times; time++) {
          // A watch that is just about to connect would not be cut.
          await expect.poll(() => seen.openWatches, WAIT).toBe(WATCHES);
          const restarts = following.count('restarts');
          proxy.cut();
          await expect
            .poll(() => following.count('restarts'), WAIT)
            .toBeGreaterThanOrEqual(restarts + WATCHES);
        }
        await following.converged();
      };
      await reconnect(10);
      const before = heapUsed();
      await reconnect(RECONNECTS);
      const growth = () => {
        const after = heapUsed();
        console.log(`heap after 10 reconnections ${before}, after ${RECONNECTS} more ${after} bytes`);
        return after - before;
      };
      // A list or a connection on its way is no leak: it goes.
      await expect.poll(growth, { timeout: 30_000, interval: 1000 }).toBeLessThan(MAX_GROWTH_BYTES);
    },
    RECONNECTS_MS,
  );

  async function failing(): Promise<void> {
    await expect.poll(() => following.states.at(-1)?.state, WAIT).toBe('failing');
  }
});

function clusterRole() {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: ROLE },
    rules: RULES,
  };
}

function bindingOf(user: string) {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: `${ROLE}-${user}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: ROLE },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  };
}

/** As kubeadm writes it for kube-proxy, but for the name: 127.0.0.1 is not in the certificate. */
function writeKubeconfig(directory: string, { caFile }: ApiAccess, port: number): string {
  const cluster = {
    server: `https://127.0.0.1:${port}`,
    'certificate-authority': caFile,
    'tls-server-name': 'kubernetes.default.svc',
  };
  const file = join(directory, 'kubeconfig');
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'lab', cluster }],
    users: [{ name: 'user', user: { tokenFile: 'token' } }],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'user' } }],
    'current-context': 'lab',
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

async function inTurn(count: number, make: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await make(next++);
  };
  await Promise.all(Array.from({ length: CHANGED_TOGETHER }, worker));
}

function heapUsed(): number {
  for (let round = 0; round < 3; round++) collectGarbage();
  return process.memoryUsage().heapUsed;
}
