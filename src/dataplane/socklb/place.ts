import { MOST_HOST_NAMESPACE } from './layout.ts';
import type { SocketPlace } from './program.ts';

/** The bpffs in which maps and links are pinned; the number is that of the layout of the maps. */
export const BPFFS = '/sys/fs/bpf';
export const PIN_DIRECTORY = `${BPFFS}/svcplane/v1`;

/** How sockets are to be balanced, as configured. */
export interface SocketSettings {
  readonly mode: 'auto' | 'on' | 'off' | 'hostOnly';
  /** A directory of a cgroup2; "" for the root of all. */
  readonly cgroup: string;
}

/** What an ability of the kernel was found to be. */
export type Ability =
  | { readonly outcome: 'supported' }
  | { readonly outcome: 'unsupported' | 'unknown'; readonly reason: string };

/** An ability by name, and what gives it to a machine that lacks it. */
export type NamedAbility = Ability & { readonly what: string; readonly fix: string };

/** A mounted cgroup2. */
export interface CgroupMount {
  readonly path: string;
  /** Whether its top is the root of all cgroups. */
  readonly isHostRoot: boolean;
  /** Whether its top is above all that a cgroup namespace shows by itself: somebody has handed it in. */
  readonly isHandedIn: boolean;
}

/** What there is on this machine, asked for only as far as it matters. */
export interface SocketSurroundings {
  /** Whether an earlier process has left maps there. */
  hasPins(): boolean;
  /** Whether this process is in the network namespace of the machine, that of process 1. */
  isInHostNetwork(): boolean;
  /** The mounts of cgroup2, those of the root of all first. */
  cgroups(): readonly CgroupMount[];
  /** One after the other, for each takes a while. */
  abilities(cgroup: string): Iterable<NamedAbility>;
}

export type SocketChoice =
  | { readonly outcome: 'used'; readonly place: SocketPlace }
  /** `lacking`: something is missing, and it is left at that; `unasked`: as it should be. */
  | { readonly outcome: 'unasked' | 'lacking'; readonly reason: string }
  | ({ readonly outcome: 'refused' } & SocketRefusal);

/** Something is missing, and it is not left at that. */
export interface SocketRefusal {
  /** One line. */
  readonly reason: string;
  /** Whether programs of an earlier process are there, and out of reach. */
  readonly isPinned: boolean;
}

/**
 * Where sockets are balanced, or why they are left alone. What `auto` may do unasked is what concerns this node alone:
 * a process in a network of its own shares its cgroups with others.
 */
export function choosePlace(settings: SocketSettings, surroundings: SocketSurroundings): SocketChoice {
  const unasked = whyUnasked(settings, surroundings);
  if (unasked !== undefined) return { outcome: 'unasked', reason: unasked };
  const place = findCgroup(settings, surroundings.cgroups());
  const missing = firstMissing(place, surroundings);
  if (place.outcome === 'supported' && !missing) {
    return { outcome: 'used', place: { directory: PIN_DIRECTORY, cgroup: place.cgroup } };
  }
  const reason = missing ? `${missing.reason}: ${missing.fix}` : '';
  const { mode } = settings;
  const isPinned = surroundings.hasPins();
  // They go on connecting sockets to endpoints that nobody keeps up to date.
  const pinned = `programs of an earlier svcplane are pinned in ${PIN_DIRECTORY} and can't be reached`;
  if (mode === 'on' || mode === 'hostOnly') {
    const left = isPinned ? pinned : 'all sockets are left to IPVS';
    const why = `socketLoadBalancer.mode is ${mode}, but ${left}: ${reason}`;
    return { outcome: 'refused', reason: why, isPinned };
  }
  return isPinned
    ? { outcome: 'refused', reason: `${pinned}: ${reason}`, isPinned }
    : { outcome: 'lacking', reason };
}

/** Why sockets are left alone whatever the machine can do; undefined if they are not. */
export function whyUnasked(
  { mode }: SocketSettings,
  { hasPins, isInHostNetwork }: Pick<SocketSurroundings, 'hasPins' | 'isInHostNetwork'>,
): string | undefined {
  // Only to switch off what is there.
  if (mode === 'off' && !hasPins()) return 'socketLoadBalancer.mode is off';
  if (mode === 'auto' && !isInHostNetwork())
    return 'this process is not in the network namespace of the node, that of process 1';
  return undefined;
}

/**
 * How programs are told which network namespace is the node's: that of this process where it is the same. In kind it is
 * not the initial one.
 * @param cookie of the namespace of this process; undefined where the kernel does not tell it
 * @returns 0: the initial one
 */
export function hostNamespaceOf(isInHostNetwork: boolean, cookie: bigint | undefined): number {
  if (!isInHostNetwork || cookie === undefined || cookie > MOST_HOST_NAMESPACE) return 0;
  return Number(cookie);
}

export type FoundCgroup = NamedAbility & { readonly cgroup: string };

/**
 * The cgroup of the configuration, else the root of all, else what a node that is a container itself (kind) has handed
 * in as its root.
 */
export function findCgroup({ cgroup }: SocketSettings, mounts: readonly CgroupMount[]): FoundCgroup {
  const found = mounts.find(({ isHostRoot }) => isHostRoot) ?? mounts.find(({ isHandedIn }) => isHandedIn);
  const path = cgroup === '' ? found?.path : cgroup;
  if (path !== undefined) return { what: `cgroup2 at ${path}`, fix: '', cgroup: path, outcome: 'supported' };
  const [other] = mounts;
  const missing = { what: 'the root of all cgroups', cgroup: '', outcome: 'unsupported' } as const;
  if (!other) {
    const fix = 'mount -t cgroup2 cgroup2 /sys/fs/cgroup, or elsewhere, or set socketLoadBalancer.cgroup';
    return { ...missing, reason: 'no cgroup2 is mounted', fix };
  }
  const reason = `the cgroup2 at ${other.path} shows no more than a cgroup namespace of its own`;
  const fix = 'mount the /sys/fs/cgroup of the node here (hostPath), or set socketLoadBalancer.cgroup';
  return { ...missing, reason, fix };
}

type Missing = Exclude<NamedAbility, { readonly outcome: 'supported' }>;

function firstMissing(place: FoundCgroup, { abilities }: SocketSurroundings): Missing | undefined {
  if (place.outcome !== 'supported') return place;
  for (const ability of abilities(place.cgroup)) {
    if (ability.outcome !== 'supported') return ability;
  }
  return undefined;
}
