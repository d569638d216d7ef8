import { mkdirSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type ApiAccess, kubeconfigOf } from '../../test/kernel/kube/api-server.ts';
import { pathOf } from '../../test/kernel/kube/binaries.ts';
import { POD_RANGES } from '../../test/kernel/kube/cluster-content.ts';
import { type Daemon, startDaemon } from '../../test/kernel/kube/daemon.ts';
import { lastSyncsOf } from '../../test/kernel/kube/measure.ts';
import { svcplaneCommand } from '../../test/kernel/kube/svcplane-daemon.ts';
import type { Candidate } from './kube-figures.ts';
import { type KernelView, openIpvsView, openNftablesView } from './kube-views.ts';

/** Name of the Node object, and the address in its status. */
export const NODE = { name: 'n0', address: '172.16.0.5' } as const;

const agent = new Agent({ keepAlive: true });

/** A candidate in this network namespace: how to start it, and to see what it does. */
export interface ServiceProxy {
  /** @param under put before its own command line */
  start(under?: readonly string[]): Promise<Daemon>;
  openView(): KernelView;
}

/** @param directory for its files and its state, which restarts find again */
export function createProxy(candidate: Candidate, directory: string, apiServer: ApiAccess): ServiceProxy {
  mkdirSync(directory, { recursive: true });
  const command =
    candidate === 'svcplane'
      ? svcplaneCommand(directory, {
          apiServer,
          nodeName: NODE.name,
          config: { clusterCIDRs: POD_RANGES },
        })
      : kubeProxyCommand(directory, candidate === 'kube-proxy ipvs' ? 'ipvs' : 'nftables', apiServer);
  return {
    start: (under = []) => startDaemon([...under, ...command]),
    openView: candidate === 'kube-proxy nftables' ? openNftablesView : openIpvsView,
  };
}

function kubeProxyCommand(
  directory: string,
  mode: 'ipvs' | 'nftables',
  apiServer: ApiAccess,
): readonly string[] {
  const kubeconfig = join(directory, 'kubeconfig');
  const config = join(directory, 'config');
  writeFileSync(kubeconfig, kubeconfigOf(apiServer));
  // Its own defaults, but for what it needs to run here.
  const configuration = {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    clusterCIDR: POD_RANGES.join(','),
    hostnameOverride: NODE.name,
    clientConnection: { kubeconfig },
    // The size of the connection table is one for all network namespaces, and only the first may set it.
    conntrack: { maxPerCore: 0, min: 0 },
  };
  writeFileSync(config, JSON.stringify(configuration));
  return [pathOf('kube-proxy'), '--config', config];
}

/**
 * When the process in this network namespace was last in sync, as it says itself, in milliseconds since the epoch;
 * undefined until it has been for each family that it serves.
 */
export async function lastSyncMs(): Promise<number | undefined> {
  const health = await page('http://127.0.0.1:10256/healthz');
  if (health === undefined) return undefined;
  const families = Object.keys(JSON.parse(health).status ?? {});
  const syncs = lastSyncsOf((await page('http://127.0.0.1:10249/metrics')) ?? '');
  return syncs.size === 0 || syncs.size < families.length ? undefined : Math.max(...syncs.values());
}

function page(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    get(url, { agent }, (answer) => {
      text(answer).then(resolve, () => resolve(undefined));
      // Nobody listens until it has started.
    }).once('error', () => resolve(undefined));
  });
}
