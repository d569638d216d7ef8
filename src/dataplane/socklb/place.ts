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

/** What there is on this machine, asked for only as far as it matters. */
export interface SocketSurroundings {
  /** Whether an earlier process has left maps there. */
  hasPins(): boolean;
  /** Whether this process is in the network namespace of the machine, that of process 1. */
  isInHostNetwork(): boolean;
  /** The mounts of cgroup2, those of the root of all first. */
  cgroups(): readonly { readonly path: string; readonly isHostRoot: boolean }[];
  /** The first that the kernel lacks, or supported. */
  ability(cgroup: string): Ability;
}

export type SocketChoice =
  | { readonly outcome: 'used'; readonly place: SocketPlace }
  | { readonly outcome: 'left alone'; readonly reason: string };

/**
 * Where sockets are balanced, or why they are left alone. What `auto` may do unasked is what concerns this node alone:
 * a process in a network of its own shares its cgroups with others.
 */
export function choosePlace(settings: SocketSettings, surroundings: SocketSurroundings): SocketChoice {
  const { mode } = settings;
  const cgroup = cgroupOf(settings, surroundings);
  // Only to switch off what is there.
  if (mode === 'off' && !surroundings.hasPins()) return leftAlone('socketLoadBalancer.mode is off');
  if (mode === 'auto' && !surroundings.isInHostNetwork()) {
    return leftAlone('this process is not in the network namespace of the node');
  }
  if (cgroup === undefined) {
    return leftAlone(
      'no cgroup2 with the root of all cgroups is mounted here: mount it, or set socketLoadBalancer.cgroup',
    );
  }
  const ability = surroundings.ability(cgroup);
  if (ability.outcome !== 'supported') return leftAlone(ability.reason);
  return { outcome: 'used', place: { directory: PIN_DIRECTORY, cgroup } };
}

function cgroupOf({ cgroup }: SocketSettings, { cgroups }: SocketSurroundings): string | undefined {
  return cgroup === '' ? cgroups().find(({ isHostRoot }) => isHostRoot)?.path : cgroup;
}

function leftAlone(reason: string): SocketChoice {
  return { outcome: 'left alone', reason };
}
