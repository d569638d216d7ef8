import { existsSync, readlinkSync } from 'node:fs';
import { type BoundObject, type BpfModules, socketPrograms } from './dataplane/socklb/bindings.ts';
import { BpfSocklbKernel } from './dataplane/socklb/client.ts';
import type { SocketEnding } from './dataplane/socklb/kernel.ts';
import {
  type Ability,
  BPFFS,
  choosePlace,
  PIN_DIRECTORY,
  type SocketSettings,
} from './dataplane/socklb/place.ts';
import { NamespaceSockets } from './dataplane/socklb/sockets-client.ts';
import type { Transport } from './netlink/transport.ts';

/** What sockets are ended with. */
export interface EndingBindings {
  probeEndingUdpSockets(): Ability;
  inNetworkNamespace<Result>(path: string, body: () => Result): Result;
  visibleNetworkNamespaces(): Iterable<{ readonly id: string; readonly path: string }>;
  readonly NetlinkSocket: { open(protocol: number): Transport & Disposable };
  readonly NETLINK_SOCK_DIAG: number;
}

/** The modules of bpf(2), and what they find out about a kernel. */
export interface SocketBindings extends BpfModules, EndingBindings {
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
    const programs = socketPrograms(bindings, bindings.readSocklbObject(build));
    return new BpfSocklbKernel(programs, choice.place, openEnder(bindings));
  }
  if (settings.mode === 'on' || settings.mode === 'hostOnly') {
    throw new Error(`Cannot balance sockets, as socketLoadBalancer.mode says: ${choice.reason}`);
  }
  return undefined;
}

/** What ends UDP sockets of this node, in all network namespaces that this process sees and may enter. */
export function openEnder(bindings: EndingBindings): NamespaceSockets {
  const ending = endingOf(bindings);
  const open = () => bindings.NetlinkSocket.open(bindings.NETLINK_SOCK_DIAG);
  return new NamespaceSockets(ending, {
    *candidates() {
      yield { id: ownNamespace(), path: null };
      if (ending.outcome === 'supported') yield* bindings.visibleNetworkNamespaces();
    },
    // A socket stays in the namespace where it was opened.
    open: ({ path }) => (path === null ? open() : bindings.inNetworkNamespace(path, open)),
  });
}

function endingOf(bindings: EndingBindings): SocketEnding {
  const ability = bindings.probeEndingUdpSockets();
  if (ability.outcome !== 'supported') return { outcome: 'unsupported', reason: ability.reason };
  try {
    bindings.inNetworkNamespace(OWN_NAMESPACE, () => undefined);
    return { outcome: 'supported' };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      outcome: 'partly',
      reason: `they can't be entered: ${reason}: run as root or with CAP_SYS_ADMIN`,
    };
  }
}

const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/** Its inode number. */
function ownNamespace(): string {
  return /\d+/.exec(readlinkSync(OWN_NAMESPACE))?.[0] ?? '';
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
