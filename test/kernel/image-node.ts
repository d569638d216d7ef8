import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'vitest';
import type { ImageConfig } from '../../scripts/image-root-files/dockerfile.ts';
import { type ContainerSpec, readContainers } from '../deploy/daemon-set.ts';
import { createHost, type Host, type UNHURRIED } from './host.ts';
import { leftOutBecause, whyNoIpvs } from './probe.ts';

const ROOT = join(import.meta.dirname, '../..');
const CONTAINER = join(ROOT, 'test/deploy/container.sh');
const { sysctls, svcplane } = readContainers();

const image = spawnSync(join(ROOT, 'scripts/image-root'), ['--if-cached'], {
  encoding: 'utf8',
}).stdout.trim();
/** @see include/uapi/linux/capability.h */
const CAPABILITIES: Readonly<Record<string, number>> = { NET_ADMIN: 12, NET_RAW: 13, BPF: 39 };

/** The directory with the files of the image. */
export function imageRoot(): string {
  return join(image, 'root');
}

/** What an engine would start of it. */
export function imageConfig(): ImageConfig {
  return JSON.parse(readFileSync(join(image, 'config.json'), 'utf8'));
}

/** Says in one line why the image can't be started here; undefined if it can. */
export function whyNoImage(): string | undefined {
  if (image === '')
    return 'no files of the image for these sources: scripts/image-root makes them, see its --help';
  if (spawnSync('capsh', ['--print']).error) return 'cannot run capsh (Debian: libcap2-bin)';
  return undefined;
}

/** Skipped with the reason where the image can't be started. */
export function describeWithImage(name: string, options: typeof UNHURRIED, body: () => void): void {
  const skipReason = whyNoImage() ?? whyNoIpvs() ?? leftOutBecause;
  if (skipReason === undefined) describe(name, options, body);
  else describe(name, { skip: true, meta: { skipReason } }, body);
}

/** What a container that has ended has printed. */
export interface Answer {
  /** null if a signal ended it */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A directory of the node in a container, read-only, beside what the DaemonSet mounts. */
export interface FurtherMount {
  readonly source: string;
  readonly mountPath: string;
}

/** A node with the image. */
export class ImageNode implements Disposable {
  readonly host: Host = createHost('image');
  readonly #state = mkdtempSync(join(tmpdir(), 'svcplane-state-'));
  readonly #config: string;

  /** @param config the directory in the place of the ConfigMap */
  constructor(config: string) {
    this.#config = config;
  }

  /**
   * The command line that starts a container of the DaemonSet on the node, with the caller's environment.
   * @param change of what the DaemonSet says
   */
  command(
    spec: ContainerSpec,
    command: readonly string[],
    change: Partial<ContainerSpec['securityContext']> = {},
    further: readonly FurtherMount[] = [],
  ): readonly string[] {
    const { privileged, capabilities } = { ...spec.securityContext, ...change };
    const kept = (capabilities?.add ?? []).map((name) => CAPABILITIES[name]);
    const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
    const all = Array.from({ length: last + 1 }, (_, number) => number);
    const dropped = privileged ? [] : all.filter((number) => !kept.includes(number));
    const args = [dropped.join(), privileged ? 'rw' : 'ro', this.#mounts(spec, further), ...command];
    const inNode = ['ip', 'netns', 'exec', this.host.namespace.name];
    return [...inNode, 'sh', CONTAINER, imageRoot(), ...args];
  }

  /** Runs a container to its end, as {@link command}. */
  run(
    spec: ContainerSpec,
    command: readonly string[],
    change: Partial<ContainerSpec['securityContext']> = {},
  ): Answer {
    const [file = '', ...args] = this.command(spec, command, change);
    const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8' });
    return { code: status, stdout, stderr };
  }

  /** Runs svcplane as the DaemonSet does, but for its arguments. */
  svcplane(...args: readonly string[]): Answer {
    return this.run(svcplane, ['/usr/bin/svcplane', ...args]);
  }

  /** Runs the container that sets sysctls. */
  setSysctls(): Answer {
    return this.run(sysctls, [...sysctls.command, ...sysctls.args]);
  }

  [Symbol.dispose](): void {
    this.host[Symbol.dispose]();
    rmSync(this.#state, { recursive: true });
  }

  #mounts({ volumeMounts }: ContainerSpec, further: readonly FurtherMount[]): string {
    const sources: Readonly<Record<string, string>> = {
      config: this.#config,
      state: this.#state,
      run: this.#state,
      modules: '/lib/modules',
      bpf: '/sys/fs/bpf',
      cgroup: '/sys/fs/cgroup',
    };
    const ofDaemonSet = volumeMounts.map(({ name, mountPath, readOnly }) => ({
      source: sources[name] ?? name,
      mountPath,
      mode: readOnly ? 'ro' : 'rw',
    }));
    return [...ofDaemonSet, ...further.map((mount) => ({ ...mount, mode: 'ro' }))]
      .filter(({ source }) => existsSync(source))
      .map(({ source, mountPath, mode }) => `${source} ${mountPath} ${mode}`)
      .join('\n');
  }
}
