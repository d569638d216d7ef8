import fc from 'fast-check';
import type { RawObject } from '../../src/cluster/object-fields.ts';
import { node, service, slice } from '../objects.ts';
import type { ClusterEvent } from './incremental-node.ts';

/** What happens in a cluster so small that Services meet each other in addresses, ports, endpoints and conflicts. */

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
const VIPS = ['198.51.100.7', '203.0.113.9', '10.96.0.2', '172.16.0.5', '2001:db8::7', '192.0.2.1'];
const ENDPOINTS = ['10.244.1.20', '10.244.1.21', '10.244.2.30', '10.244.2.31', '10.244.1.22'];
const ENDPOINTS_V6 = ['fd00:244:1::20', 'fd00:244:2::30'];

const name = fc.constantFrom(...NAMES);
const seldom = <T>(value: fc.Arbitrary<T>, otherwise: T) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(otherwise) }, { weight: 1, arbitrary: value });
const policy = fc.constantFrom('Cluster', 'Cluster', 'Local');

const ports = fc.uniqueArray(
  fc.record({
    name: fc.constantFrom('http', 'dns', 'sig'),
    port: fc.constantFrom(80, 80, 53),
    nodePort: seldom(fc.constantFrom<number | undefined>(30080, 30053), undefined),
  }),
  { minLength: 1, maxLength: 2, selector: (port) => port.name },
);

const PROTOCOLS: Readonly<Record<string, string>> = { http: 'TCP', dns: 'UDP', sig: 'SCTP' };

const serviceObject: fc.Arbitrary<RawObject> = fc
  .record({
    name,
    // Mostly its own, sometimes another's.
    clusterIP: fc.option(fc.constantFrom(1, 2, 3), { freq: 4 }),
    isDual: seldom(fc.constant(true), false),
    type: fc.constantFrom('ClusterIP', 'ClusterIP', 'NodePort', 'LoadBalancer', 'LoadBalancer'),
    ports,
    externalIPs: seldom(fc.uniqueArray(fc.constantFrom(...VIPS), { maxLength: 2 }), []),
    ingress: seldom(fc.uniqueArray(fc.constantFrom(...VIPS), { minLength: 1, maxLength: 2 }), []),
    internal: policy,
    external: policy,
    affinity: seldom(fc.constant(true), false),
    ranges: seldom(fc.subarray(['192.0.2.0/24', '192.0.2.128/25', '172.16.0.0/16', '2001:db8::/32']), []),
    age: fc.constantFrom(1, 1, 2),
    health: seldom(fc.constant(true), false),
    scheduler: seldom(fc.constantFrom<object>({ 'svcplane.io/scheduler': 'mh' }), {}),
  })
  .map((shape) => {
    const index = NAMES.indexOf(shape.name);
    const clusterIP = `10.96.0.${shape.clusterIP ?? 10 + index}`;
    const isExternal = shape.type !== 'ClusterIP';
    return service({
      name: shape.name,
      metadata: {
        creationTimestamp: `2024-01-0${shape.age}T00:00:00Z`,
        annotations: shape.scheduler,
      },
      spec: {
        type: shape.type,
        clusterIP,
        clusterIPs: shape.isDual ? [clusterIP, `fd00:10:96::${index + 1}`] : [clusterIP],
        ports: shape.ports.map((port) => ({
          ...port,
          nodePort: isExternal ? port.nodePort : undefined,
          protocol: PROTOCOLS[port.name],
        })),
        externalIPs: shape.externalIPs,
        internalTrafficPolicy: shape.internal,
        externalTrafficPolicy: shape.external,
        sessionAffinity: shape.affinity ? 'ClientIP' : 'None',
        loadBalancerSourceRanges: shape.ranges,
        ...(shape.health && isExternal && shape.external === 'Local' ? { healthCheckNodePort: 32000 } : {}),
      },
      status: { loadBalancer: { ingress: shape.ingress.map((ip) => ({ ip })) } },
    });
  });

const endpoints = (addresses: readonly string[]) =>
  fc.uniqueArray(
    fc.record({
      address: fc.constantFrom(...addresses),
      node: fc.constantFrom('n0', 'n0', 'n1'),
      state: fc.constantFrom('ready', 'ready', 'ready', 'terminating', 'unready'),
    }),
    { maxLength: 3, selector: ({ address }) => address },
  );

const sliceObject: fc.Arbitrary<RawObject> = fc
  .record({
    name,
    part: fc.constantFrom('1', '1', '6'),
    four: endpoints(ENDPOINTS),
    six: endpoints(ENDPOINTS_V6),
  })
  .map((shape) =>
    slice({
      name: `${shape.name}-${shape.part}`,
      service: shape.name,
      addressType: shape.part === '6' ? 'IPv6' : 'IPv4',
      ports: Object.entries(PROTOCOLS).map(([port, protocol]) => ({ name: port, port: 8080, protocol })),
      endpoints: (shape.part === '6' ? shape.six : shape.four).map(({ address, node: on, state }) => ({
        address,
        node: on,
        ready: state === 'ready',
        serving: state !== 'unready',
        terminating: state === 'terminating',
      })),
    }),
  );

const event: fc.Arbitrary<ClusterEvent> = fc.oneof(
  fc.record({
    kind: fc.constant('Service' as const),
    object: serviceObject,
    isGone: seldom(fc.constant(true), false),
  }),
  fc.record({
    kind: fc.constant('EndpointSlice' as const),
    object: sliceObject,
    isGone: seldom(fc.constant(true), false),
  }),
);

const CIDR = {
  kind: 'ServiceCIDR',
  metadata: { name: 'kubernetes' },
  spec: { cidrs: ['10.96.0.0/16', 'fd00:10:96::/112'] },
};

/** One moment: events, then what clients do, then time that passes. */
export interface Step {
  readonly events: readonly ClusterEvent[];
  /** Seeds the connections that open and end. */
  readonly clients: number;
  readonly seconds: number;
}

const seconds = fc.constantFrom(1, 1, 1, 30, 61);
const step: fc.Arbitrary<Step> = fc.record({
  events: fc.array(event, { maxLength: 3 }),
  clients: fc.nat(),
  seconds,
});

/** A cluster from its first objects on. */
export const histories: fc.Arbitrary<readonly Step[]> = fc
  .record({
    services: fc.array(serviceObject, { maxLength: 8 }),
    slices: fc.array(sliceObject, { maxLength: 12 }),
    hasRange: fc.boolean(),
    clients: fc.nat(),
    steps: fc.array(step, { minLength: 1, maxLength: 8 }),
  })
  .map(({ services, slices, hasRange, clients, steps }) => {
    const own = node({ name: 'n0', addresses: ['172.16.0.5'] });
    const other = node({ name: 'n1', addresses: ['192.0.2.1'] });
    const put = (kind: ClusterEvent['kind']) => (object: RawObject) => ({ kind, object, isGone: false });
    const events = [
      ...[own, other].map(put('Node')),
      ...(hasRange ? [CIDR] : []).map(put('ServiceCIDR')),
      ...services.map(put('Service')),
      ...slices.map(put('EndpointSlice')),
    ];
    return [{ events, clients, seconds: 1 }, ...steps];
  });

export const configs: fc.Arbitrary<object> = fc.record({
  clusterIPs: fc.constantFrom('bind', 'bind', 'route'),
  excludeCIDRs: seldom(fc.constantFrom<string[]>(['203.0.113.0/24'], ['10.96.0.10/31']), []),
  drainDeletedServices: seldom(fc.constant(false), true),
  strictARP: fc.constantFrom('auto', true),
});
