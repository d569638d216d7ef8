import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { load, loadAll } from 'js-yaml';
import * as v from 'valibot';

const ROOT = join(import.meta.dirname, '../..');
const BASE = join(ROOT, 'deploy/kustomize');
/** A Helm that Go has built takes itself for one of an old Kubernetes. */
const KUBE_VERSION = '1.29.0';

const object = v.looseObject({
  apiVersion: v.string(),
  kind: v.string(),
  metadata: v.looseObject({ name: v.string(), namespace: v.optional(v.string()) }),
});

/** An object of deploy/, as far as every object is alike. */
export type DeployObject = v.InferOutput<typeof object>;

/** The components that there are beside the kustomize base. */
export type Component = 'announcing' | 'dashboard' | 'host-sysctls' | 'lb-controller' | 'pod-monitor';

/** The objects of the kustomize base, which needs no program: it is its resources as they are. */
export function kustomizeBase(): readonly DeployObject[] {
  return resourcesOf('.');
}

/** @param directory below deploy/kustomize, with a kustomization of resources alone */
function resourcesOf(directory: string): readonly DeployObject[] {
  const read = (file: string) => readFileSync(join(BASE, directory, file), 'utf8');
  const { resources } = v.parse(
    v.object({ resources: v.array(v.string()) }),
    load(read('kustomization.yaml')),
  );
  return resources.flatMap((file) => parseObjects(read(file)));
}

/** The objects of the component that gives load balancer addresses. */
export function lbControllerComponent(): readonly DeployObject[] {
  return resourcesOf('components/lb-controller');
}

/** The objects of a kustomization with the base and components. @param kubectl its path; it has kustomize in it */
export function kustomizeWith(kubectl: string, components: readonly Component[]): readonly DeployObject[] {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-kustomize-'));
  try {
    const within = join(directory, 'overlay');
    mkdirSync(within);
    const content = {
      resources: [relative(within, BASE)],
      components: components.map((name) => relative(within, join(BASE, 'components', name))),
    };
    writeFileSync(join(within, 'kustomization.yaml'), JSON.stringify(content));
    return parseObjects(output([kubectl, 'kustomize', within]));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** What scripts/test-kind makes in its cluster. @param kubectl its path */
export function testKindObjects(kubectl: string): readonly DeployObject[] {
  const files = join(ROOT, 'scripts/test-kind-files');
  const web = readFileSync(join(files, 'web.yaml'), 'utf8');
  return [...parseObjects(output([kubectl, 'kustomize', join(files, 'svcplane')])), ...parseObjects(web)];
}

/** The path of the Helm that scripts/build-deploy has built; undefined if it has not. */
export function builtHelm(): string | undefined {
  const { stdout } = spawnSync(join(ROOT, 'scripts/build-deploy'), ['--helm', '--if-cached'], {
    encoding: 'utf8',
  });
  return stdout.trim() || undefined;
}

/** Why what needs Helm is skipped where there is none. */
export const NO_HELM = 'no Helm: scripts/build-deploy --helm builds one';

/** What Helm makes of the chart. @param settings as of --set @throws Error with what Helm says */
export function helmChart(helm: string, settings: readonly string[] = []): readonly DeployObject[] {
  const chart = join(ROOT, 'deploy/helm/svcplane');
  const set = settings.flatMap((setting) => ['--set', setting]);
  const command = [helm, 'template', 'svcplane', chart, '--namespace', 'kube-system'];
  return parseObjects(output([...command, '--kube-version', KUBE_VERSION, ...set]));
}

function output([file = '', ...args]: readonly string[]): string {
  const { error, status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' });
  if (error || status !== 0)
    throw new Error(`Cannot run ${[file, ...args].join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

function parseObjects(text: string): readonly DeployObject[] {
  return loadAll(text).map((each) => v.parse(object, each));
}
