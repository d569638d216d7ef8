import {
  canonicalAddress,
  familyOfText,
  isInside,
  LINK_LOCAL,
  LOOPBACK,
  MULTICAST,
  UNSPECIFIED,
} from './oracle-addresses.ts';
import { clusterList, endpointsOf, localList, type OracleEndpoint } from './oracle-endpoints.ts';
import type { RawApiObject, RawNode, RawService, RawServicePort } from './raw-objects.ts';

/**
 * What Services mean on a node, said a second time: slowly, literally and without a line of src/, so that
 * the product can be held to it on objects nobody thought of.
 */

export interface OracleOptions {
  readonly node: string;
  readonly scheduler: string;
  readonly serviceCIDRs: readonly string[];
  readonly externalIPs: {
    readonly policy: 'allowAll' | 'allowList' | 'deny';
    readonly ranges: readonly string[];
  };
  /** CIDRs, or `primary`; empty is every address of the node. */
  readonly nodePortAddresses: readonly string[];
}

export interface OracleRow {
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  readonly scheduler: string;
  readonly persistenceTimeoutSeconds: number | null;
  readonly exposure: string;
  readonly service: string;
  readonly servicePort: string;
  /** `address port weight`, sorted. */
  readonly realServers: readonly string[];
  /** What clients inside the cluster reach, where policy Local restricts outside clients; else null. */
  readonly insideRealServers: readonly string[] | null;
}

export interface OracleState {
  /** Sorted by protocol, address and port as text. */
  readonly rows: readonly OracleRow[];
  /** Addresses that must be bound, sorted as text. */
  readonly bound: readonly string[];
}

const KERNEL_SCHEDULERS = 'rr wrr lc wlc lblc lblcr sh dh sed nq mh fo ovf twos'.split(' ');

/** Objects → every virtual server of the node. */
export function oracle(objects: readonly RawApiObject[], options: OracleOptions): OracleState {
  const services = servedServices(objects);
  services.sort((a, b) => ageOf(a) - ageOf(b) || (isNamedBefore(a, b) ? -1 : 1));
  const rows = new Map<string, OracleRow>();
  const bound = new Set<string>();
  for (const service of services) {
    for (const port of service.spec.ports ?? []) {
      for (const exposure of ['ClusterIP', 'LoadBalancer', 'ExternalIP', 'NodePort']) {
        for (const address of addressesOf(exposure, service, objects, options)) {
          const row = rowOf(exposure, address, port, service, objects, options);
          const key = `${row.protocol} ${row.address} ${row.port}`;
          if (row.port === 0 || rows.has(key)) continue;
          rows.set(key, row);
          if (exposure === 'NodePort') continue;
          const elsewhere = exposure !== 'ClusterIP' && allNodeAddresses(objects).includes(address);
          if (!elsewhere) bound.add(address);
        }
      }
    }
  }
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  return { rows: sorted, bound: [...bound].sort() };
}

/** Services that are ours and have a ClusterIP. */
function servedServices(objects: readonly RawApiObject[]): RawService[] {
  const services: RawService[] = [];
  for (const object of objects) {
    if (object.kind !== 'Service') continue;
    if ('service.kubernetes.io/service-proxy-name' in (object.metadata.labels ?? {})) continue;
    if (object.spec.type === 'ExternalName') continue;
    if (clusterIpsOf(object).length === 0) continue;
    services.push(object);
  }
  return services;
}

function clusterIpsOf(service: RawService): string[] {
  const { clusterIP, clusterIPs } = service.spec;
  const texts = clusterIPs?.length ? clusterIPs : [clusterIP];
  return texts.flatMap((text) => (text && text !== 'None' ? [canonicalAddress(text)] : []));
}

function nameOf(service: RawService): string {
  return `${service.metadata.namespace ?? 'default'}/${service.metadata.name}`;
}

/** By namespace, then by name. */
function isNamedBefore({ metadata: a }: RawService, { metadata: b }: RawService): boolean {
  const [one, other] = [a.namespace ?? 'default', b.namespace ?? 'default'];
  return one === other ? a.name < b.name : one < other;
}

/** Creation in ms; a Service that does not say is the youngest. */
function ageOf(service: RawService): number {
  const created = service.metadata.creationTimestamp;
  return created ? Date.parse(created) : Number.MAX_SAFE_INTEGER;
}

/** The addresses one exposure of a Service has on this node, of the Service's families only. */
function addressesOf(
  exposure: string,
  service: RawService,
  objects: readonly RawApiObject[],
  options: OracleOptions,
): string[] {
  const families = clusterIpsOf(service).map(familyOfText);
  return addressesOfAnyFamily(exposure, service, objects, options).filter((address) =>
    families.includes(familyOfText(address)),
  );
}

function addressesOfAnyFamily(
  exposure: string,
  service: RawService,
  objects: readonly RawApiObject[],
  options: OracleOptions,
): string[] {
  if (exposure === 'ClusterIP') return clusterIpsOf(service);
  if (exposure === 'ExternalIP') {
    return (service.spec.externalIPs ?? [])
      .map(canonicalAddress)
      .filter((address) => isExternalIpAllowed(address, service, objects, options));
  }
  if (exposure === 'LoadBalancer') {
    return (service.status?.loadBalancer?.ingress ?? [])
      .filter((ingress) => (ingress.ipMode ?? 'VIP') === 'VIP')
      .flatMap((ingress) => (ingress.ip ? [canonicalAddress(ingress.ip)] : []))
      .filter((address) => !isInside(address, [...LOOPBACK, ...MULTICAST, ...UNSPECIFIED]));
  }
  const wanted = options.nodePortAddresses;
  const own = nodeAddresses(objects, options);
  if (wanted.includes('primary')) return own;
  return own
    .filter((address) => !isInside(address, [...LOOPBACK, ...LINK_LOCAL]))
    .filter((address) => wanted.length === 0 || isInside(address, wanted));
}

function isExternalIpAllowed(
  address: string,
  service: RawService,
  objects: readonly RawApiObject[],
  options: OracleOptions,
): boolean {
  const { policy, ranges } = options.externalIPs;
  if (policy === 'deny') return false;
  if (policy === 'allowList' && !isInside(address, ranges)) return false;
  if (isInside(address, [...LOOPBACK, ...LINK_LOCAL, ...MULTICAST, ...UNSPECIFIED])) return false;
  if (isInside(address, clusterRanges(objects, options))) return false;
  return servedServices(objects).every(
    (other) => nameOf(other) === nameOf(service) || !clusterIpsOf(other).includes(address),
  );
}

/** The ranges of ClusterIPs: of the ServiceCIDR objects, else as configured. */
function clusterRanges(objects: readonly RawApiObject[], options: OracleOptions): readonly string[] {
  const served: string[] = [];
  for (const object of objects) {
    if (object.kind === 'ServiceCIDR') served.push(...object.spec.cidrs);
  }
  return served.length > 0 ? served : options.serviceCIDRs;
}

function ownNode(objects: readonly RawApiObject[], options: OracleOptions): RawNode | undefined {
  for (const object of objects) {
    if (object.kind === 'Node' && object.metadata.name === options.node) return object;
  }
  return undefined;
}

/** An address of any node is that node's: made local elsewhere, the node would be out of reach. */
function allNodeAddresses(objects: readonly RawApiObject[]): string[] {
  return objects.flatMap((object) => (object.kind === 'Node' ? addressesOfNode(object) : []));
}

/** The Node object's own addresses; a Hostname or DNS entry is none. */
function nodeAddresses(objects: readonly RawApiObject[], options: OracleOptions): string[] {
  return addressesOfNode(ownNode(objects, options));
}

function addressesOfNode(node: RawNode | undefined): string[] {
  const entries = node?.status?.addresses ?? [];
  return entries
    .filter((entry) => entry.type === 'InternalIP' || entry.type === 'ExternalIP')
    .map((entry) => canonicalAddress(entry.address));
}

function rowOf(
  exposure: string,
  address: string,
  port: RawServicePort,
  service: RawService,
  objects: readonly RawApiObject[],
  options: OracleOptions,
): OracleRow {
  const wanted = {
    namespace: service.metadata.namespace ?? 'default',
    service: service.metadata.name,
    port: port.name ?? '',
    protocol: port.protocol ?? 'TCP',
    family: familyOfText(address) ?? '',
  };
  const endpoints = endpointsOf(wanted, objects, options.node);
  const zone = ownNode(objects, options)?.metadata.labels?.['topology.kubernetes.io/zone'];
  const everywhere = rendered(clusterList(endpoints, options.node, zone));
  const here = rendered(localList(endpoints));
  const policy =
    exposure === 'ClusterIP' ? service.spec.internalTrafficPolicy : service.spec.externalTrafficPolicy;
  const elsewhere = allNodeAddresses(objects).includes(address);
  const isOwn = nodeAddresses(objects, options).includes(address);
  // Clients of another node's address are that node's.
  const external = exposure !== 'ClusterIP' && (isOwn || !elsewhere);
  return {
    address,
    port: exposure === 'NodePort' ? (port.nodePort ?? 0) : port.port,
    protocol: wanted.protocol,
    scheduler: schedulerOf(service, options),
    persistenceTimeoutSeconds: affinityOf(service),
    exposure,
    service: nameOf(service),
    servicePort: wanted.port,
    realServers: policy === 'Local' ? here : everywhere,
    insideRealServers: external && policy === 'Local' ? everywhere : null,
  };
}

function rendered(endpoints: readonly OracleEndpoint[]): string[] {
  return endpoints.map(({ address, port }) => `${address} ${port} 1`).sort();
}

function schedulerOf(service: RawService, options: OracleOptions): string {
  const named = service.metadata.annotations?.['svcplane.io/scheduler'];
  return named !== undefined && KERNEL_SCHEDULERS.includes(named) ? named : options.scheduler;
}

function affinityOf(service: RawService): number | null {
  if (service.spec.sessionAffinity !== 'ClientIP') return null;
  return service.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10800;
}
