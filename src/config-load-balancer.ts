import * as v from 'valibot';
import { addressRange, seconds } from './config-values.ts';
import { overlapsOf, type RangePlace } from './load-balancer/pools.ts';
import { specialAddress } from './model/cidr.ts';

const unique = v.check<string[], string>((names) => new Set(names).size === names.length, 'has a name twice');

const range = v.pipe(
  addressRange,
  v.check(
    ({ first, last }) => (specialAddress(first) ?? specialAddress(last)) === undefined,
    ({ input }) => `${input.text} has loopback, link-local, multicast or unspecified addresses`,
  ),
);

const selector = v.strictObject({
  matchLabels: v.optional(v.record(v.string(), v.string()), {}),
  matchExpressions: v.optional(
    v.array(
      v.strictObject({
        key: v.string(),
        operator: v.picklist(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: v.optional(v.array(v.string()), []),
      }),
    ),
    [],
  ),
});

const pool = v.strictObject({
  name: v.pipe(
    v.string(),
    v.regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be lower-case letters, digits and -'),
  ),
  /** CIDRs, FIRST-LAST and single addresses of both families, used up in this order. */
  addresses: v.pipe(v.array(range), v.minLength(1, 'must have an address')),
  /** Off: some hosts and routers do not treat them as addresses of a host. */
  networkAndBroadcast: v.optional(v.boolean(), false),
  /** Off: only for Services that ask for an address of it by name. */
  automatic: v.optional(v.boolean(), true),
  /** Empty: all. */
  namespaces: v.optional(v.pipe(v.array(v.string()), unique), []),
  /** Empty: all Services. */
  serviceSelector: v.optional(selector, {}),
});

/** An address belongs to one pool: else nobody could say whose rules are for it. Each of the two is told of the other. */
const pools = v.pipe(
  v.array(pool),
  v.rawCheck(({ dataset, addIssue }) => {
    if (!dataset.typed) return;
    const { value } = dataset;
    const issue = (message: string, ...keys: (string | number)[]) => {
      const path = keys.map((key) => ({
        type: 'unknown' as const,
        origin: 'value' as const,
        input: value,
        key,
        value,
      }));
      const [first, ...more] = path;
      addIssue(first ? { message, path: [first, ...more] } : { message });
    };
    const named = ({ pool: index, range: place }: RangePlace) =>
      `${value[index]?.addresses[place]?.text} of pool ${value[index]?.name}`;
    for (const { earlier, later } of overlapsOf(value)) {
      for (const [one, other] of [
        [earlier, later],
        [later, earlier],
      ] as const) {
        issue(`${named(one)} overlaps ${named(other)}`, one.pool, 'addresses', one.range);
      }
    }
    for (const [i, { name }] of value.entries()) {
      if (value.findIndex((each) => each.name === name) < i)
        issue(`"${name}" is the name of another pool, too`, i, 'name');
    }
  }),
);

/** What `lb-controller` gives to whom. */
export const loadBalancer = v.strictObject({
  /** Services that name it in spec.loadBalancerClass are ours. */
  class: v.optional(
    v.pipe(
      v.string(),
      v.regex(
        /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?\/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$/,
        'must be as of a label, such as example.com/name',
      ),
    ),
    'svcplane.io/load-balancer',
  ),
  /** Services without a class, too: only where no other controller is at work, for both would give them addresses. */
  default: v.optional(v.boolean(), false),
  /** Off: whoever may make a Service could join the address of another namespace by guessing the key. */
  shareAcrossNamespaces: v.optional(v.boolean(), false),
  /** Where the Lease is by which one of several controllers leads. */
  leaseNamespace: v.optional(v.pipe(v.string(), v.nonEmpty('must not be empty')), 'kube-system'),
  /** As of the controllers of Kubernetes: shorter outages of the API server change nothing. */
  leaseDurationSeconds: v.optional(v.pipe(seconds, v.minValue(3, 'must be 3 or more')), 15),
  pools: v.optional(pools, []),
});
