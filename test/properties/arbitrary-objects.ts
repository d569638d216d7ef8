import fc from 'fast-check';
import { endpointObjects } from './arbitrary-endpoints.ts';
import { identities, maybe, metadataOf, NODE_ADDRESSES, sometimes, ZONES } from './arbitrary-parts.ts';
import type { OracleOptions } from './oracle.ts';
import type { RawApiObject, RawService } from './raw-objects.ts';

/** Valid but odd objects of a cluster, from pools so small that everything collides with everything. */

export interface ObjectsCase {
  readonly objects: readonly RawApiObject[];
  readonly options: OracleOptions;
}

const CLUSTER_IPS_V4 = ['10.96.0.1', '10.96.0.2', '10.96.0.3', '10.97.0.1'];
const CLUSTER_IPS_V6 = ['fd00:10:96::1', 'FD00:10:96:0::2', 'fd00:10:97::1'];

/** Outside addresses: free, of the node, a ClusterIP of someone, and every kind that is refused. */
const OUTSIDE_ADDRESSES = [
  '198.51.100.7',
  '203.0.113.9',
  '2001:db8::7',
  '2001:DB8:0::7',
  ...NODE_ADDRESSES,
  '10.96.0.1',
  '10.97.0.1',
  'fd00:10:97::1',
];
const REFUSED_ADDRESSES = [
  '127.0.0.1',
  '169.254.7.7',
  '224.0.0.1',
  '0.0.0.0',
  '::',
  '::1',
  'fe80::7',
  'ff02::1',
];
const outsideAddress = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...OUTSIDE_ADDRESSES) },
  { weight: 1, arbitrary: fc.constantFrom(...REFUSED_ADDRESSES) },
);

const STACKS = 'v4,v4,v4,v6,v6,v4 v6,v4 v6,v4 v6,v6 v4,v6 v4,none,empty,absent'.split(',');

const clusterIps: fc.Arbitrary<object> = fc
  .record({
    v4: fc.constantFrom(...CLUSTER_IPS_V4),
    v6: fc.constantFrom(...CLUSTER_IPS_V6),
    stack: fc.constantFrom(...STACKS),
    fields: fc.constantFrom('both', 'both', 'clusterIP', 'clusterIPs'),
  })
  .map(({ v4, v6, stack, fields }) => {
    if (stack === 'absent') return {};
    if (stack === 'empty') return { clusterIP: '' };
    if (stack === 'none') return { clusterIP: 'None', clusterIPs: ['None'] };
    const addresses = stack.split(' ').map((family) => (family === 'v4' ? v4 : v6));
    const ipFamilies = addresses.map((address) => (address === v4 ? 'IPv4' : 'IPv6'));
    // Objects older than dual stack have the one field only.
    const one = fields === 'clusterIPs' ? {} : { clusterIP: addresses[0] };
    return fields === 'clusterIP' ? one : { ...one, clusterIPs: addresses, ipFamilies };
  });

const servicePort = fc.record(
  {
    name: maybe(fc.constantFrom('', 'http')),
    protocol: maybe(sometimes(fc.constantFrom('UDP', 'SCTP'), 'TCP')),
    port: fc.constantFrom(80, 80, 53, 30080),
    targetPort: maybe(fc.constantFrom<number | string>(8080, 'web', 0)),
    nodePort: maybe(fc.constantFrom(30080, 30080, 30053, 0)),
  },
  { requiredKeys: ['port', 'name', 'nodePort'] },
);

/** Names are unique, as the API server has them; one port and protocol may come twice. */
const servicePorts = fc.uniqueArray(servicePort, {
  minLength: 1,
  maxLength: 3,
  selector: ({ name }) => name ?? '',
});

const TYPES = 'ClusterIP,NodePort,LoadBalancer,NodePort,LoadBalancer,LoadBalancer,ExternalName'.split(',');
const policy = maybe(fc.constantFrom('Cluster', 'Local', 'Local'));

const spec = fc
  .tuple(
    clusterIps,
    fc.record(
      {
        type: maybe(fc.constantFrom(...TYPES)),
        ports: servicePorts,
        externalIPs: maybe(fc.array(outsideAddress, { maxLength: 3 })),
        internalTrafficPolicy: policy,
        externalTrafficPolicy: policy,
        healthCheckNodePort: maybe(fc.constantFrom(0, 32000)),
        sessionAffinity: maybe(fc.constantFrom('None', 'ClientIP', 'ClientIP')),
        sessionAffinityConfig: maybe(
          fc.record(
            { clientIP: maybe(fc.record({ timeoutSeconds: maybe(fc.constantFrom(1, 3600, 86400)) })) },
            { requiredKeys: [] },
          ),
        ),
        loadBalancerSourceRanges: maybe(
          fc.array(fc.constantFrom('192.0.2.0/24', '0.0.0.0/0', ' 2001:db8::/32 ', 'no range')),
        ),
        selector: maybe(fc.constant({ app: 'web' })),
        allocateLoadBalancerNodePorts: fc.boolean(),
        trafficDistribution: maybe(fc.constantFrom('PreferClose', 'PreferSameNode')),
      },
      { requiredKeys: ['ports'] },
    ),
  )
  .map(([addresses, rest]) => ({ ...addresses, ...rest }));

const ingress = fc.record(
  {
    ip: maybe(outsideAddress),
    hostname: maybe(fc.constant('lb.example.com')),
    ipMode: maybe(sometimes(fc.constant('Proxy'), 'VIP')),
  },
  { requiredKeys: ['ip'] },
);

const status = maybe(
  fc.record(
    { loadBalancer: maybe(fc.record({ ingress: maybe(fc.array(ingress, { minLength: 1, maxLength: 3 })) })) },
    { requiredKeys: ['loadBalancer'] },
  ),
);

const serviceLabels = maybe(
  sometimes(fc.constant<Record<string, string>>({ 'service.kubernetes.io/service-proxy-name': '' }), {}),
);
const annotations = maybe(
  fc.constantFrom<Record<string, string>[]>(
    {},
    { 'svcplane.io/scheduler': 'wlc' },
    { 'svcplane.io/scheduler': 'mh' },
    { 'svcplane.io/scheduler': 'fastest' },
    { 'svcplane.io/scheduler': '' },
  ),
);

const services: fc.Arbitrary<RawService[]> = identities(5).chain((names) =>
  fc.tuple(
    ...names.map((name) =>
      fc.record({
        kind: fc.constant('Service' as const),
        apiVersion: fc.constant('v1'),
        metadata: metadataOf(name, { labels: serviceLabels, annotations }),
        spec,
        status,
      }),
    ),
  ),
);

const nodeAddresses = maybe(
  fc.array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          type: fc.constantFrom('InternalIP', 'InternalIP', 'ExternalIP'),
          address: fc.constantFrom(
            ...NODE_ADDRESSES,
            ...NODE_ADDRESSES,
            '127.0.0.1',
            'fe80::5',
            '169.254.7.7',
          ),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          type: fc.constant('Hostname'),
          address: fc.constantFrom('n0', 'n0.example.com'),
        }),
      },
    ),
    { maxLength: 5 },
  ),
);

const node = (name: string) =>
  fc.record({
    kind: fc.constant('Node' as const),
    apiVersion: fc.constant('v1'),
    metadata: fc.record({
      name: fc.constant(name),
      labels: maybe(
        fc.constantFrom<Record<string, string>[]>(
          ...ZONES.map((zone) => ({ 'topology.kubernetes.io/zone': zone })),
        ),
      ),
    }),
    spec: fc.constant({ podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24'] }),
    status: maybe(fc.record({ addresses: nodeAddresses })),
  });

const serviceCidr = fc.record({
  kind: fc.constant('ServiceCIDR' as const),
  apiVersion: fc.constant('networking.k8s.io/v1'),
  metadata: fc.constant({ name: 'kubernetes' }),
  spec: fc.record({
    cidrs: fc.constantFrom(['10.96.0.0/16'], ['10.97.0.0/16', 'fd00:10:97::/112'], ['10.0.0.0/8']),
  }),
});

const options: fc.Arbitrary<OracleOptions> = fc.record({
  node: fc.constant('n0'),
  scheduler: fc.constantFrom('rr', 'rr', 'lc'),
  serviceCIDRs: fc.constantFrom([], [], ['10.96.0.0/16', 'fd00:10:96::/112']),
  externalIPs: fc.constantFrom(
    { policy: 'allowAll', ranges: [] },
    { policy: 'allowAll', ranges: [] },
    { policy: 'allowAll', ranges: ['198.51.100.0/24'] },
    { policy: 'allowList', ranges: ['198.51.100.0/24', '172.16.0.0/12', '2001:db8::/32'] },
    { policy: 'allowList', ranges: [] },
    { policy: 'deny', ranges: ['198.51.100.0/24'] },
  ),
  nodePortAddresses: fc.constantFrom([], [], ['primary'], ['172.16.0.0/16'], ['10.0.0.0/8', '2001:db8::/64']),
});

/** Objects in any order, and the configuration they meet. */
export const objectsCase: fc.Arbitrary<ObjectsCase> = fc
  .tuple(
    services,
    endpointObjects,
    fc.option(node('n0'), { freq: 8 }),
    fc.option(node('n1')),
    fc.option(serviceCidr, { freq: 2 }),
  )
  .map(([some, endpoints, own, other, cidr]) => [
    ...some,
    ...endpoints,
    ...[own, other, cidr].filter((object) => object !== null),
  ])
  .chain((all) => fc.shuffledSubarray<RawApiObject>(all, { minLength: all.length }))
  .chain((objects) => fc.record({ objects: fc.constant(objects), options }));
