import type { IpFamily } from '../../model/address.ts';

/** What a component of a set's key is. A range takes single addresses, too. */
export type KeyPart = 'address' | 'protocol' | 'port' | 'range';

export interface SetDeclaration {
  readonly key: readonly KeyPart[];
  /** A map gives each key a firewall mark. */
  readonly value: 'mark' | null;
}

const FRONTEND = ['address', 'protocol', 'port'] as const;

/**
 * Every set and map of the table, each twice: with the suffix 4 for IPv4 and 6 for IPv6. All that depends on Services
 * or on the node's ranges is an element of one of them; the rules are the same on every node configured alike.
 */
export const SETS = {
  /** Ranges that ClusterIPs come from, and ClusterIPs outside of them. */
  'cluster-ips': { key: ['range'], value: null },
  /** externalIPs and load balancer addresses that this node has for Services alone. */
  vips: { key: ['address'], value: null },
  /** Frontends whose clients are always masqueraded: external ones with policy Cluster. */
  masquerade: { key: FRONTEND, value: null },
  /** Frontends' addresses whose outside clients are not: the endpoints' way back leads through this node. */
  'keep-source': { key: ['range'], value: null },
  /** Local endpoints, each paired with itself. */
  hairpin: { key: ['address', 'address'], value: null },
  /** Frontends with source ranges. */
  restricted: { key: FRONTEND, value: null },
  /** Their ranges. */
  allowed: { key: [...FRONTEND, 'range'], value: null },
  /** Frontends without endpoints. */
  empty: { key: FRONTEND, value: null },
  /** The mark that takes inside clients of a frontend to a virtual server of their own. */
  'inside-marks': { key: FRONTEND, value: 'mark' },
  /** Pods of the cluster. */
  pods: { key: ['range'], value: null },
  /** Pods of this node. */
  'node-pods': { key: ['range'], value: null },
} as const satisfies Record<string, SetDeclaration>;

export type SetBase = keyof typeof SETS;

export type SetName = `${SetBase}${4 | 6}`;

export const SET_BASES = Object.keys(SETS).filter(isSetBase);

export function isSetBase(name: string): name is SetBase {
  return Object.hasOwn(SETS, name);
}

export function setName(base: SetBase, family: IpFamily): SetName {
  return family === 'IPv4' ? `${base}4` : `${base}6`;
}

/** Every set of the table. */
export const SET_NAMES: readonly SetName[] = SET_BASES.flatMap((base): SetName[] => [`${base}4`, `${base}6`]);

export function isSetName(name: string): name is SetName {
  return isSetBase(name.slice(0, -1)) && /[46]$/.test(name);
}

/** The declaration of a set, and the family of its addresses. */
export function declarationOf(name: SetName): SetDeclaration & { readonly family: IpFamily } {
  const base = name.slice(0, -1);
  if (!isSetBase(base)) throw new RangeError(`Cannot declare set ${name}: there is none of that name`);
  return { ...SETS[base], family: name.endsWith('4') ? 'IPv4' : 'IPv6' };
}
