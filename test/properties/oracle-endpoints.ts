import { canonicalAddress, familyOfText } from './oracle-addresses.ts';
import type { RawApiObject, RawSlice } from './raw-objects.ts';

/** One address and port behind a Service port, as some object names it. */
export interface OracleEndpoint {
  readonly address: string;
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly local: boolean;
  readonly forNodes: readonly string[];
  readonly forZones: readonly string[];
}

export interface ServicePortName {
  readonly namespace: string;
  readonly service: string;
  readonly port: string;
  readonly protocol: string;
  readonly family: string;
}

/** Every endpoint of one Service port and family, one per ip:port, whatever its conditions. */
export function endpointsOf(
  wanted: ServicePortName,
  objects: readonly RawApiObject[],
  node: string,
): OracleEndpoint[] {
  const slices: RawSlice[] = [];
  for (const object of objects) {
    if (object.kind !== 'EndpointSlice') continue;
    const labels = object.metadata.labels ?? {};
    // Hidden by the label selector of the watch: to us it does not exist, also not as "a slice exists".
    if ('service.kubernetes.io/headless' in labels) continue;
    if ((object.metadata.namespace ?? 'default') !== wanted.namespace) continue;
    if (labels['kubernetes.io/service-name'] !== wanted.service) continue;
    slices.push(object);
  }
  slices.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const all = slices.length > 0 ? inSlices(slices, wanted, node) : inEndpoints(objects, wanted, node);
  return withoutDuplicates(all);
}

function inSlices(slices: readonly RawSlice[], wanted: ServicePortName, node: string): OracleEndpoint[] {
  const found: OracleEndpoint[] = [];
  for (const slice of slices) {
    if (slice.addressType !== wanted.family) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const first = endpoint.addresses[0];
      if (first === undefined || familyOfText(first) !== wanted.family) continue;
      for (const port of slice.ports ?? []) {
        if (port.name === null || port.name === undefined) continue;
        if (port.name !== wanted.port) continue;
        if ((port.protocol ?? 'TCP') !== wanted.protocol) continue;
        if (port.port === null || port.port === undefined || port.port === 0) continue;
        found.push({
          address: canonicalAddress(first),
          port: port.port,
          ready: endpoint.conditions?.ready ?? true,
          serving: endpoint.conditions?.serving ?? true,
          terminating: endpoint.conditions?.terminating ?? false,
          local: endpoint.nodeName === node,
          forNodes: (endpoint.hints?.forNodes ?? []).map((hint) => hint.name),
          forZones: (endpoint.hints?.forZones ?? []).map((hint) => hint.name),
        });
      }
    }
  }
  return found;
}

function inEndpoints(
  objects: readonly RawApiObject[],
  wanted: ServicePortName,
  node: string,
): OracleEndpoint[] {
  const found: OracleEndpoint[] = [];
  for (const object of objects) {
    if (object.kind !== 'Endpoints') continue;
    if ((object.metadata.namespace ?? 'default') !== wanted.namespace) continue;
    if (object.metadata.name !== wanted.service) continue;
    for (const subset of object.subsets ?? []) {
      const ready = (subset.addresses ?? []).map((address) => ({ address, ready: true }));
      const notReady = (subset.notReadyAddresses ?? []).map((address) => ({ address, ready: false }));
      for (const entry of [...ready, ...notReady]) {
        if (familyOfText(entry.address.ip) !== wanted.family) continue;
        for (const port of subset.ports ?? []) {
          if ((port.name ?? '') !== wanted.port) continue;
          if ((port.protocol ?? 'TCP') !== wanted.protocol) continue;
          if (!port.port) continue;
          found.push({
            address: canonicalAddress(entry.address.ip),
            port: port.port,
            ready: entry.ready,
            serving: true,
            terminating: false,
            local: entry.address.nodeName === node,
            forNodes: [],
            forZones: [],
          });
        }
      }
    }
  }
  return found;
}

/** Of one ip:port the local entry, else the first. */
function withoutDuplicates(all: readonly OracleEndpoint[]): OracleEndpoint[] {
  const kept = new Map<string, OracleEndpoint>();
  for (const endpoint of all) {
    const key = `${endpoint.address} ${endpoint.port}`;
    const other = kept.get(key);
    if (other === undefined || (endpoint.local && !other.local)) kept.set(key, endpoint);
  }
  return [...kept.values()];
}

/** Ready endpoints after the topology filter, else those serving and terminating. */
export function clusterList(
  endpoints: readonly OracleEndpoint[],
  node: string,
  zone: string | undefined,
): OracleEndpoint[] {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  if (ready.length === 0) return endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
  const forThisNode = ready.filter((endpoint) => endpoint.forNodes.includes(node));
  if (ready.every((endpoint) => endpoint.forNodes.length > 0) && forThisNode.length > 0) return forThisNode;
  const forThisZone = ready.filter((endpoint) => zone && endpoint.forZones.includes(zone));
  if (ready.every((endpoint) => endpoint.forZones.length > 0) && forThisZone.length > 0) return forThisZone;
  return ready;
}

/** Local ready endpoints, else the local ones serving and terminating; topology hints do not narrow it. */
export function localList(endpoints: readonly OracleEndpoint[]): OracleEndpoint[] {
  const local = endpoints.filter((endpoint) => endpoint.local);
  const ready = local.filter((endpoint) => endpoint.ready);
  if (ready.length > 0) return ready;
  return local.filter((endpoint) => endpoint.serving && endpoint.terminating);
}
