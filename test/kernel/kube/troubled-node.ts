import { expect } from 'vitest';
import { type ForeignState, foreignState, makeForeign } from '../foreign-setup.ts';
import { nodeObjectOf, SERVICE_ROUTES } from '../test-services.ts';
import type { Pod } from '../traffic/lab-plan.ts';
import { svcplaneConfig } from '../traffic/program.ts';
import { createLab, type Lab, type LabNode } from '../traffic/topology.ts';
import { type ApiServer, startApiServer } from './api-server.ts';
import { tableOfApi } from './api-table.ts';
import { type ContentOptions, clusterContent, type ServiceContent } from './cluster-content.ts';
import { namespaceOf, wireNodeToApi } from './compare-objects.ts';
import { type CutProxy, startCutProxy } from './cut-proxy.ts';
import { createContent } from './load.ts';
import { SteadyClients, steadyObjects } from './steady-clients.ts';
import { type SvcplaneDaemon, startSvcplane } from './svcplane-daemon.ts';

/** Long enough for a watch that has to be found broken, and for lists of a server that has just been started. */
const CONVERGED_MS = 120_000;
const POLL_MS = 100;
const CUT_TABLE = 'svcplane_test_cut';

export interface TroubledNodeOptions extends ContentOptions {
  /** Further keys of svcplane's configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A node with things of others, served by `svcplane run`, clients whose connections must hold, and an API server. */
export interface TroubledNode extends AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabNode;
  /** Serves what is foreign. */
  readonly foreignPod: Pod;
  readonly api: ApiServer;
  /** Between svcplane and the API server. */
  readonly proxy: CutProxy;
  readonly content: readonly ServiceContent[];
  readonly daemon: SvcplaneDaemon;
  readonly clients: SteadyClients;
  /** What others had before svcplane came. */
  readonly foreignBefore: ForeignState;
  /** What others have now. */
  foreign(): ForeignState;
  /** Our lines of `ipvsadm -Sn`, sorted; none of real servers that drain. */
  rows(): readonly string[];
  /** What is bound to svcplane0, without lengths, sorted. */
  addresses(): readonly string[];
  /** Waits until the kernel is what the API server says. */
  converged(timeoutMs?: number): Promise<void>;
  /** Whether packets between the node and the API server are lost. */
  setNetwork(isCut: boolean): void;
}

/** Builds all of it, and waits until it is in sync and connected. */
export async function startTroubledNode(options: TroubledNodeOptions): Promise<TroubledNode> {
  await using started = new AsyncDisposableStack();
  const lab = started.use(createLab({ nodes: 1, podsPerNode: 3, routes: SERVICE_ROUTES }));
  const [node] = lab.nodes;
  const [pod, foreignPod] = node?.pods ?? [];
  if (!node || !pod || !foreignPod) throw new RangeError('the lab has no node with pods');
  makeForeign(node, foreignPod);
  const before = foreignState(node, () => false);
  const api = started.use(await startApiServer());
  wireNodeToApi(node);
  // Below are the ports of held connections.
  node.run(['sh', '-c', 'echo 24000 29999 >/proc/sys/net/ipv4/ip_local_port_range']);
  const { hostname, port } = new URL(api.server);
  const proxy = started.use(await startCutProxy(hostname, Number(port), hostname));
  await api.apply([nodeObjectOf(node), ...steadyObjects(pod)]);
  const content = clusterContent(options);
  await createContent(api, content);
  const daemon = started.use(
    await startSvcplane(namespaceOf(node), {
      apiServer: { ...api, server: `https://${hostname}:${proxy.port}` },
      nodeName: node.name,
      config: { ...svcplaneConfig(node), ...options.config },
    }),
  );
  await daemon.synced();
  const clients = started.use(new SteadyClients(lab, node, pod));
  await clients.asked();

  const foreignLines = new Set(before.virtualServers);
  const rows = () =>
    node
      .run(['ipvsadm', '-Sn'])
      .split('\n')
      .filter((line) => line !== '' && !foreignLines.has(line) && !line.endsWith(' -w 0'))
      .sort();
  const addresses = () => boundTo(node, 'svcplane0');
  const parts = started.move();
  return {
    lab,
    node,
    foreignPod,
    api,
    proxy,
    content,
    daemon,
    clients,
    foreignBefore: before,
    foreign: () => foreignState(node, (line) => !foreignLines.has(line)),
    rows,
    addresses,
    converged: async (timeoutMs = CONVERGED_MS) => {
      const wanted = await tableOfApi(api);
      const seen = () => ({ rows: rows(), addresses: addresses() });
      await expect.poll(seen, { timeout: timeoutMs, interval: POLL_MS }).toEqual(wanted);
    },
    setNetwork: (isCut) => setNetwork(node, hostname, isCut),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function boundTo(node: LabNode, link: string): readonly string[] {
  const [shown] = JSON.parse(node.run(['ip', '-j', '-4', 'address', 'show', 'dev', link]));
  const addresses: readonly { readonly local: string }[] = shown?.addr_info ?? [];
  return addresses.map(({ local }) => local).sort();
}

/** Packets are lost, not refused, as by a switch that is down; connections live on for as long as their ends wait. */
function setNetwork(node: LabNode, api: string, isCut: boolean): void {
  const chain = (hook: string, match: string) =>
    `chain ${hook} { type filter hook ${hook} priority -400; ip ${match} ${api} drop; }\n`;
  const rules = `table ip ${CUT_TABLE} {\n${chain('input', 'saddr')}${chain('output', 'daddr')}}\n`;
  if (isCut) node.run(['nft', '-f', '-'], rules);
  else node.run(['nft', 'delete', 'table', 'ip', CUT_TABLE]);
}
