import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { addIptablesRules, FOREIGN_ROUTES, makeForeign } from '../foreign-setup.ts';
import { HeldConnections } from '../held-connections.ts';
import {
  nodeObjectOf,
  objectsOf,
  POD_CIDRS,
  SERVICE_ROUTES,
  TARGET_PORT,
  type TestService,
} from '../test-services.ts';
import { FAMILIES } from '../traffic/dual-stack.ts';
import type { Attached, Pod } from '../traffic/lab-plan.ts';
import { Sockets } from '../traffic/sockets.ts';
import { createLab, type Lab, type LabNode } from '../traffic/topology.ts';
import { kubeconfigOf, startApiServer } from './api-server.ts';
import { namespaceOf, wireNodeToApi } from './compare-objects.ts';
import {
  type KubeProxy,
  type KubeProxyOptions,
  kubeProxyConfiguration,
  startKubeProxy,
} from './kube-proxy.ts';

/** The port of both Services. */
export const PORT = 80;
export const SYNC_PERIOD_MS = 5000;
/** The file that kube-proxy itself has, in the directory of the lab. */
export const CONFIG = 'kube-proxy.json';

/** Two that serve, one that serves what is foreign, and a client. */
type FourPods = readonly [Pod, Pod, Pod, Pod];

/** A node with things of others that kube-proxy serves, and clients outside, on it and inside. */
export interface ProxiedNode extends AsyncDisposable {
  readonly lab: Lab;
  readonly node: LabNode;
  readonly pods: FourPods;
  readonly clients: readonly Attached[];
  readonly sockets: Sockets;
  readonly held: HeldConnections;
  readonly proxy: KubeProxy;
  /** To start kube-proxy with again. */
  readonly options: KubeProxyOptions;
}

/** Builds all of it, and waits until kube-proxy has synced. */
export async function startProxiedNode(): Promise<ProxiedNode> {
  await using parts = new AsyncDisposableStack();
  const lab = parts.use(
    createLab({ nodes: 1, podsPerNode: 4, routes: [...SERVICE_ROUTES, ...FOREIGN_ROUTES] }),
  );
  const sockets = parts.use(new Sockets());
  const held = parts.use(new HeldConnections());
  const [node] = lab.nodes;
  const [a, b, other, client] = node?.pods ?? [];
  if (!node || !a || !b || !other || !client) throw new RangeError('the lab has no node with four pods');
  for (const family of FAMILIES) {
    for (const pod of [a, b, other]) {
      sockets.serve({ ...pod, address: pod.addresses[family], port: TARGET_PORT, protocol: 'TCP' });
    }
  }
  makeForeign(node, other);
  addIptablesRules(node);
  const api = parts.use(await startApiServer());
  wireNodeToApi(node);
  await api.apply([nodeObjectOf(node), ...servicesOf(a, b).flatMap(objectsOf)]);
  const options: KubeProxyOptions = {
    namespace: namespaceOf(node),
    nodeName: node.name,
    apiServer: api,
    clusterCIDR: Object.values(POD_CIDRS).join(','),
    config: {
      nodePortAddresses: ['172.20.0.0/24', 'fd00:172:20::/64'],
      ipvs: { excludeCIDRs: ['192.0.2.0/24', '2001:db8:2::/64'], syncPeriod: `${SYNC_PERIOD_MS}ms` },
    },
  };
  const proxy = parts.use(await startKubeProxy(options));
  const kubeconfig = join(lab.directory, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigOf(api));
  writeFileSync(join(lab.directory, CONFIG), JSON.stringify(kubeProxyConfiguration(options, kubeconfig)));
  const kept = parts.move();
  const clients = [lab.outside, node, client];
  const disposed = { [Symbol.asyncDispose]: () => kept.disposeAsync() };
  return { lab, node, pods: [a, b, other, client], clients, sockets, held, proxy, options, ...disposed };
}

/** Of both policies: with one kube-proxy marks to masquerade, with the other we mark for clients inside. */
function servicesOf(a: Pod, b: Pod): readonly TestService[] {
  const common = { external: true, endpoints: [a, b] };
  const ports = (nodePort: number) => [{ protocol: 'TCP', port: PORT, nodePort } as const];
  return [
    { ...common, name: 'cluster', number: 11, vip: 11, ports: ports(30_011) },
    { ...common, name: 'local', number: 12, vip: 12, ports: ports(30_012), externalTrafficPolicy: 'Local' },
  ];
}
