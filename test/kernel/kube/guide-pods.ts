/** A pod of the guide's network (scripts/demo-files/network.sh), as the API knows it. */
export interface GuidePod {
  /** Of the pod, and of its network namespace. */
  readonly name: string;
  /** IPv4, in 10.244.1.0/24. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  /** @default default */
  readonly namespace?: string;
  /** Its own names of ports. */
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  /** @default n0: the node whose network it is in */
  readonly nodeName?: string;
}

const pod = (
  name: string,
  host: number,
  labels: GuidePod['labels'],
  more: Partial<GuidePod> = {},
): GuidePod => ({
  name,
  address: `10.244.1.${host}`,
  labels,
  ...more,
});
const namedPort = (containerPort: number) => ({ ports: [{ name: 'http-web-svc', containerPort }] });

/** The pods behind the guide's Services, with the labels that those select. */
export const GUIDE_PODS = {
  web1: pod('web-1', 20, { app: 'web' }),
  web2: pod('web-2', 21, { app: 'web' }),
  web3: pod('web-3', 22, { app: 'web' }),
  /** In place of web-2. */
  web4: pod('web-4', 23, { app: 'web' }),
  nginx1: pod('nginx-1', 24, { 'app.kubernetes.io/name': 'proxy' }, namedPort(80)),
  nginx2: pod('nginx-2', 25, { 'app.kubernetes.io/name': 'proxy' }, namedPort(8081)),
  myapp1: pod('myapp-1', 26, { 'app.kubernetes.io/name': 'MyApp' }),
  shop1: pod('shop-1', 27, { app: 'shop' }),
  shop2: pod('shop-2', 28, { app: 'shop' }),
  api1: pod('api-1', 29, { app: 'api' }, { namespace: 'backend' }),
} as const satisfies Readonly<Record<string, GuidePod>>;

/** The Pod as its kubelet would leave it: on its node, with an address. @param isReady what its probe says */
export function podObject(
  { name, address, labels, namespace = 'default', ports = [], nodeName = 'n0' }: GuidePod,
  isReady = true,
) {
  const status = isReady ? 'True' : 'False';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { nodeName, containers: [{ name: 'server', image: 'busybox', ports }] },
    status: {
      phase: 'Running',
      podIP: address,
      podIPs: [{ ip: address }],
      conditions: ['Ready', 'ContainersReady'].map((type) => ({ type, status })),
    },
  };
}

/** A Node as its kubelet registers it. */
export function nodeObject(
  name: string,
  { address, podCIDR, zone }: { readonly address: string; readonly podCIDR?: string; readonly zone?: string },
) {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: zone === undefined ? {} : { 'topology.kubernetes.io/zone': zone } },
    spec: podCIDR === undefined ? {} : { podCIDR, podCIDRs: [podCIDR] },
    status: { addresses: [{ type: 'InternalIP', address }] },
  };
}
