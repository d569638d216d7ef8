import type { IpAddress } from '../../../src/model/address.ts';
import type { Expectation } from './expectation.ts';
import type { Attached, LabPlan, PlannedNode, Pod } from './lab-plan.ts';
import { balancingNode, type Cell, clientOf } from './matrix.ts';
import { type Policy, servingPods } from './services.ts';

/**
 * What must become of a cell's connections by the rules of Kubernetes alone: written without a look at svcplane's
 * code, so that the tracer and the kernel have something to agree with.
 */
export function expectedByRule(lab: LabPlan, cell: Cell): Expectation {
  const node = balancingNode(lab, cell);
  const client = clientOf(lab, cell);
  const place = placeOf(client, node);
  const policy = policyFor(cell, place);
  const servers = servingPods(lab, cell.endpoints).filter(
    (pod) => policy === 'Cluster' || pod.node === node.name,
  );
  if (servers.length === 0) return { kind: 'refused' };
  const masqueraded = isMasqueraded(cell, place);
  return {
    kind: 'answered',
    oneServer: cell.affinity,
    answers: servers.map((server) => ({
      server: server.name,
      source: (masqueraded || server === client ? nodeAddress : ownAddress)({ node, client, server, cell }),
    })),
  };
}

function isOfNode(place: Place): boolean {
  return place === 'node' || place === 'pod';
}

/** What a client is to the node that balances its connection. */
type Place = 'outside' | 'node' | 'pod' | 'pod of another node';

function placeOf(client: Attached, node: PlannedNode): Place {
  if (client === node) return 'node';
  if (node.pods.some((pod) => pod === client)) return 'pod';
  return 'node' in client ? 'pod of another node' : 'outside';
}

/**
 * A frontend outside the cluster has its policy for clients outside: what is on the node itself, node or pod, could
 * as well have used the ClusterIP. A pod of another node has come over the wire like any other.
 */
function policyFor({ frontend, external, internal }: Cell, place: Place): Policy {
  if (frontend === 'ClusterIP') return internal;
  return isOfNode(place) ? 'Cluster' : external;
}

function isMasqueraded({ frontend, external }: Cell, place: Place): boolean {
  if (frontend === 'ClusterIP') return place === 'node' || place === 'outside';
  if (external === 'Cluster') return true;
  // The node's own source towards an address that is bound here would be that address; of a node's address, and of
  // its NodePorts, the node's address is the right source.
  return place === 'node' && (frontend === 'externalIP' || frontend === 'LoadBalancer');
}

interface Seen {
  readonly node: PlannedNode;
  readonly client: Attached;
  readonly server: Pod;
  readonly cell: Cell;
}

/** The balancing node's address on the way to the server. */
function nodeAddress({ node, server, cell }: Seen): IpAddress {
  return (server.node === node.name ? node.gateway : node.addresses)[cell.family];
}

function ownAddress({ client, cell }: Seen): IpAddress {
  return client.addresses[cell.family];
}
