import { decodeObjects } from '../../../src/cluster/decode.ts';
import { parseConfig } from '../../../src/config.ts';
import { derive, nodeContext } from '../../../src/desired/derive.ts';
import type { IpAddress } from '../../../src/model/address.ts';
import { prepareTrace, type Trace, type TraceRows } from '../../../src/trace/trace.ts';
import { traceRowsOf } from '../../trace/build.ts';
import { FAMILIES } from './dual-stack.ts';
import type { Answer, Expectation } from './expectation.ts';
import { type Attached, type LabPlan, type PlannedNode, podsOf } from './lab-plan.ts';
import { type Cell, clientOf, destinationOf } from './matrix.ts';
import { svcplaneConfig } from './program.ts';
import { objectsOf, TARGET_PORT } from './services.ts';

/** What svcplane's own tracer says of a cell, with its reasons. */
export interface TracedCell {
  readonly expectation: Expectation;
  readonly steps: readonly string[];
}

interface TracedNode {
  readonly node: PlannedNode;
  readonly rows: TraceRows;
  readonly trace: ReturnType<typeof prepareTrace>;
}

/**
 * Follows the connections of cells from node to node, on each by the rows that svcplane wants there. Looks at no kernel.
 */
export function cellTracer(lab: LabPlan): (cell: Cell) => TracedCell {
  const nodes = lab.nodes.map((node): TracedNode => {
    const rows = rowsOf(lab, node);
    return { node, rows, trace: prepareTrace(rows) };
  });
  return (cell) => {
    const client = clientOf(lab, cell);
    const { address } = destinationOf(lab, cell);
    const steps: string[] = [];
    for (const traced of waysOf(nodes, client, address)) {
      const { ended, source } = traceOn(lab, traced, client, cell);
      steps.push(...ended.steps.map((step) => `${traced.node.name}: ${step}`));
      if (ended.verdict !== 'passed') {
        return { steps, expectation: expectationOf(lab, traced, ended, source, cell) };
      }
    }
    return { steps, expectation: { kind: 'silence' } };
  };
}

function rowsOf(lab: LabPlan, node: PlannedNode): TraceRows {
  const fields = svcplaneConfig(node);
  const config = parseConfig(fields, node.name);
  const hostAddresses = [node.addresses, node.gateway].flatMap((pair) =>
    FAMILIES.map((family) => pair[family]),
  );
  const options = { ...config, node: node.name, nodeAddresses: null, hostAddresses };
  const facts = decodeObjects(objectsOf(lab), node.name);
  return traceRowsOf(derive(facts, nodeContext(facts, options)).desired, fields);
}

/** The nodes that a packet may meet: the client's own, then the one it is for; what is no node's goes to the first. */
function waysOf(
  nodes: readonly TracedNode[],
  client: Attached,
  destination: IpAddress,
): readonly TracedNode[] {
  const own = nodes.find(({ node }) => node === client || node.pods.some((pod) => pod === client));
  const owner =
    nodes.find(({ node }) => FAMILIES.some((family) => node.addresses[family] === destination)) ?? nodes[0];
  return [own, owner].filter((node, i, all) => node !== undefined && all.indexOf(node) === i) as TracedNode[];
}

function traceOn(
  lab: LabPlan,
  { node, rows, trace }: TracedNode,
  client: Attached,
  cell: Cell,
): { readonly ended: Trace; readonly source: IpAddress } {
  const { address: destination, port } = destinationOf(lab, cell);
  const fromHost = client === node;
  // A host sends to an address that is bound to it from that very address.
  const source =
    fromHost && rows.addresses.addresses.has(destination) ? destination : client.addresses[cell.family];
  const incomingLink = fromHost ? undefined : node.pods.some((pod) => pod === client) ? 'cni0' : 'eth0';
  const ended = trace({ source, destination, protocol: cell.protocol, port, fromHost, incomingLink });
  return { ended, source };
}

function expectationOf(
  lab: LabPlan,
  { node, rows }: TracedNode,
  { verdict, candidates, virtualServer }: Trace,
  source: IpAddress,
  { family }: Cell,
): Expectation {
  // No process of a node listens in the lab.
  if (verdict === 'refused' || verdict === 'delivered') return { kind: 'refused' };
  const config = virtualServer === null ? undefined : rows.ipvs.virtualServers.get(virtualServer)?.config;
  if (verdict !== 'balanced' || !config) return { kind: 'silence' };
  if (candidates.some(({ stoppedBy }) => stoppedBy !== null)) return { kind: 'silence' };
  // Nobody listens but on the target port, which a virtual server may miss.
  if (candidates.some(({ port }) => port !== TARGET_PORT)) return { kind: 'refused' };
  return {
    kind: 'answered',
    oneServer: config.persistenceTimeoutSeconds !== null || BY_SOURCE.includes(config.scheduler),
    answers: candidates.map(({ address, masquerade }): Answer => {
      const server = podsOf(lab).find((pod) => pod.addresses[family] === address);
      if (!server) throw new RangeError(`${address} is no pod of the lab`);
      const wayOut = server.node === node.name ? node.gateway : node.addresses;
      return { server: server.name, source: masquerade === null ? source : wayOut[family] };
    }),
  };
}

/** Schedulers that give one client one server. */
const BY_SOURCE: readonly string[] = ['sh', 'mh'];
