import type { CliContext, ClusterAccess, DaemonAccess } from './cli/context.ts';
import { FactStore } from './cluster/fact-store.ts';
import type { Config } from './config.ts';
import { collectGarbage, processFigures, processStartMs, saveMemory } from './status/host.ts';
import { HealthCheckPorts } from './status/http.ts';
import { DaemonLog } from './status/log.ts';
import { StatusServer } from './status/status-http.ts';
import { API_BACKOFF, delayAfter, LISTEN_BACKOFF } from './sync/backoff.ts';

/** The outside of `run`, but for the kernel. @param version of this package */
export function daemonAccess(version: string): DaemonAccess {
  const retryDelayMs = (failures: number) => delayAfter(failures, Math.random(), LISTEN_BACKOFF);
  return {
    versions: { svcplane: version, node: process.version },
    startMs: processStartMs(),
    monotonicMs: () => performance.now(),
    figures: processFigures(),
    saveMemory,
    collectGarbage,
    openLog: (level) => new DaemonLog(level),
    openServer: (name, routes, report) => new StatusServer(name, routes, { report, retryDelayMs }),
    openHealthChecks: (report) => new HealthCheckPorts({ report, retryDelayMs }),
  };
}

/** @see ClusterAccess */
export async function openCluster(config: Config, nodeName: string): Promise<ClusterAccess> {
  // Loaded here: files need none of it.
  const { openApiConnection } = await import('./cluster/api-connection-client.ts');
  const { watchCluster } = await import('./cluster/api-watch.ts');
  const { EventRecorder } = await import('./cluster/events-client.ts');
  const connection = await openApiConnection({
    ...(config.kubeconfig === '' ? {} : { kubeconfig: config.kubeconfig }),
    ...(config.apiServer === '' ? {} : { server: config.apiServer }),
    env: process.env,
  });
  const store = new FactStore(nodeName);
  const delayMs = (failures: number) => delayAfter(failures, Math.random(), API_BACKOFF);
  const request: ClusterAccess['request'] = (method, path, options) =>
    connection.request(method, path, options);
  return {
    store,
    events: new EventRecorder({ request, node: nodeName }),
    get server() {
      return connection.server;
    },
    request,
    watch: (told, signal) =>
      watchCluster(connection, store, { nodeName, delayAfter: delayMs, ...told }, signal),
    [Symbol.dispose]: () => connection[Symbol.dispose](),
  };
}

/** The address controller. Loaded here: no other verb needs any of it. */
export const openLoadBalancer: CliContext['openLoadBalancer'] = async (config, name, hooks) => {
  const host = await import('./load-balancer-host.ts');
  return host.openLoadBalancer(config, name, hooks);
};
