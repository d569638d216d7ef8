import type { EndpointFacts, EndpointSliceFacts, ServicePortFacts } from '../cluster/facts.ts';
import type { IpFamily } from '../model/address.ts';
import type { Port } from '../model/port.ts';
import { compareRealServers, type RealServer, realServerKey } from '../model/virtual-server.ts';

/** Where this node stands among the endpoints. */
export interface Locality {
  readonly node: string;
  readonly zone: string | null;
}

/** One endpoint of a Service port, with the number it listens on there. */
export interface Candidate {
  readonly endpoint: EndpointFacts;
  readonly port: Port;
  /** The object that names it. */
  readonly origin: string;
  readonly local: boolean;
}

export type TopologyFilter = 'none' | 'node hints' | 'zone hints';

/** The two lists that traffic policies choose between; each sorted by address, then port. */
export interface EndpointChoice {
  readonly cluster: readonly RealServer[];
  readonly local: readonly RealServer[];
  /** Which hints narrowed the cluster list. */
  readonly filter: TopologyFilter;
  /** Local endpoints that are ready: what a health check node port counts. */
  readonly localReady: number;
}

/**
 * The endpoints of one Service port in one family: slices joined by port name and protocol, each address and port
 * once. Of two entries for one address and port the local one stands, else the first.
 */
export function candidatesOf(
  slices: readonly EndpointSliceFacts[],
  servicePort: ServicePortFacts,
  family: IpFamily,
  node: string,
): readonly Candidate[] {
  const candidates = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const { name, protocol, port } of slice.ports) {
      if (name !== servicePort.name || protocol !== servicePort.protocol) continue;
      for (const endpoint of slice.endpoints) {
        const key = realServerKey({ address: endpoint.address, port });
        const local = endpoint.nodeName === node;
        if (!candidates.has(key) || (local && !candidates.get(key)?.local)) {
          candidates.set(key, { endpoint, port, origin: slice.origin, local });
        }
      }
    }
  }
  return [...candidates.values()];
}

/**
 * Chooses among candidates: ready ones (the cluster list after the topology filter), or, where none is ready, those
 * that terminate but still serve. The local list knows no topology: it is already as near as can be.
 */
export function chooseEndpoints(candidates: readonly Candidate[], locality: Locality): EndpointChoice {
  const ready = candidates.filter(({ endpoint }) => endpoint.ready);
  const filter = topologyFilter(ready, locality);
  const near = ready.filter(({ endpoint }) => isHinted(endpoint, filter, locality));
  const localReady = ready.filter(({ local }) => local);
  const lastOnes = ready.length === candidates.length ? [] : candidates.filter(isServingWhileTerminating);
  const localLastOnes = lastOnes.filter(({ local }) => local);
  return {
    cluster: realServers(near.length > 0 ? near : lastOnes),
    local: realServers(localReady.length > 0 ? localReady : localLastOnes),
    filter,
    localReady: localReady.length,
  };
}

/** Whether an endpoint may stand in where no endpoint is ready. */
export function isServingWhileTerminating({ endpoint }: Candidate): boolean {
  return endpoint.serving && endpoint.terminating;
}

/** Whether `filter` lets this node use the endpoint. */
export function isHinted(endpoint: EndpointFacts, filter: TopologyFilter, locality: Locality): boolean {
  if (filter === 'node hints') return endpoint.nodeHints?.includes(locality.node) ?? false;
  if (filter === 'zone hints')
    return locality.zone !== null && (endpoint.zoneHints?.includes(locality.zone) ?? false);
  return true;
}

/** Hints count only if every ready endpoint carries them and one of them names us. */
function topologyFilter(ready: readonly Candidate[], locality: Locality): TopologyFilter {
  const applies = (filter: TopologyFilter, hints: 'nodeHints' | 'zoneHints'): boolean =>
    ready.every(({ endpoint }) => endpoint[hints] !== null) &&
    ready.some(({ endpoint }) => isHinted(endpoint, filter, locality));
  if (applies('node hints', 'nodeHints')) return 'node hints';
  if (applies('zone hints', 'zoneHints')) return 'zone hints';
  return 'none';
}

const DEFAULT_WEIGHT = 1;

function realServers(candidates: readonly Candidate[]): readonly RealServer[] {
  return candidates
    .map(({ endpoint, port, origin, local }) => ({
      address: endpoint.address,
      port,
      weight: DEFAULT_WEIGHT,
      local,
      origin,
    }))
    .sort(compareRealServers);
}
