import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { describe, expect } from 'vitest';
import { UNHURRIED } from '../host.ts';
import { createNamespace, isEmulated, type NetworkNamespace, run } from '../probe.ts';
import { type ApiServer, startApiServer, wireToApi } from './api-server.ts';
import { describeWithKube } from './binaries.ts';
import { type ControllerManager, startControllerManager } from './controller-manager.ts';
import { type Kubectl, openKubectl } from './kubectl.ts';
import { type SvcplaneDaemon, startSvcplane } from './svcplane-daemon.ts';

const ROOT = join(import.meta.dirname, '../../..');
const NETWORK = join(ROOT, 'scripts/demo-files/network.sh');
const SVCPLANE = join(ROOT, 'scripts/svcplane');
/** For what never comes true, on a machine however slow. */
export const WAIT = { timeout: isEmulated ? 600_000 : 60_000, interval: 50 };
/** How long such a cluster may take to start. */
export const START_MS = 900_000;
const PROGRAMS = ['kube-apiserver', 'kube-controller-manager', 'kubectl'] as const;
const isWhole = process.env.SVCPLANE_TRAFFIC === 'all';

/** The node's address, in the guide's network. */
export const NODE_ADDRESS = '172.30.0.30';
/** The node's address on the bridge of its pods; a NodePort is there, too. */
export const GATEWAY = '10.244.1.1';
/** Of the Service default/kubernetes, which the API server itself makes. */
export const KUBERNETES = servedAt(['10.96.0.1:443'], ['192.0.2.10:6443']);

/**
 * A vitest `describe` for tests of such a cluster, as describeWithKube; where the processor is emulated they take a
 * quarter of an hour, and are skipped unless everything is asked for.
 */
export function describeWithCluster(name: string, body: () => void): void {
  const skipReason = 'takes a quarter of an hour where the processor is emulated: scripts/test --all runs it';
  if (isEmulated && !isWhole) describe(name, { skip: true, meta: { skipReason } }, body);
  else describeWithKube(name, PROGRAMS, () => describe('on a cluster', UNHURRIED, body));
}

/** A cluster of one node in the guide's network. */
export interface GuideCluster extends AsyncDisposable {
  readonly node: NetworkNamespace;
  readonly api: ApiServer;
  readonly controllers: ControllerManager;
  readonly kubectl: Kubectl;
  readonly daemon: SvcplaneDaemon;
  /** svcplane on the node, with the daemon's configuration. @returns what it printed @throws CommandError */
  svcplane(...args: readonly string[]): string;
  /** Waits until `ipvsadm -Sn` prints these lines, in any order. */
  serves(rows: readonly string[]): Promise<void>;
  /** The lines that `svcplane snapshot --observed` prints, and those of `ipvsadm -Sn`; sorted. */
  shown(): { readonly bySvcplane: readonly string[]; readonly byIpvsadm: readonly string[] };
}

export interface GuideClusterOptions {
  /** Objects that are there before svcplane starts: the Node, and others. */
  readonly objects: readonly object[];
  /** Further keys of svcplane's configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/**
 * Makes the guide's network, with its servers, and in it a node n0 with `svcplane run`, that follows a real API server
 * beside which the controllers of endpoints run. svcplane does without audits: what happens, happens for a notice.
 */
export async function startGuideCluster({ objects, config }: GuideClusterOptions): Promise<GuideCluster> {
  await using started = new AsyncDisposableStack();
  const node = started.use(createNamespace('n0'));
  started.defer(() => void run([NETWORK, 'down']));
  run([NETWORK, 'up', node.name]);
  wireToApi(node, NODE_ADDRESS);
  // The API server is an endpoint that is no pod, and answers pods, whose address it sees.
  run(['ip', 'route', 'add', '10.244.1.0/24', 'via', NODE_ADDRESS]);
  const api = started.use(await startApiServer());
  await api.apply(objects);
  const controllers = started.use(await startControllerManager(api));
  const kubectl = started.use(openKubectl(api));
  const daemon = started.use(
    await startSvcplane(node, {
      apiServer: api,
      nodeName: 'n0',
      config: { audit: { intervalSeconds: 0 }, ...config },
    }),
  );
  await daemon.synced();
  const parts = started.move();
  const table = () => linesOf(node.run(['ipvsadm', '-Sn']));
  const configuration = ['--config', join(daemon.directory, 'config.yaml')];
  const svcplane: GuideCluster['svcplane'] = (...args) => node.run([SVCPLANE, ...args, ...configuration]);
  return {
    node,
    api,
    controllers,
    kubectl,
    daemon,
    svcplane,
    serves: (rows) => expect.poll(table, WAIT).toEqual([...rows].sort()),
    shown: () => ({
      bySvcplane: linesOf(svcplane('snapshot', '--observed', '-o', 'ipvsadm-save')),
      byIpvsadm: table(),
    }),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function linesOf(text: string): readonly string[] {
  return text.split('\n').filter(Boolean).sort();
}

/** What somebody writes for a case of the guide: the manifest without the slices, which the controllers make. */
export function guideObjects(file: string): readonly object[] {
  const isWritten = (object: unknown): object is object =>
    typeof object === 'object' && object !== null && 'kind' in object && object.kind !== 'EndpointSlice';
  return loadAll(readFileSync(join(ROOT, 'examples/guide', file), 'utf8')).filter(isWritten);
}

/** The lines of `ipvsadm -Sn` for TCP frontends with the same real servers. @param flags as ` -p 10800` */
export function servedAt(
  frontends: readonly string[],
  realServers: readonly string[],
  flags = '',
): readonly string[] {
  return frontends.flatMap((frontend) => [
    `-A -t ${frontend} -s rr${flags}`,
    ...realServers.map((realServer) => `-a -t ${frontend} -r ${realServer} -m -w 1`),
  ]);
}

/** Who answers `count` requests of a client, sorted. @param from its network namespace */
export function answers(from: string, url: string, count: number): readonly string[] {
  const urls = Array.from({ length: count }, () => url);
  const curl = ['curl', '--silent', '--show-error', '--max-time', '20', ...urls];
  return linesOf(run(['ip', 'netns', 'exec', from, ...curl]));
}

/** What a client that asks over and over has got. */
export interface Asked {
  /** How many answers came from whom. */
  readonly answered: ReadonlyMap<string, number>;
  /** What curl said of each request that failed. */
  readonly failures: readonly string[];
}

/** A client that asks 20 times a second, each time on a connection of its own. */
export interface AskingClient extends Disposable {
  soFar(): Asked;
}

/** @param from the client's network namespace */
export function keepAsking(from: string, url: string): AskingClient {
  const patterns = ['--rate', '20/s', `${url}?[1-100000]`];
  const curl = ['curl', '--silent', '--show-error', '--max-time', '20', ...patterns];
  // `ip netns exec` becomes curl.
  const client = spawn('ip', ['netns', 'exec', from, ...curl], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    client[name].setEncoding('utf8').on('data', (text: string) => {
      said[name] += text;
    });
  }
  return {
    soFar: () => ({
      answered: new Map(
        [...Map.groupBy(said.stdout.split('\n').filter(Boolean), (who) => who)].map(([who, all]) => [
          who,
          all.length,
        ]),
      ),
      failures: said.stderr.split('\n').filter(Boolean),
    }),
    [Symbol.dispose]: () => void client.kill('SIGKILL'),
  };
}
