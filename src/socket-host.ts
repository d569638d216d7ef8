import { existsSync, mkdirSync, statSync } from 'node:fs';
import { type BoundObject, type BpfModules, socketPrograms } from './dataplane/socklb/bindings.ts';
import { BpfSocklbKernel } from './dataplane/socklb/client.ts';
import {
  type Ability,
  BPFFS,
  type CgroupMount,
  choosePlace,
  findCgroup,
  hostNamespaceOf,
  type NamedAbility,
  PIN_DIRECTORY,
  type SocketChoice,
  type SocketRefusal,
  type SocketSettings,
  type SocketSurroundings,
  whyUnasked,
} from './dataplane/socklb/place.ts';
import { socketEvents } from './dataplane/socklb/statistics.ts';
import { type EndingBindings, endingAbility, openEnder } from './socket-ending-host.ts';

/** The modules of bpf(2), and what they find out about a kernel. */
export interface SocketBindings extends BpfModules, EndingBindings {
  readSocklbObject(build: 'socklb' | 'socklb-no-retval'): BoundObject;
  findCgroup2Mounts(): readonly CgroupMount[];
  probeBpffs(path: string): Ability;
  probeMakingDirectories(path: string): Ability;
  mountFileSystem(type: 'bpf' | 'cgroup2', path: string): void;
  unmountFileSystem(path: string): void;
  probeBpf(): Ability;
  probeSockAddrPrograms(): Ability;
  probeSocketStorage(): Ability;
  probeLinks(): Ability;
  probeSetRetval(): Ability;
  networkNamespaceCookie(): bigint | undefined;
  queryPrograms(
    cgroup: string,
    attachType: number,
  ): { readonly flags: number; readonly ids: readonly number[] };
  readonly BPF_F_ALLOW_MULTI: number;
}

/** Loads the bindings, which takes a while. */
type Load = () => Promise<SocketBindings>;

/** The socket balancer of this node, or the reason why there is none. */
export class NodeSockets implements Disposable {
  readonly #load: Load;
  readonly #access: 'read' | 'write';
  #settings: SocketSettings;
  #choice: SocketChoice;
  #kernel: BpfSocklbKernel | undefined;

  private constructor(load: Load, access: 'read' | 'write', settings: SocketSettings, choice: SocketChoice) {
    this.#load = load;
    this.#access = access;
    this.#settings = settings;
    this.#choice = choice;
  }

  /**
   * Never fails for what is missing: it is told by {@link state}.
   * @param access with `write`, file systems that are missing are mounted
   */
  static async open(settings: SocketSettings, access: 'read' | 'write', load: Load): Promise<NodeSockets> {
    const nobody: SocketChoice = { outcome: 'unasked', reason: 'nobody has asked yet' };
    const sockets = new NodeSockets(load, access, settings, nobody);
    await sockets.configure(settings);
    return sockets;
  }

  /** undefined where sockets are left alone. */
  get kernel(): BpfSocklbKernel | undefined {
    return this.#kernel;
  }

  /** Why sockets are left alone although they should not be; undefined if they are not, or may be. */
  get refusal(): SocketRefusal | undefined {
    return this.#choice.outcome === 'refused' ? this.#choice : undefined;
  }

  /** From now on. What was opened once stays open: there is something to switch off then. */
  async configure(settings: SocketSettings): Promise<void> {
    this.#settings = settings;
    if (this.#kernel) return;
    const reason = whyUnasked(settings, HERE);
    // Most who have nothing to do with it are told so without the bindings.
    const bindings = reason === undefined ? await this.#load() : undefined;
    if (bindings && this.#access === 'write' && settings.mode !== 'off') mountMissing(bindings, settings);
    this.#choice = bindings
      ? choosePlace(settings, surroundings(bindings, this.#access))
      : { outcome: 'unasked', reason: reason ?? '' };
    if (!bindings || this.#choice.outcome !== 'used') return;
    // Before Linux 5.18 a program can't say which error a client gets.
    const build = bindings.probeSetRetval().outcome === 'supported' ? 'socklb' : 'socklb-no-retval';
    const programs = socketPrograms(bindings, bindings.readSocklbObject(build));
    const { place } = this.#choice;
    const node = hostNamespaceOf(isInHostNetwork(), bindings.networkNamespaceCookie());
    this.#kernel = new BpfSocklbKernel(programs, place, openEnder(bindings), node);
  }

  /**
   * `events` is null where nothing is counted, or it can't be read.
   * @param failure why sockets are not balanced where there is all that it takes; null if they are
   */
  state(failure: string | null = null) {
    const { mode } = this.#settings;
    const choice = this.#choice;
    const isUsed = choice.outcome === 'used';
    return {
      mode,
      outcome: isUsed && failure !== null ? 'refused' : choice.outcome,
      cgroup: isUsed ? choice.place.cgroup : null,
      reason: isUsed ? failure : choice.reason,
      events: this.#events(),
    };
  }

  /** Closes descriptors; what is pinned stays. Again is harmless. */
  [Symbol.dispose](): void {
    this.#kernel?.[Symbol.dispose]();
  }

  #events(): Readonly<Record<string, number>> | null {
    try {
      return this.#kernel ? socketEvents(this.#kernel.counters()) : null;
    } catch {
      // Whoever asks for the status is to get it; a sync says what is wrong with the maps.
      return null;
    }
  }
}

/** Where cgroup2 is mounted on a host whose cgroups are of version 1: programs need no more of it than its root. */
export const OWN_CGROUP_MOUNT = '/run/svcplane/cgroup2';

/** Mounts what nobody has mounted. Without CAP_SYS_ADMIN it goes on missing, and is told as that. */
function mountMissing(bindings: SocketBindings, settings: SocketSettings): void {
  if (bindings.probeBpffs(BPFFS).outcome === 'unsupported')
    tryTo(() => bindings.mountFileSystem('bpf', BPFFS));
  if (settings.cgroup !== '' || bindings.findCgroup2Mounts().length > 0) return;
  tryTo(() => {
    mkdirSync(OWN_CGROUP_MOUNT, { recursive: true });
    bindings.mountFileSystem('cgroup2', OWN_CGROUP_MOUNT);
    // In a cgroup namespace it shows no more than that.
    if (findCgroup(settings, bindings.findCgroup2Mounts()).outcome !== 'supported') {
      bindings.unmountFileSystem(OWN_CGROUP_MOUNT);
    }
  });
}

function tryTo(act: () => void): void {
  try {
    act();
  } catch {
    // choosePlace() looks at what there is, and names what is missing and how to get it.
  }
}

/** What of this machine the socket balancer can use; changes nothing. */
export async function inspectSockets(settings: SocketSettings, load: Load) {
  const { mode } = settings;
  const unasked = whyUnasked(settings, HERE);
  if (unasked !== undefined) return { mode, unasked, abilities: [], ending: null, canTellErrors: true };
  const bindings = await load();
  const place = findCgroup(settings, bindings.findCgroup2Mounts());
  return {
    mode,
    unasked: null,
    abilities: [place, ...abilitiesOf(bindings, place.outcome === 'supported' ? place.cgroup : undefined)],
    ending: endingAbility(bindings),
    canTellErrors: bindings.probeSetRetval().outcome !== 'unsupported',
  };
}

const HERE = { hasPins: () => existsSync(PIN_DIRECTORY), isInHostNetwork };

function surroundings(bindings: SocketBindings, access: 'read' | 'write'): SocketSurroundings {
  return {
    ...HERE,
    cgroups: () => bindings.findCgroup2Mounts(),
    *abilities(cgroup) {
      yield* abilitiesOf(bindings, cgroup);
      if (access === 'write') yield pinning(bindings);
    },
  };
}

/** It takes a try to find out. */
function pinning({ probeMakingDirectories }: SocketBindings): NamedAbility {
  const fix = `let it be written, as by appArmorProfile Unconfined in a Pod`;
  return { ...probeMakingDirectories(BPFFS), what: `writing to ${BPFFS}`, fix };
}

const CAPABILITIES = 'run as root, or grant CAP_BPF and CAP_NET_ADMIN to the container';

function* abilitiesOf(bindings: SocketBindings, cgroup: string | undefined): Generator<NamedAbility> {
  const named = (ability: Ability, what: string, fix: string) => ({ ...ability, what, fix });
  const privilege = bindings.probeBpf();
  yield named(privilege, 'bpf(2) with CAP_BPF and CAP_NET_ADMIN', CAPABILITIES);
  // Without it nothing is to be learnt of the kernel.
  if (privilege.outcome === 'supported') yield* featuresOf(bindings);
  yield named(bindings.probeLinks(), 'programs attached by links', 'Linux 5.7 or newer');
  yield named(bindings.probeBpffs(BPFFS), `bpffs at ${BPFFS}`, `mount -t bpf bpf ${BPFFS}`);
  if (cgroup === undefined) return;
  yield named(
    shareability(bindings, cgroup),
    'room for our programs beside those of others',
    'bpftool cgroup tree tells whose they are: end it, or set socketLoadBalancer.mode to off',
  );
}

function* featuresOf(bindings: SocketBindings): Generator<NamedAbility> {
  const programs = { what: 'programs at connect(2)', fix: 'a kernel built with CONFIG_CGROUP_BPF' };
  yield { ...bindings.probeSockAddrPrograms(), ...programs };
  const storage = {
    what: 'storage of programs with a socket',
    fix: 'Linux 5.7 or newer, and from 6.19 on a processor that swaps 16 bytes at once',
  };
  yield { ...bindings.probeSocketStorage(), ...storage };
}

/** Whether nobody has attached programs there that stand alone. */
function shareability(
  { queryPrograms, ATTACH_TYPE, BPF_F_ALLOW_MULTI }: SocketBindings,
  cgroup: string,
): Ability {
  const alone: string[] = [];
  try {
    for (const [hook, attachType] of Object.entries(ATTACH_TYPE)) {
      const { flags, ids } = queryPrograms(cgroup, attachType);
      if (ids.length === 0 || (flags & BPF_F_ALLOW_MULTI) !== 0) continue;
      alone.push(`program ${ids.join(', ')} at ${hook}`);
    }
  } catch (error) {
    return { outcome: 'unknown', reason: error instanceof Error ? error.message : String(error) };
  }
  if (alone.length === 0) return { outcome: 'supported' };
  return { outcome: 'unsupported', reason: `somebody else's stand alone on ${cgroup}: ${alone.join('; ')}` };
}

/**
 * Whether this is the network namespace of process 1, as it is for a daemon of the node. Each namespace has files of its
 * own in /proc/net, which all may see; the namespace itself of a process only who has every capability that it has.
 */
function isInHostNetwork(): boolean {
  try {
    return statSync('/proc/self/net/dev').ino === statSync('/proc/1/net/dev').ino;
  } catch {
    // Other processes may be hidden from who has no more than it takes (hidepid).
    return false;
  }
}
