import { existsSync, readlinkSync } from 'node:fs';
import { type BoundObject, type BpfModules, socketPrograms } from './dataplane/socklb/bindings.ts';
import { BpfSocklbKernel } from './dataplane/socklb/client.ts';
import {
  type Ability,
  BPFFS,
  choosePlace,
  PIN_DIRECTORY,
  type SocketSettings,
} from './dataplane/socklb/place.ts';

/** The modules of bpf(2), and what they find out about a kernel. */
export interface SocketBindings extends BpfModules {
  readSocklbObject(build: 'socklb' | 'socklb-no-retval'): BoundObject;
  findCgroup2Mounts(): readonly { readonly path: string; readonly isHostRoot: boolean }[];
  probeBpffs(path: string): Ability;
  probeBpf(): Ability;
  probeSockAddrPrograms(): Ability;
  probeSocketStorage(): Ability;
  probeLinks(): Ability;
  probeSetRetval(): Ability;
  queryPrograms(
    cgroup: string,
    attachType: number,
  ): { readonly flags: number; readonly ids: readonly number[] };
  readonly BPF_F_ALLOW_MULTI: number;
}

/**
 * The socket balancer of this node.
 * @param load loads the bindings, which takes a while
 * @returns undefined where sockets are left alone
 * @throws Error where it is told to be on and can't
 */
export async function openSockets(
  settings: SocketSettings,
  load: () => Promise<SocketBindings>,
): Promise<BpfSocklbKernel | undefined> {
  const hasPins = () => existsSync(PIN_DIRECTORY);
  // Most who have nothing to do with it are told so without the bindings.
  if (settings.mode === 'auto' ? !isInHostNetwork() : settings.mode === 'off' && !hasPins()) return undefined;
  const bindings = await load();
  const choice = choosePlace(settings, {
    hasPins,
    isInHostNetwork,
    cgroups: () => bindings.findCgroup2Mounts(),
    ability: (cgroup) => abilityOf(bindings, cgroup),
  });
  if (choice.outcome === 'used') {
    // Before Linux 5.18 a program can't say which error a client gets.
    const build = bindings.probeSetRetval().outcome === 'supported' ? 'socklb' : 'socklb-no-retval';
    return new BpfSocklbKernel(socketPrograms(bindings, bindings.readSocklbObject(build)), choice.place);
  }
  if (settings.mode === 'on' || settings.mode === 'hostOnly') {
    throw new Error(`Cannot balance sockets, as socketLoadBalancer.mode says: ${choice.reason}`);
  }
  return undefined;
}

/** The first that is lacking. */
function abilityOf(bindings: SocketBindings, cgroup: string): Ability {
  const probes = [
    () => bindings.probeBpffs(BPFFS),
    () => bindings.probeBpf(),
    () => bindings.probeSockAddrPrograms(),
    () => bindings.probeSocketStorage(),
    () => bindings.probeLinks(),
    () => shareability(bindings, cgroup),
  ];
  for (const probe of probes) {
    const ability = probe();
    if (ability.outcome !== 'supported') return ability;
  }
  return { outcome: 'supported' };
}

/** Whether nobody has attached programs there that stand alone. */
function shareability(
  { queryPrograms, ATTACH_TYPE, BPF_F_ALLOW_MULTI }: SocketBindings,
  cgroup: string,
): Ability {
  for (const [hook, attachType] of Object.entries(ATTACH_TYPE)) {
    const { flags, ids } = queryPrograms(cgroup, attachType);
    if (ids.length > 0 && (flags & BPF_F_ALLOW_MULTI) === 0) {
      const reason = `program ${ids.join(', ')} of somebody else stands alone at ${hook} of ${cgroup}`;
      return { outcome: 'unsupported', reason };
    }
  }
  return { outcome: 'supported' };
}

/** Whether this is the network namespace of process 1, as it is for a daemon of the node. */
function isInHostNetwork(): boolean {
  try {
    return readlinkSync('/proc/self/ns/net') === readlinkSync('/proc/1/ns/net');
  } catch {
    // Who may not look at process 1 may not attach programs either.
    return false;
  }
}
