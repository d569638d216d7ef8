import fc from 'fast-check';
import { type Identity, identities, identity, maybe, metadataOf, sometimes } from './arbitrary-parts.ts';
import type { RawEndpoints, RawSlice } from './raw-objects.ts';

/** EndpointSlices and Endpoints of the few Services of arbitrary-objects.ts. */

const NODES = ['n0', 'n0', 'n1'];
const ADDRESSES: Readonly<Record<string, readonly string[]>> = {
  IPv4: ['10.244.1.20', '10.244.1.21', '10.244.2.30'],
  IPv6: ['fd00:244:1::20', 'FD00:244:1:0::20', 'fd00:244:2::30'],
  FQDN: ['db.example.com'],
};

const port = fc.record(
  {
    name: maybe(fc.constantFrom('', 'http')),
    protocol: maybe(sometimes(fc.constantFrom('UDP', 'SCTP'), 'TCP')),
    port: maybe(sometimes(fc.constantFrom(8081, 0), 8080)),
  },
  { requiredKeys: ['name', 'port'] },
);

const ports = maybe(fc.uniqueArray(port, { minLength: 1, maxLength: 3, selector: ({ name }) => name ?? '' }));

const condition = maybe(fc.boolean());
const conditions = maybe(
  fc.oneof(
    ...[1, 2, 3].map(() => fc.constant({ ready: true, serving: true, terminating: false })),
    ...[1, 2].map(() => fc.constant({ ready: false, serving: true, terminating: true })),
    fc.constant({ ready: false, serving: false, terminating: true }),
    fc.record({ ready: condition, serving: condition, terminating: condition }, { requiredKeys: [] }),
  ),
);

const hintsFor = (...names: readonly string[]) =>
  fc.subarray(
    names.map((name) => ({ name })),
    { minLength: 1 },
  );
const forZones = hintsFor('east', 'west');
const forNodes = hintsFor('n0', 'n1');
/** Of a controller that hints at every endpoint, and of one that doesn't. */
const fullHints = fc.record({ forZones, forNodes: maybe(forNodes) }, { requiredKeys: ['forZones'] });
const anyHints = maybe(
  fc.record(
    {
      forZones: maybe(fc.oneof(fc.constant([]), forZones)),
      forNodes: maybe(fc.oneof(fc.constant([]), forNodes)),
    },
    { requiredKeys: [] },
  ),
);

/** @param other an address type whose addresses turn up where they do not belong */
const endpointOf = (addressType: string, other: string, hinted: boolean) =>
  fc.record({
    addresses: fc
      .tuple(
        sometimes(fc.constant(other), addressType).chain((type) =>
          fc.constantFrom(...(ADDRESSES[type] ?? [])),
        ),
        fc.array(fc.constantFrom(...(ADDRESSES[addressType] ?? [])), { maxLength: 1 }),
      )
      .map(([first, more]) => [first, ...more]),
    conditions,
    nodeName: maybe(fc.constantFrom(...NODES)),
    hints: hinted ? fullHints : anyHints,
    zone: maybe(fc.constantFrom('east', 'west')),
  });

const labelsOf = ({ name }: Identity) =>
  fc.constantFrom<Record<string, string>[]>(
    ...Array.from({ length: 12 }, () => ({ 'kubernetes.io/service-name': name })),
    { 'kubernetes.io/service-name': name, 'service.kubernetes.io/headless': '' },
    { 'kubernetes.io/service-name': `${name}-other` },
    {},
  );

const addressTypes = fc.constantFrom('IPv4', 'IPv4', 'IPv4', 'IPv4', 'IPv6', 'IPv6', 'IPv6', 'FQDN');

const sliceOf = (owner: Identity, index: number): fc.Arbitrary<RawSlice> =>
  fc.tuple(addressTypes, fc.boolean()).chain(([addressType, hinted]) =>
    fc.record({
      kind: fc.constant('EndpointSlice' as const),
      apiVersion: fc.constant('discovery.k8s.io/v1'),
      metadata: metadataOf(
        { ...owner, name: `${owner.name}-${index}` },
        { labels: labelsOf(owner), annotations: fc.constant(null) },
      ),
      addressType: fc.constant(addressType),
      ports,
      endpoints: maybe(
        fc.array(endpointOf(addressType, addressType === 'IPv4' ? 'IPv6' : 'IPv4', hinted), {
          minLength: 1,
          maxLength: 4,
        }),
      ),
    }),
  );

const slices = fc
  .array(identity, { minLength: 2, maxLength: 7 })
  .chain((owners) => fc.tuple(...owners.map((owner, index) => sliceOf(owner, (index * 7) % 12))));

const endpointAddresses = maybe(
  fc.array(
    fc.record({
      ip: fc.constantFrom('10.244.1.20', '10.244.2.30', 'fd00:244:1::20', 'FD00:244:1:0::20'),
      nodeName: maybe(fc.constantFrom(...NODES)),
    }),
    { maxLength: 3 },
  ),
);
const subset = fc.record({
  addresses: endpointAddresses,
  notReadyAddresses: endpointAddresses,
  ports,
});

const endpoints = identities(3).chain((owners) =>
  fc.tuple(
    ...owners.map(
      (owner): fc.Arbitrary<RawEndpoints> =>
        fc.record({
          kind: fc.constant('Endpoints' as const),
          apiVersion: fc.constant('v1'),
          metadata: metadataOf(owner, { labels: fc.constant(null), annotations: fc.constant(null) }),
          subsets: maybe(fc.array(subset, { maxLength: 2 })),
        }),
    ),
  ),
);

/** EndpointSlices of several names per Service, and Endpoints beside and instead of them. */
export const endpointObjects: fc.Arbitrary<(RawSlice | RawEndpoints)[]> = fc
  .tuple(slices, endpoints)
  .map(([some, others]) => [...some, ...others]);
