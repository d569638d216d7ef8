import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../probe.ts';
import { type ApiAccess, kubeconfigOf } from './api-server.ts';
import { pathOf } from './binaries.ts';

/** kubectl with access to one API server. Disposing of it removes its directory. */
export interface Kubectl extends Disposable {
  /** Runs it to its end. @returns its standard output @throws CommandError if it ends with another code than 0 */
  (args: readonly string[], input?: string): string;
  /** `kubectl apply` of objects. */
  apply(objects: readonly object[]): void;
  /** `kubectl delete` of objects, waits until they are gone. Endpoints may be so already, with their Service. */
  delete(objects: readonly object[]): void;
}

/** The command line of whoever works with a cluster, here as `access` says. */
export function openKubectl(access: ApiAccess): Kubectl {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-kubectl-'));
  const kubeconfig = join(directory, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigOf(access));
  const program = [pathOf('kubectl'), '--kubeconfig', kubeconfig, '--cache-dir', join(directory, 'cache')];
  const kubectl = (args: readonly string[], input?: string) => run([...program, ...args], input);
  const listOf = (items: readonly object[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
  return Object.assign(kubectl, {
    apply: (objects: readonly object[]) => void kubectl(['apply', '-f', '-'], listOf(objects)),
    delete: (objects: readonly object[]) =>
      void kubectl(['delete', '--ignore-not-found', '-f', '-'], listOf(objects)),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  });
}
