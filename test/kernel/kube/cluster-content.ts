import type { ApiObject } from './api-client.ts';

/** How many Services of which shape. */
export interface ContentOptions {
  readonly services: number;
  /** Ready endpoints of each, on 50 nodes. */
  readonly endpoints: number;
  /** The number of the first: contents whose numbers do not overlap share no object and no address. @default 0 */
  readonly first?: number;
  /** Two ClusterIPs each, and slices of both families. @default false */
  readonly isDualStack?: boolean;
}

/** A Service, and the slices with its endpoints. */
export interface ServiceContent {
  readonly service: ApiObject;
  readonly slices: readonly SliceObject[];
  /** Where it is served, IPv4 first; always at port 80 by TCP. */
  readonly clusterIPs: readonly string[];
}

/** An EndpointSlice as these tests write it. */
export interface SliceObject extends ApiObject {
  readonly endpoints: readonly EndpointObject[];
}

/** An endpoint of a slice. */
export interface EndpointObject {
  readonly addresses: readonly string[];
  readonly conditions: { readonly ready: boolean; readonly serving: boolean; readonly terminating: boolean };
  readonly nodeName: string;
}

/** All contents are in this namespace. */
export const CONTENT_NAMESPACE = 'load';
/** Where the pods of contents are, of each family one range. */
export const POD_RANGES = ['100.64.0.0/10', 'fd00:64::/96'] as const;
/** Where endpoints listen. */
export const POD_PORT = 8080;

/** As many as Kubernetes' own controller puts into one slice. */
const SLICE_ENDPOINTS = 100;
const NODES = 50;
// Behind the addresses that the API server and the allocator of its range like to take.
const FIRST_CLUSTER_IP = 0x0a60_0100; // 10.96.1.0
const FIRST_POD = 0x6440_0000; // 100.64.0.0
/** A Service's number times this is the number of its first pod, and there is one more to exchange. */
const PODS_PER_SERVICE = 8;

/**
 * Services `load/service-00000` and up without selectors, with port 80/TCP; every tenth with ClientIP affinity. The
 * same options give the same objects.
 * @throws RangeError if there are more than fit the default range of ClusterIPs
 */
export function clusterContent(options: ContentOptions): readonly ServiceContent[] {
  const { services, endpoints, first = 0, isDualStack = false } = options;
  if (first + services > 0xfe00) throw new RangeError(`Cannot number ${first + services} Services in a /16`);
  return Array.from({ length: services }, (_, i) => serviceContent(first + i, endpoints, isDualStack));
}

/** The `n`-th pod's endpoint of the Service with this number. */
export function endpointObject(service: number, n: number, family: 'IPv4' | 'IPv6' = 'IPv4'): EndpointObject {
  const pod = service * PODS_PER_SERVICE + n;
  return {
    addresses: [family === 'IPv4' ? ipv4(FIRST_POD + pod) : ipv6(pod)],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${pod % NODES}`,
  };
}

function serviceContent(n: number, endpoints: number, isDualStack: boolean): ServiceContent {
  const families = isDualStack ? (['IPv4', 'IPv6'] as const) : (['IPv4'] as const);
  const name = `service-${String(n).padStart(5, '0')}`;
  const clusterIPs = families.map((family) =>
    family === 'IPv4' ? ipv4(FIRST_CLUSTER_IP + n) : `fd00:10:96::${hex(n + 0x100)}`,
  );
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: CONTENT_NAMESPACE, labels: { app: name } },
    spec: {
      type: 'ClusterIP',
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilies: families,
      ipFamilyPolicy: isDualStack ? 'RequireDualStack' : 'SingleStack',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: POD_PORT }],
      ...(n % 10 === 0 && {
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } },
      }),
    },
  };
  return { service, slices: families.flatMap((family) => slicesOf(n, name, family, endpoints)), clusterIPs };
}

function slicesOf(
  n: number,
  service: string,
  family: 'IPv4' | 'IPv6',
  endpoints: number,
): readonly SliceObject[] {
  const all = Array.from({ length: endpoints }, (_, i) => endpointObject(n, i, family));
  const slices = Math.max(1, Math.ceil(endpoints / SLICE_ENDPOINTS));
  return Array.from({ length: slices }, (_, i) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-${family.toLowerCase()}-${i}`,
      namespace: CONTENT_NAMESPACE,
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: family,
    ports: [{ name: 'http', port: POD_PORT, protocol: 'TCP' }],
    endpoints: all.slice(i * SLICE_ENDPOINTS, (i + 1) * SLICE_ENDPOINTS),
  }));
}

function ipv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

/** From fd00:64::1:0 on: in canonical form without a word that might be left out. */
function ipv6(pod: number): string {
  return `fd00:64::${hex((pod >>> 16) + 1)}:${hex(pod)}`;
}

function hex(value: number): string {
  return (value & 0xffff).toString(16);
}
