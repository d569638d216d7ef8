import { familyOf, type IpAddress, parseIpAddress } from '../model/address.ts';
import { type Cidr, parseCidr } from '../model/cidr.ts';
import { type Port, parsePort, parseProtocol } from '../model/port.ts';
import { parseScheduler, type Scheduler } from '../model/scheduler.ts';
import { parseDurationSeconds } from './duration.ts';
import type { ServiceFacts, ServicePortFacts, TrafficPolicy } from './facts.ts';
import {
  asObject,
  entryIn,
  isPossibleName,
  listIn,
  namespacedName,
  objectIn,
  type RawObject,
  type Reject,
  refused,
  shown,
  textIn,
} from './object-fields.ts';

/** Of kube-proxy and the API server alike. */
const DEFAULT_AFFINITY_SECONDS = 10_800;
const MAX_AFFINITY_SECONDS = 86_400;

const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';
const SCHEDULER_ANNOTATION = 'svcplane.io/scheduler';
const DRAIN_TIMEOUT_ANNOTATION = 'svcplane.io/drain-timeout';
const SOCKET_ANNOTATION = 'svcplane.io/socket-load-balancer';
/** A draining real server keeps memory in the kernel and an entry in the ledger: not for ever. */
const MAX_DRAIN_TIMEOUT_SECONDS = 86_400;

const EXTERNAL_NAME = 'type ExternalName is a DNS alias: nothing to do on a node';
const HEADLESS = 'headless (clusterIP None): DNS answers with the endpoints, nothing to do on a node';
const NOT_YET_ALLOCATED = 'has no clusterIP: not yet allocated';

/** Reasons to serve nothing that nobody has to do anything about: whoever made the Service means it so, or will go on. */
export const MATTERS_OF_COURSE: ReadonlySet<string> = new Set([EXTERNAL_NAME, HEADLESS, NOT_YET_ALLOCATED]);

const SERVICE_TYPES: readonly unknown[] = ['ClusterIP', 'NodePort', 'LoadBalancer'];

/**
 * Reads a core/v1 Service, filling in the API server's defaults.
 * @param reject receives one reason for each part that can't be used; the other parts are still read
 * @returns null if nothing of it belongs on a node
 */
export function decodeService(object: RawObject, reject: Reject): ServiceFacts | null {
  const identity = namespacedName(object);
  if (!identity) return refused(reject, 'has no metadata.name');
  const spec = objectIn(object, 'spec');
  const elsewhere = whyNotOurs(object, spec);
  if (elsewhere) return refused(reject, elsewhere);
  const clusterIPs = decodeClusterIPs(spec, reject);
  if (clusterIPs.length === 0) return refused(reject, 'has no usable clusterIP');
  const ports = listIn(spec, 'ports').flatMap((port) => decodePort(port, reject) ?? []);
  if (ports.length === 0) return refused(reject, 'has no usable port');
  return {
    namespace: identity.namespace,
    name: identity.name,
    createdAtMs: decodeTime(objectIn(object, 'metadata').creationTimestamp),
    clusterIPs,
    externalIPs: addressesOf(listIn(spec, 'externalIPs'), 'externalIP', clusterIPs, reject),
    ingressAddresses: decodeIngress(object, clusterIPs, reject),
    ports,
    persistenceTimeoutSeconds: decodeAffinity(spec, reject),
    internalTrafficPolicy: decodePolicy(spec, 'internalTrafficPolicy', reject),
    externalTrafficPolicy: decodePolicy(spec, 'externalTrafficPolicy', reject),
    healthCheckNodePort: decodeHealthCheckNodePort(spec, reject),
    loadBalancerSourceRanges: decodeSourceRanges(spec, reject),
    scheduler: decodeScheduler(object, reject),
    drainTimeoutSeconds: decodeDrainTimeout(object, reject),
    socketLoadBalancer: decodeSocketLoadBalancer(object, reject),
  };
}

function whyNotOurs(object: RawObject, spec: RawObject): string | undefined {
  const proxyName = entryIn(object, 'labels', PROXY_NAME_LABEL);
  if (proxyName !== undefined)
    return `belongs to another proxy: label ${PROXY_NAME_LABEL} is ${shown(proxyName)}`;
  const type = spec.type || 'ClusterIP';
  if (type === 'ExternalName') return EXTERNAL_NAME;
  if (!SERVICE_TYPES.includes(type)) return `type ${shown(type)} is none of ${SERVICE_TYPES.join(', ')}`;
  const first = listIn(spec, 'clusterIPs')[0] ?? spec.clusterIP;
  if (first === 'None') return HEADLESS;
  if (first === undefined || first === null || first === '') return NOT_YET_ALLOCATED;
  return undefined;
}

function decodeClusterIPs(spec: RawObject, reject: Reject): IpAddress[] {
  const listed = listIn(spec, 'clusterIPs');
  const texts = listed.length > 0 ? listed : [spec.clusterIP];
  const addresses: IpAddress[] = [];
  for (const text of texts) {
    const address = parseIpAddress(text);
    if (!address) reject(`clusterIP ${shown(text)} is not an IP address`);
    else if (addresses.some((other) => familyOf(other) === familyOf(address))) {
      reject(`clusterIP ${address} is a second one of family ${familyOf(address)}`);
    } else addresses.push(address);
  }
  return addresses;
}

/** Addresses of the families the Service has, without repetition. */
function addressesOf(
  texts: readonly unknown[],
  field: string,
  clusterIPs: readonly IpAddress[],
  reject: Reject,
): IpAddress[] {
  const families = new Set(clusterIPs.map(familyOf));
  const addresses = new Set<IpAddress>();
  for (const text of texts) {
    const address = parseIpAddress(text);
    if (!address) reject(`${field} ${shown(text)} is not an IP address`);
    else if (!families.has(familyOf(address))) {
      reject(`${field} ${address}: the Service has no ${familyOf(address)} clusterIP`);
    } else addresses.add(address);
  }
  return [...addresses];
}

function decodeIngress(object: RawObject, clusterIPs: readonly IpAddress[], reject: Reject): IpAddress[] {
  const entries = listIn(objectIn(objectIn(object, 'status'), 'loadBalancer'), 'ingress');
  const vips = entries.flatMap((entry) => {
    const { ip, ipMode } = asObject(entry) ?? {};
    const reachesTheNode = ip !== undefined && ip !== null && ip !== '';
    return reachesTheNode && (ipMode === undefined || ipMode === null || ipMode === 'VIP') ? [ip] : [];
  });
  return addressesOf(vips, 'load balancer address', clusterIPs, reject);
}

function decodePort(value: unknown, reject: Reject): ServicePortFacts | undefined {
  const raw = asObject(value);
  if (!raw) {
    reject(`port ${shown(value)} is not an object`);
    return undefined;
  }
  const name = textIn(raw, 'name') ?? '';
  if (!isPossibleName(name)) {
    reject(`port name ${shown(name)} is no name of a port`);
    return undefined;
  }
  const label = name === '' ? shown(raw.port) : `${name} (${shown(raw.port)})`;
  const protocol = parseProtocol(raw.protocol || 'TCP');
  const port = parsePort(raw.port);
  if (!port) reject(`port ${label} is not a number from 1 to 65535`);
  if (!protocol) reject(`port ${label}: protocol ${shown(raw.protocol)} is none of TCP, UDP, SCTP`);
  if (!port || !protocol) return undefined;
  const nodePort = optionalPort(raw.nodePort);
  if (nodePort === undefined)
    reject(`port ${label}: nodePort ${shown(raw.nodePort)} is not a number from 1 to 65535`);
  return { name, protocol, port, nodePort: nodePort ?? null };
}

/** null where there is none (absent or 0); undefined if malformed. */
function optionalPort(value: unknown): Port | null | undefined {
  return value === undefined || value === null || value === 0 ? null : parsePort(value);
}

function decodeAffinity(spec: RawObject, reject: Reject): number | null {
  if (spec.sessionAffinity !== 'ClientIP') {
    const none = [undefined, null, '', 'None'].some((value) => value === spec.sessionAffinity);
    if (!none)
      reject(`sessionAffinity ${shown(spec.sessionAffinity)} is none of None, ClientIP: None is used`);
    return null;
  }
  const seconds = objectIn(objectIn(spec, 'sessionAffinityConfig'), 'clientIP').timeoutSeconds;
  if (seconds === undefined || seconds === null) return DEFAULT_AFFINITY_SECONDS;
  const valid = Number.isInteger(seconds) && Number(seconds) >= 1 && Number(seconds) <= MAX_AFFINITY_SECONDS;
  if (valid) return Number(seconds);
  reject(
    `affinity timeoutSeconds ${shown(seconds)} is not 1 to ${MAX_AFFINITY_SECONDS}: ${DEFAULT_AFFINITY_SECONDS} is used`,
  );
  return DEFAULT_AFFINITY_SECONDS;
}

function decodePolicy(
  spec: RawObject,
  field: 'internalTrafficPolicy' | 'externalTrafficPolicy',
  reject: Reject,
): TrafficPolicy {
  const value = spec[field] ?? 'Cluster';
  if (value === 'Local' || value === 'Cluster') return value;
  if (value !== '') reject(`${field} ${shown(value)} is none of Cluster, Local: Cluster is used`);
  return 'Cluster';
}

function decodeHealthCheckNodePort(spec: RawObject, reject: Reject): Port | null {
  if (spec.type !== 'LoadBalancer' || spec.externalTrafficPolicy !== 'Local') return null;
  const port = optionalPort(spec.healthCheckNodePort);
  if (port === undefined) {
    reject(`healthCheckNodePort ${shown(spec.healthCheckNodePort)} is not a number from 1 to 65535`);
  }
  return port ?? null;
}

function decodeSourceRanges(spec: RawObject, reject: Reject): Cidr[] | null {
  const texts = listIn(spec, 'loadBalancerSourceRanges');
  if (texts.length === 0) return null;
  return texts.flatMap((text) => {
    const range = parseCidr(text);
    if (!range) reject(`loadBalancerSourceRanges ${shown(text)} is not a CIDR`);
    return range ?? [];
  });
}

function decodeScheduler(object: RawObject, reject: Reject): Scheduler | null {
  const name = entryIn(object, 'annotations', SCHEDULER_ANNOTATION);
  if (name === undefined) return null;
  const scheduler = parseScheduler(name);
  if (!scheduler)
    reject(`annotation ${SCHEDULER_ANNOTATION} ${shown(name)} is no IPVS scheduler: the default is used`);
  return scheduler ?? null;
}

function decodeDrainTimeout(object: RawObject, reject: Reject): number | null {
  const text = entryIn(object, 'annotations', DRAIN_TIMEOUT_ANNOTATION);
  if (text === undefined) return null;
  const seconds = parseDurationSeconds(text);
  if (seconds !== undefined && seconds <= MAX_DRAIN_TIMEOUT_SECONDS) return seconds;
  reject(
    `annotation ${DRAIN_TIMEOUT_ANNOTATION} ${shown(text)} is no duration of 0 to 24h (90, 90s, 1h30m): the default is used`,
  );
  return null;
}

function decodeSocketLoadBalancer(object: RawObject, reject: Reject): boolean {
  const value = entryIn(object, 'annotations', SOCKET_ANNOTATION);
  if (value === undefined || value === 'on' || value === 'off') return value !== 'off';
  reject(`annotation ${SOCKET_ANNOTATION} ${shown(value)} is none of on, off: on is used`);
  return true;
}

function decodeTime(value: unknown): number | null {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(ms) ? null : ms;
}
