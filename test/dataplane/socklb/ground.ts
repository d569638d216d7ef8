import { rmdirSync } from 'node:fs';
import { join } from 'node:path';
import * as links from '../../../native-bindings/bpf-links.ts';
import * as maps from '../../../native-bindings/bpf-maps.ts';
import * as objects from '../../../native-bindings/bpf-object.ts';
import * as programs from '../../../native-bindings/bpf-programs.ts';
import { mountFileSystem, unmountFileSystem } from '../../../native-bindings/mounts.ts';
import { socketPrograms } from '../../../src/dataplane/socklb/bindings.ts';
import { BpfSocklbKernel } from '../../../src/dataplane/socklb/client.ts';
import type { SocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import type { SocketEnder } from '../../../src/dataplane/socklb/kernel.ts';
import type { SocketPlace } from '../../../src/dataplane/socklb/program.ts';
import type { SocklbRows } from '../../../src/dataplane/socklb/rows.ts';
import { joinNewCgroup, makeCgroup, temporaryDirectory } from '../../native-bindings/socklb-lab.ts';

const NEVER = new AbortController().signal;

/** A cgroup and a bpffs of a test's own: what is attached and pinned there reaches nobody else, and goes with them. */
export class SocketGround implements Disposable {
  readonly cgroup: string;
  readonly #bpffs: string;
  readonly #leave: () => void;

  private constructor(cgroup: string, leave: () => void) {
    this.cgroup = cgroup;
    this.#leave = leave;
    this.#bpffs = temporaryDirectory();
    mountFileSystem('bpf', this.#bpffs);
  }

  /** Moves this process into the cgroup, so that its sockets, and those of what it starts, are balanced. */
  static join(): SocketGround {
    const joined = joinNewCgroup();
    return new SocketGround(joined.path, () => joined[Symbol.dispose]());
  }

  /** With nobody in the cgroup. */
  static make(): SocketGround {
    const path = makeCgroup();
    return new SocketGround(path, () => rmdirSync(path));
  }

  /** Where one balancer of several is pinned. */
  place(name: string): SocketPlace {
    return { directory: join(this.#bpffs, name, 'v1'), cgroup: this.cgroup };
  }

  /** All who were in the cgroup must have left it. */
  [Symbol.dispose](): void {
    // What is pinned, and with it what is attached, goes with its file system.
    unmountFileSystem(this.#bpffs);
    rmdirSync(this.#bpffs);
    this.#leave();
  }
}

/** The socket balancer over bpf(2), as the daemon opens it. */
export function openKernel(
  place: SocketPlace,
  build: objects.SocklbBuild = 'socklb',
  ender?: SocketEnder,
): BpfSocklbKernel {
  return new BpfSocklbKernel(boundPrograms(build), place, ender);
}

/** The programs of a build, bound to bpf(2). */
export function boundPrograms(build: objects.SocklbBuild) {
  return socketPrograms({ ...links, ...maps, ...objects, ...programs }, objects.readSocklbObject(build));
}

/**
 * Looks at everything, plans and applies once. @returns the names of the operations
 * @throws Error if one is refused
 */
export async function syncOnce(dataplane: SocklbDataplane, wanted: SocklbRows): Promise<readonly string[]> {
  const { make, break: unmake } = dataplane.plan(await dataplane.observe(NEVER), wanted);
  for (const ops of [make, unmake]) {
    const { refused } = await dataplane.apply(ops, NEVER);
    if (refused.length > 0) throw new Error(refused.map(({ message }) => message).join('; '));
  }
  return [...make, ...unmake].map(({ op }) => op);
}
