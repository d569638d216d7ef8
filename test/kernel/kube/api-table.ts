import type { ApiClient } from './api-client.ts';

interface ListedService {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly clusterIP?: string;
    readonly sessionAffinity?: string;
    readonly sessionAffinityConfig?: { readonly clientIP: { readonly timeoutSeconds: number } };
    readonly ports: readonly { readonly name: string; readonly port: number }[];
  };
}

interface ListedSlice {
  readonly metadata: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> };
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions: { readonly ready?: boolean };
  }[];
}

/** What the API server says should be there, read afresh and without any code of svcplane. */
export interface ApiTable {
  /** As `ipvsadm -Sn` prints them, sorted. */
  readonly rows: readonly string[];
  /** ClusterIPs, sorted. */
  readonly addresses: readonly string[];
}

/** For Services of one IPv4 ClusterIP and ports of TCP, with all their pods ready or gone; round robin. */
export async function tableOfApi(api: Pick<ApiClient, 'request'>): Promise<ApiTable> {
  const services = await itemsOf<ListedService>(
    api,
    '/api/v1/services?labelSelector=!service.kubernetes.io/service-proxy-name',
  );
  const slices = await itemsOf<ListedSlice>(api, '/apis/discovery.k8s.io/v1/endpointslices');
  const rows = services.flatMap((service) => {
    const { metadata, spec } = service;
    const own = slices.filter(
      (slice) =>
        slice.metadata.namespace === metadata.namespace &&
        slice.metadata.labels['kubernetes.io/service-name'] === metadata.name,
    );
    return spec.ports.flatMap(({ name, port }) => {
      const key = `-t ${spec.clusterIP}:${port}`;
      const seconds = spec.sessionAffinityConfig?.clientIP.timeoutSeconds;
      const affinity = spec.sessionAffinity === 'ClientIP' ? ` -p ${seconds}` : '';
      const pods = own.flatMap((slice) => podsOf(slice, name));
      return [
        `-A ${key} -s rr${affinity}`,
        ...[...new Set(pods)].map((pod) => `-a ${key} -r ${pod} -m -w 1`),
      ];
    });
  });
  return { rows: rows.sort(), addresses: services.map(({ spec }) => spec.clusterIP ?? '').sort() };
}

function podsOf({ ports, endpoints = [] }: ListedSlice, portName: string): readonly string[] {
  const port = ports.find(({ name }) => name === portName)?.port;
  return endpoints
    .filter(({ conditions }) => conditions.ready !== false)
    .flatMap(({ addresses }) => addresses.map((address) => `${address}:${port}`));
}

async function itemsOf<T>(api: Pick<ApiClient, 'request'>, path: string): Promise<readonly T[]> {
  const list = await api.request('GET', path);
  return (list as { readonly items: readonly T[] }).items;
}
