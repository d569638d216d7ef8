/** Makers of API objects for tests: valid by default, every field replaceable. */

export interface ServiceShape {
  readonly name?: string;
  readonly namespace?: string;
  readonly metadata?: object;
  readonly spec?: object;
  readonly status?: object;
}

export function service({ name = 'front', namespace = 'web', metadata, spec, status }: ServiceShape = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, ...metadata },
    spec: {
      clusterIP: '10.96.0.50',
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      ...spec,
    },
    ...(status ? { status } : {}),
  };
}

export interface EndpointShape {
  readonly address: string;
  readonly ready?: boolean | null;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly node?: string;
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
}

export function endpoint({ address, ready, serving, terminating, node, zones, nodes }: EndpointShape) {
  const names = (list: readonly string[]) => list.map((name) => ({ name }));
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(node ? { nodeName: node } : {}),
    ...(zones || nodes
      ? {
          hints: {
            ...(zones ? { forZones: names(zones) } : {}),
            ...(nodes ? { forNodes: names(nodes) } : {}),
          },
        }
      : {}),
  };
}

export interface SliceShape {
  readonly name?: string;
  readonly namespace?: string;
  readonly service?: string;
  readonly addressType?: string;
  readonly labels?: object;
  readonly ports?: readonly object[];
  readonly endpoints?: readonly EndpointShape[];
}

export function slice({
  name = 'front-1',
  namespace = 'web',
  service: owner = 'front',
  addressType = 'IPv4',
  labels,
  ports = [{ name: 'http', port: 8080, protocol: 'TCP' }],
  endpoints = [],
}: SliceShape = {}) {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace, labels: { 'kubernetes.io/service-name': owner, ...labels } },
    addressType,
    ports,
    endpoints: endpoints.map(endpoint),
  };
}

export function node({
  name = 'n0',
  addresses = ['172.16.0.5'],
  zone,
}: {
  name?: string;
  addresses?: readonly string[];
  zone?: string;
} = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: zone ? { 'topology.kubernetes.io/zone': zone } : {} },
    spec: { podCIDRs: ['10.244.1.0/24'] },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}
