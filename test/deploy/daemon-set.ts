import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import * as v from 'valibot';

const FILE = join(import.meta.dirname, '../../deploy/kustomize/daemonset.yaml');

const container = v.object({
  name: v.string(),
  command: v.optional(v.array(v.string()), []),
  args: v.optional(v.array(v.string()), []),
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

/** The two containers of the DaemonSet in the kustomize base. */
export function readContainers(): { readonly sysctls: ContainerSpec; readonly svcplane: ContainerSpec } {
  const { spec } = v.parse(schema, load(readFileSync(FILE, 'utf8')));
  const [sysctls] = spec.template.spec.initContainers;
  const [svcplane] = spec.template.spec.containers;
  return { sysctls, svcplane };
}
