import { expectedByRule } from '../traffic/expected-by-rule.ts';
import type { LabPlan } from '../traffic/lab-plan.ts';
import { balancingNode, type Cell, clientOf, destinationOf } from '../traffic/matrix.ts';
import { servingPods } from '../traffic/services.ts';
import { always, mapResults, NO_ANSWER, type Results, resultsOf } from './compare-results.ts';

/** A cell, with all that decides on what kube-proxy makes of it. */
interface Situation {
  readonly lab: LabPlan;
  readonly cell: Cell;
  /** Whether the client is the node that balances, or a pod of it. */
  readonly inside: boolean;
  /** Whether there is an endpoint on that node, and one elsewhere. */
  readonly hasLocal: boolean;
  readonly hasRemote: boolean;
}

/** A way in which kube-proxy's IPVS mode differs from svcplane. */
export interface DifferenceClass {
  readonly name: string;
  /** What kube-proxy does, and why svcplane does not. Markdown. */
  readonly reason: string;
  covers(situation: Situation): boolean;
  /** What becomes of a covered cell's connections with kube-proxy. */
  withKubeProxy(situation: Situation): Results;
}

/** Of a cell at most the first that covers it. */
export const DIFFERENCE_CLASSES: readonly DifferenceClass[] = [
  {
    name: '`internalTrafficPolicy: Local`, no endpoint on the node',
    reason:
      'Of a Service that can be reached from outside, kube-proxy takes the endpoints of other nodes when the node has none. Local means this node: svcplane refuses.',
    covers: ({ cell, hasLocal, hasRemote }) =>
      cell.frontend === 'ClusterIP' && cell.internal === 'Local' && !hasLocal && hasRemote,
    withKubeProxy: ({ lab, cell }) => byRule(lab, { ...cell, internal: 'Cluster' }),
  },
  {
    name: '`externalTrafficPolicy: Local`, an outside client, no endpoint on the node',
    reason:
      'kube-proxy sends to another node without masquerading, and the client does not recognise the answer. svcplane refuses at once, so that the client can try another node.',
    covers: (situation) => {
      const { cell, inside, hasLocal, hasRemote } = situation;
      return isLocal(cell) && !inside && !hasLocal && hasRemote && !isCaught(situation);
    },
    withKubeProxy: () => always(NO_ANSWER),
  },
  {
    name: '`externalTrafficPolicy: Local`, the node itself, no endpoint on it',
    reason:
      'A host sends to an address that is bound to it from that very address. kube-proxy does not masquerade for policy Local, so that the answer of another node goes astray. svcplane masquerades: the source must not be the VIP.',
    covers: ({ cell, hasLocal, hasRemote }) => isHostToVip(cell) && !hasLocal && hasRemote,
    withKubeProxy: () => always(NO_ANSWER),
  },
  {
    name: '`externalTrafficPolicy: Local`, the node itself, an endpoint on it',
    reason:
      'As before, but the answer comes back: the endpoint sees the VIP as its client, and is the only one that is asked. svcplane masquerades, and gives clients inside the cluster every endpoint.',
    covers: ({ cell, hasLocal }) => isHostToVip(cell) && hasLocal,
    withKubeProxy: ({ lab, cell }) => {
      const { address } = destinationOf(lab, cell);
      const toLocal = byRule(lab, { ...cell, endpoints: 'local' });
      return mapResults(toLocal, (text) => `${text.split(' ')[0]} seeing ${address}`);
    },
  },
  {
    name: '`externalTrafficPolicy: Local`, a client on the node, endpoints there and elsewhere',
    reason:
      'One virtual server cannot tell clients apart, so that kube-proxy gives all of them the local endpoints. Policy Local is for clients outside: svcplane marks those inside, and they get every endpoint, as in the iptables and nftables modes of kube-proxy.',
    covers: ({ cell, inside, hasLocal, hasRemote }) => isLocal(cell) && inside && hasLocal && hasRemote,
    withKubeProxy: ({ lab, cell }) => byRule(lab, { ...cell, endpoints: 'local' }),
  },
  {
    name: "a node's address as externalIP, asked for by a pod of another node",
    reason:
      "kube-proxy binds the address on every node, so that the pod's own node answers, as for an address of no node. svcplane leaves it to the node that has it, where the pod is a client from outside.",
    covers: isCaught,
    // As an externalIP that is no node's address.
    withKubeProxy: ({ lab, cell }) => byRule(lab, { ...cell, frontend: 'externalIP' }),
  },
  {
    name: "a node's address as externalIP, an endpoint on another node",
    reason:
      "As before: the other nodes take the node's address for their own, and nothing that they send to the node arrives. svcplane binds no address that another Node has.",
    covers: ({ cell, hasLocal, hasRemote }) =>
      cell.frontend === 'externalIP-of-node' && hasRemote && (cell.external === 'Cluster' || !hasLocal),
    withKubeProxy: ({ lab, cell }) => {
      const node = balancingNode(lab, cell);
      const local = servingPods(lab, cell.endpoints).filter((pod) => pod.node === node.name);
      const isOfLocal = (text: string) => local.some(({ name }) => text.startsWith(`${name} `));
      return mapResults(byRule(lab, cell), (text) => (isOfLocal(text) ? text : NO_ANSWER));
    },
  },
];

/** One cell as svcplane has it, and as kube-proxy does. */
export interface ComparedCell {
  readonly cell: Cell;
  readonly ours: Results;
  readonly theirs: Results;
  /** What explains any difference between both. */
  readonly difference: DifferenceClass | undefined;
}

/** Decides by the dimensions of a cell alone: what traffic.kernel.test.ts asks svcplane, kube-proxy is to be asked. */
export function compareCell(lab: LabPlan, cell: Cell): ComparedCell {
  const node = balancingNode(lab, cell);
  const client = clientOf(lab, cell);
  const serving = servingPods(lab, cell.endpoints);
  const situation: Situation = {
    lab,
    cell,
    inside: client === node || node.pods.some((pod) => pod === client),
    hasLocal: serving.some((pod) => pod.node === node.name),
    hasRemote: serving.some((pod) => pod.node !== node.name),
  };
  const ours = byRule(lab, cell);
  const difference = DIFFERENCE_CLASSES.find(({ covers }) => covers(situation));
  return { cell, ours, theirs: difference?.withKubeProxy(situation) ?? ours, difference };
}

function byRule(lab: LabPlan, cell: Cell): Results {
  return resultsOf(expectedByRule(lab, cell));
}

function isLocal({ frontend, external }: Cell): boolean {
  return frontend !== 'ClusterIP' && external === 'Local';
}

function isHostToVip(cell: Cell): boolean {
  const isVip = cell.frontend === 'externalIP' || cell.frontend === 'LoadBalancer';
  return isLocal(cell) && isVip && cell.client === 'this-node';
}

/**
 * Whether the pod's own node takes what is for another one. With policy Local that makes no difference where the other
 * one has all the endpoints.
 */
function isCaught({ cell, hasRemote }: Situation): boolean {
  const isOfOtherNode = cell.frontend === 'externalIP-of-node' && cell.client === 'pod-on-other-node';
  return isOfOtherNode && cell.endpoints !== 'none' && (cell.external === 'Cluster' || hasRemote);
}
