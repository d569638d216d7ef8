import type { IpAddress, IpFamily } from '../../../src/model/address.ts';
import type { Protocol } from '../../../src/model/port.ts';
import { FAMILIES } from './dual-stack.ts';
import type { Attached, LabPlan, PlannedNode } from './lab-plan.ts';
import {
  ENDPOINTS,
  type Endpoints,
  endpointPods,
  POLICIES,
  PROTOCOLS,
  serviceFor,
  type Variant,
} from './services.ts';
import type { Request } from './sockets.ts';

/**
 * Who asks. "This node" is the first one, where local endpoints are; the pod on another node is on the last one,
 * which has none.
 */
export const CLIENTS = [
  'outside',
  'this-node',
  'pod-on-this-node',
  'pod-on-other-node',
  'endpoint-itself',
] as const;
export type ClientKind = (typeof CLIENTS)[number];

/** What is asked. A NodePort's "own" node is the client's, and the first one for the host outside. */
export const FRONTENDS = [
  'ClusterIP',
  'NodePort-own-node',
  'NodePort-other-node',
  'externalIP',
  'externalIP-of-node',
  'LoadBalancer',
] as const;
export type FrontendKind = (typeof FRONTENDS)[number];

/** One question to the dataplane: does this client reach the right servers through this frontend, and as whom? */
export interface Cell extends Variant {
  /** Says it all: `outside/LoadBalancer/ext=Local,int=Cluster/both/IPv6/SCTP/affinity`. */
  readonly id: string;
  readonly client: ClientKind;
  readonly frontend: FrontendKind;
  readonly family: IpFamily;
  readonly protocol: Protocol;
  /** How many connections show all that there is to see. */
  readonly connections: number;
}

/**
 * The whole matrix. Both policies vary on every frontend, though only one of them counts there: the other must make
 * no difference.
 */
export const MATRIX: readonly Cell[] = CLIENTS.flatMap((client) =>
  FRONTENDS.flatMap((frontend) =>
    POLICIES.flatMap((external) =>
      POLICIES.flatMap((internal) =>
        ENDPOINTS.filter((endpoints) => meansSomething(client, endpoints)).flatMap((endpoints) =>
          FAMILIES.flatMap((family) =>
            PROTOCOLS.flatMap((protocol) =>
              [false, true].map((affinity) =>
                cellOf({ client, frontend, external, internal, endpoints, family, protocol, affinity }),
              ),
            ),
          ),
        ),
      ),
    ),
  ),
);

/** The endpoint itself must be one: of a Service with no local endpoint it is just a pod on this node. */
function meansSomething(client: ClientKind, endpoints: Endpoints): boolean {
  return client !== 'endpoint-itself' || ['local', 'both', 'terminating'].includes(endpoints);
}

function cellOf(cell: Omit<Cell, 'id' | 'connections'>): Cell {
  const { client, frontend, external, internal, endpoints, family, protocol, affinity } = cell;
  const policies = `ext=${external},int=${internal}`;
  const parts = [client, frontend, policies, endpoints, family, protocol, ...(affinity ? ['affinity'] : [])];
  return { ...cell, id: parts.join('/'), connections: connectionsFor(cell) };
}

/** Round robin shows two servers within two connections, and which of them is first must not count. */
function connectionsFor({ endpoints, affinity }: Pick<Cell, 'endpoints' | 'affinity'>): number {
  if (endpoints !== 'both') return 1;
  return affinity ? 3 : 4;
}

/**
 * A part of the matrix, always the same, that has every value of every dimension many times, also in pairs: each
 * `every`-th cell. 11 is prime to the number of values of each dimension, so that the steps pass through all of them.
 */
export function sample(cells: readonly Cell[], every = 11): readonly Cell[] {
  return cells.filter((_, i) => i % every === 0);
}

/** Where a client sits. */
export function clientOf(lab: LabPlan, { client }: Pick<Cell, 'client'>): Attached {
  const [first, last] = ends(lab);
  switch (client) {
    case 'outside':
      return lab.outside;
    case 'this-node':
      return first;
    case 'pod-on-this-node':
      return lastPod(first);
    case 'pod-on-other-node':
      return lastPod(last);
    case 'endpoint-itself':
      return endpointPods(lab).local;
    default:
      return client satisfies never;
  }
}

/** The node that balances a cell's connections: the client's own, unless the address is another node's. */
export function balancingNode(
  lab: LabPlan,
  { client, frontend }: Pick<Cell, 'client' | 'frontend'>,
): PlannedNode {
  const [first, last, second] = ends(lab);
  const own = client === 'pod-on-other-node' ? last : first;
  switch (frontend) {
    case 'NodePort-other-node':
      return own === first ? second : first;
    case 'externalIP-of-node':
      return first;
    case 'ClusterIP':
    case 'NodePort-own-node':
    case 'externalIP':
    case 'LoadBalancer':
      return own;
    default:
      return frontend satisfies never;
  }
}

/** Address and port that a cell's client connects to. */
export function destinationOf(
  lab: LabPlan,
  cell: Cell,
): { readonly address: IpAddress; readonly port: number } {
  const { clusterIP, externalIP, vip, port, nodePort } = serviceFor(cell);
  const node = balancingNode(lab, cell);
  switch (cell.frontend) {
    case 'ClusterIP':
      return { address: clusterIP[cell.family], port };
    case 'NodePort-own-node':
    case 'NodePort-other-node':
      return { address: node.addresses[cell.family], port: nodePort };
    case 'externalIP':
      return { address: externalIP[cell.family], port };
    case 'externalIP-of-node':
      return { address: node.addresses[cell.family], port };
    case 'LoadBalancer':
      return { address: vip[cell.family], port };
    default:
      return cell.frontend satisfies never;
  }
}

/** The connections of a cell. */
export function requestsOf(lab: LabPlan, cell: Cell): readonly Request[] {
  const { address: destination, port } = destinationOf(lab, cell);
  const { namespace } = clientOf(lab, cell);
  return Array.from({ length: cell.connections }, () => ({
    namespace,
    destination,
    port,
    protocol: cell.protocol,
  }));
}

/** The first node, the last, and the second. */
function ends(lab: LabPlan): readonly [PlannedNode, PlannedNode, PlannedNode] {
  const [first, second, last] = [lab.nodes[0], lab.nodes[1], lab.nodes.at(-1)];
  if (!first || !second || !last || lab.nodes.length < 3) throw new RangeError('the lab has no three nodes');
  return [first, last, second];
}

function lastPod({ name, pods }: PlannedNode): Attached {
  const pod = pods.at(-1);
  if (!pod || pods.length < 2) throw new RangeError(`${name} has no two pods`);
  return pod;
}
