import { join } from 'node:path';
import { FAMILIES } from './dual-stack.ts';
import { SERVICE_CIDRS } from './services.ts';
import { CLUSTER_CIDRS, type Lab, type LabNode } from './topology.ts';

/** Makes one node do what a manifest says; svcplane here, kube-proxy to compare it with. */
export type ProgramNode = (lab: Lab, node: LabNode, manifest: string) => void;

const SVCPLANE = join(import.meta.dirname, '../../../scripts/svcplane');

/** One `svcplane apply`, in the node's network namespace. @param manifest path of the file */
export const applySvcplane: ProgramNode = (lab, node, manifest) => {
  node.run([SVCPLANE, 'apply', '-f', manifest, ...svcplaneFlags(lab, node)]);
};

/** What svcplane has to be told on a node of the lab, whatever the verb. */
export function svcplaneFlags(lab: Lab, node: LabNode): readonly string[] {
  const list = (ranges: Readonly<Record<string, string>>) =>
    FAMILIES.map((family) => ranges[family]).join(',');
  // Else it would bind an externalIP that is another node's address, and lose that node.
  const others = lab.nodes
    .filter((other) => other !== node)
    .flatMap(({ addresses }) => [`${addresses.IPv4}/32`, `${addresses.IPv6}/128`]);
  return [
    ...['--node', node.name],
    ...['--state-directory', join(lab.directory, node.name)],
    ...['--service-cidrs', list(SERVICE_CIDRS)],
    ...['--cluster-cidrs', list(CLUSTER_CIDRS)],
    ...['--exclude-cidrs', others.join(',')],
  ];
}
