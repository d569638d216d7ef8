import type { ClusterFacts } from '../src/cluster/facts.ts';
import { compareRejected } from '../src/model/rejected.ts';

/** What can be compared: without identity and without the order that a map or a list of reasons happens to have. */
export function comparableFacts({
  services,
  slices,
  node,
  otherNodes,
  serviceCIDRs,
  rejected,
}: ClusterFacts) {
  const byKey = <T>(map: ReadonlyMap<string, T>) => Object.fromEntries([...map].sort());
  return {
    services: byKey(services),
    slices: byKey(slices),
    node,
    otherNodes: byKey(otherNodes),
    serviceCIDRs,
    rejected: [...rejected].sort(compareRejected),
  };
}
