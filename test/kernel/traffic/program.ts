import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { FAMILIES } from './dual-stack.ts';
import { CLUSTER_CIDRS, type PlannedNode } from './lab-plan.ts';
import { SERVICE_CIDRS } from './services.ts';
import type { Lab, LabNode } from './topology.ts';

/** Makes one node do what a manifest says; svcplane here, kube-proxy to compare it with. @param manifest path */
export type ProgramNode = (lab: Lab, node: LabNode, manifest: string) => void;

const SVCPLANE = join(import.meta.dirname, '../../../scripts/svcplane');

/** One `svcplane apply`, in the node's network namespace. */
export const applySvcplane: ProgramNode = (lab, node, manifest) => {
  const config = join(lab.directory, `${node.name}.json`);
  const header = { apiVersion: 'svcplane.io/v1alpha1', kind: 'SvcplaneConfiguration' };
  const stateDirectory = join(lab.directory, node.name);
  writeFileSync(config, JSON.stringify({ ...header, ...svcplaneConfig(node), stateDirectory }));
  node.run([SVCPLANE, 'apply', '-f', manifest, '--config', config]);
};

/** What svcplane has to be told on a node of the lab, as in its configuration file. */
export function svcplaneConfig(node: PlannedNode) {
  return {
    nodeName: node.name,
    serviceCIDRs: FAMILIES.map((family) => SERVICE_CIDRS[family]),
    clusterCIDRs: FAMILIES.map((family) => CLUSTER_CIDRS[family]),
  };
}
