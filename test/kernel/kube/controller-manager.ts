import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ApiAccess, kubeconfigOf } from './api-server.ts';
import { pathOf } from './binaries.ts';
import { startDaemon } from './daemon.ts';

/** What makes endpoints, and nothing else. @see cmd/kube-controller-manager/names/controller_names.go */
const CONTROLLERS = [
  'endpoints-controller',
  'endpointslice-controller',
  'endpointslice-mirroring-controller',
];
const PORT = 10257;
/** It takes 2 s on a good processor, and minutes on an emulated one. */
const READY_MS = 600_000;

/** kube-controller-manager, as the administrator. */
export interface ControllerManager extends AsyncDisposable {
  /** The end of what it has printed. */
  log(): string;
}

/**
 * Starts kube-controller-manager with the controllers that make EndpointSlices, and Endpoints, of Services with
 * selectors and of hand-made Endpoints; in this network namespace, on a port of its loopback. Waits until they run.
 * @throws Error if it does not get so far, with the end of its log
 */
export async function startControllerManager(apiServer: ApiAccess): Promise<ControllerManager> {
  await using started = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-controllers-'));
  started.defer(() => rmSync(directory, { recursive: true, force: true }));
  const kubeconfig = join(directory, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigOf(apiServer));
  const manager = started.use(
    await startDaemon([
      pathOf('kube-controller-manager'),
      `--kubeconfig=${kubeconfig}`,
      `--controllers=${CONTROLLERS.join(',')}`,
      '--leader-elect=false',
      `--cert-dir=${join(directory, 'pki')}`,
      '--bind-address=127.0.0.1',
      `--secure-port=${PORT}`,
    ]),
  );
  await manager.ready(isHealthy, READY_MS);
  const parts = started.move();
  return { log: manager.log, [Symbol.asyncDispose]: () => parts.disposeAsync() };
}

/** Its own word, with a certificate that it has signed itself. */
function isHealthy(): boolean {
  const args = ['--silent', '--insecure', '--max-time', '10', `https://127.0.0.1:${PORT}/healthz`];
  return spawnSync('curl', args, { encoding: 'utf8' }).stdout === 'ok';
}
