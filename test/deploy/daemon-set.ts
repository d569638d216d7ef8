import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import * as v from 'valibot';

const FILE = join(import.meta.dirname, '../../deploy/kustomize/daemonset.yaml');

const probe = v.object({ httpGet: v.object({ path: v.string(), port: v.string() }) });

const container = v.object({
  name: v.string(),
  command: v.optional(v.array(v.string()), []),
  args: v.optional(v.array(v.string()), []),
  ports: v.optional(v.array(v.object({ name: v.string(), containerPort: v.number() })), []),
  livenessProbe: v.optional(probe),
  readinessProbe: v.optional(probe),
  securityContext: v.object({
    privileged: v.optional(v.boolean(), false),
    readOnlyRootFilesystem: v.boolean(),
    capabilities: v.optional(v.object({ add: v.array(v.string()), drop: v.array(v.string()) })),
  }),
  volumeMounts: v.optional(
    v.array(v.object({ name: v.string(), mountPath: v.string(), readOnly: v.optional(v.boolean(), false) })),
    [],
  ),
});

const schema = v.object({
  spec: v.object({
    template: v.object({
      spec: v.object({ initContainers: v.tuple([container]), containers: v.tuple([container]) }),
    }),
  }),
});

/** What tests read of a container. */
export type ContainerSpec = v.InferOutput<typeof container>;

/** What the kubelet asks of a container, as URLs on the node. */
export function probeUrls({ ports, livenessProbe, readinessProbe }: ContainerSpec): readonly string[] {
  return [livenessProbe, readinessProbe].flatMap((each) => {
    if (!each) return [];
    const { path, port } = each.httpGet;
    return `http://127.0.0.1:${ports.find(({ name }) => name === port)?.containerPort}${path}`;
  });
}

/** The two containers of the DaemonSet in the kustomize base. */
export function readContainers(): { readonly sysctls: ContainerSpec; readonly svcplane: ContainerSpec } {
  const { spec } = v.parse(schema, load(readFileSync(FILE, 'utf8')));
  const [sysctls] = spec.template.spec.initContainers;
  const [svcplane] = spec.template.spec.containers;
  return { sysctls, svcplane };
}
