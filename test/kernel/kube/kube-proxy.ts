import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NetworkNamespace } from '../probe.ts';
import { type ApiAccess, kubeconfigOf } from './api-server.ts';
import { pathOf } from './binaries.ts';
import { startDaemon } from './daemon.ts';

/** It takes a second on a good processor, and tens of them on an emulated one. */
const READY_MS = 300_000;

export interface KubeProxyOptions {
  readonly namespace: NetworkNamespace;
  /** Of the Node object, which must have an address in its status, else kube-proxy ends. */
  readonly nodeName: string;
  readonly apiServer: ApiAccess;
  /** Where pods are; of each family one, separated by a comma. */
  readonly clusterCIDR: string;
  readonly mode?: 'ipvs' | 'iptables' | 'nftables';
  /** Further fields of KubeProxyConfiguration. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** kube-proxy on a node. */
export interface KubeProxy extends AsyncDisposable {
  readonly pid: number;
  /** The end of what it has printed. */
  log(): string;
  /** Ends it and removes its directory; what it has put in the kernel stays. Does nothing the second time. */
  stop(): Promise<void>;
}

/**
 * Starts kube-proxy in a network namespace from which `apiServer` can be reached, and waits until it has programmed
 * what the API server has.
 * @throws Error if it does not get so far, with the end of its log
 */
export async function startKubeProxy(options: KubeProxyOptions): Promise<KubeProxy> {
  const { namespace } = options;
  await using started = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-kube-proxy-'));
  started.defer(() => rmSync(directory, { recursive: true, force: true }));
  const kubeconfig = join(directory, 'kubeconfig');
  const config = join(directory, 'config');
  writeFileSync(kubeconfig, kubeconfigOf(options.apiServer));
  writeFileSync(config, JSON.stringify(kubeProxyConfiguration(options, kubeconfig)));

  const command = ['ip', 'netns', 'exec', namespace.name, pathOf('kube-proxy'), '--config', config];
  const proxy = started.use(await startDaemon(command));
  await proxy.ready(() => hasSynced(namespace), READY_MS);

  const parts = started.move();
  const stop = () => parts.disposeAsync();
  return { pid: proxy.pid, log: proxy.log, stop, [Symbol.asyncDispose]: stop };
}

/** The KubeProxyConfiguration that {@link startKubeProxy} gives it. @param kubeconfig a file */
export function kubeProxyConfiguration(
  { mode = 'ipvs', ...options }: Omit<KubeProxyOptions, 'namespace' | 'apiServer'>,
  kubeconfig: string,
): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    clusterCIDR: options.clusterCIDR,
    hostnameOverride: options.nodeName,
    clientConnection: { kubeconfig },
    // The size of the connection table is one for all network namespaces, and only the first may set it.
    conntrack: { maxPerCore: 0, min: 0 },
    ...options.config,
  };
}

/** Its own word: its health has an entry for each family it serves, its metrics for each that has been programmed. */
function hasSynced(namespace: NetworkNamespace): boolean {
  const get = (address: string): string =>
    namespace.run(['sh', '-c', `curl --silent --max-time 10 http://127.0.0.1:${address} || true`]);
  const health = get('10256/healthz');
  if (health === '') return false;
  const families = Object.keys(JSON.parse(health).status ?? {});
  const metrics = get('10249/metrics');
  const isProgrammed = (family: string): boolean =>
    metrics.includes(`\nkubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="${family}"} `);
  return families.length > 0 && families.every(isProgrammed);
}
