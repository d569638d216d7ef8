import fc from 'fast-check';

/** What all arbitrary objects are made of: names, metadata and fields that may be absent or null. */

export const NODE_ADDRESSES = ['172.16.0.5', '10.244.1.1', '2001:db8::5'];
export const ZONES = ['east', 'west', ''];

/** Of the two namespaces one is a prefix of the other, and `-` sorts before `/`. */
export interface Identity {
  readonly namespace: string;
  readonly name: string;
}

export const identity: fc.Arbitrary<Identity> = fc.record({
  namespace: fc.constantFrom('default', 'default', 'default', 'default-b'),
  name: fc.constantFrom('a', 'a', 'a-1'),
});

/** Different ones. */
export const identities = (maxLength: number) =>
  fc.uniqueArray(identity, {
    minLength: 1,
    maxLength,
    selector: ({ namespace, name }) => `${namespace}/${name}`,
  });

/** The value, or what the API also sends for none. */
export function maybe<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null | undefined> {
  return fc.oneof(
    { weight: 14, arbitrary },
    { weight: 1, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

/** One time in eight the first, else the second. */
export function sometimes<T>(arbitrary: fc.Arbitrary<T>, otherwise: T): fc.Arbitrary<T> {
  return fc.oneof({ weight: 1, arbitrary }, { weight: 7, arbitrary: fc.constant(otherwise) });
}

const creationTimestamp = maybe(
  fc.constantFrom('2024-01-01T00:00:00Z', '2024-01-01T00:00:00Z', '2023-12-31T23:59:59Z'),
);

/** Metadata of an identity; the default namespace may be left out, as in a file given to kubectl. */
export function metadataOf<Labels, Annotations>(
  { namespace, name }: Identity,
  {
    labels,
    annotations,
  }: { readonly labels: fc.Arbitrary<Labels>; readonly annotations: fc.Arbitrary<Annotations> },
) {
  return fc
    .record({ creationTimestamp, labels, annotations, omit: fc.boolean() })
    .map(({ omit, ...rest }) => ({
      name,
      ...(omit && namespace === 'default' ? {} : { namespace }),
      ...rest,
      uid: `${namespace}-${name}`,
    }));
}
