import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ContainerSpec, readContainers } from '../deploy/daemon-set.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { leftOutBecause, whyNoIpvs } from './probe.ts';

const ROOT = join(import.meta.dirname, '../..');
const CONTAINER = join(ROOT, 'test/deploy/container.sh');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const { sysctls, svcplane } = readContainers();

const image = spawnSync(join(ROOT, 'scripts/image-root'), ['--if-cached'], {
  encoding: 'utf8',
}).stdout.trim();
const lastCapability = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
/** @see include/uapi/linux/capability.h */
const CAPABILITIES: Readonly<Record<string, number>> = { NET_ADMIN: 12 };

function whyNot(): string | undefined {
  if (image === '')
    return 'no files of the image for these sources: scripts/image-root makes them, see its --help';
  if (spawnSync('capsh', ['--print']).error) return 'cannot run capsh (Debian: libcap2-bin)';
  return whyNoIpvs() ?? leftOutBecause;
}

interface Answer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A node with the image. */
class ImageNode implements Disposable {
  readonly host: Host = createHost('image');
  readonly #state = mkdtempSync(join(tmpdir(), 'svcplane-state-'));

  /**
   * Runs a container of the DaemonSet to its end; the examples are in the place of its configuration.
   * @param change of what the DaemonSet says
   */
  run(
    spec: ContainerSpec,
    command: readonly string[],
    change: Partial<ContainerSpec['securityContext']> = {},
  ): Answer {
    const { privileged, capabilities } = { ...spec.securityContext, ...change };
    const kept = (capabilities?.add ?? []).map((name) => CAPABILITIES[name]);
    const all = Array.from({ length: lastCapability + 1 }, (_, number) => number);
    const dropped = privileged ? [] : all.filter((number) => !kept.includes(number));
    const args = [dropped.join(), privileged ? 'rw' : 'ro', this.#mounts(spec), ...command];
    const inNode = ['netns', 'exec', this.host.namespace.name, 'sh', CONTAINER, join(image, 'root'), ...args];
    const { status, stdout, stderr } = spawnSync('ip', inNode, { encoding: 'utf8' });
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

  #mounts({ volumeMounts }: ContainerSpec): string {
    const sources: Readonly<Record<string, string>> = {
      config: join(ROOT, 'examples'),
      state: this.#state,
      run: this.#state,
      modules: '/lib/modules',
    };
    return volumeMounts
      .map(({ name, mountPath, readOnly }) => [sources[name] ?? name, mountPath, readOnly ? 'ro' : 'rw'])
      .filter(([source = '']) => existsSync(source))
      .map((words) => words.join(' '))
      .join('\n');
  }
}

describeWithImage('the image, in the containers of the DaemonSet', UNHURRIED, () => {
  let node: ImageNode;
  beforeEach(() => {
    node = new ImageNode();
  });
  afterEach(() => node[Symbol.dispose]());

  const EXAMPLES = ['-f', '/etc/svcplane/guide', '--node', 'n0'];
  const table = () => node.host.state().table;

  it('has the version of the checkout', () => {
    expect(node.svcplane('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('has a doctor who misses nothing but the sysctls, and then nothing', () => {
    const errors = (text: string) => text.split('\n').filter((line) => line.startsWith('error'));
    const before = errors(node.svcplane('doctor').stdout);
    expect(before.length).toBeGreaterThan(0);
    expect(before.filter((line) => !/^error {3}sysctl .* read-only here$/.test(line))).toEqual([]);
    expect(node.setSysctls()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(errors(node.svcplane('doctor').stdout)).toEqual([]);
  });

  it('applies, looks and cleans up with the capabilities of the DaemonSet', () => {
    node.setSysctls();
    node.svcplane('apply', ...EXAMPLES);
    const applied = table();
    expect(applied.length).toBeGreaterThan(20);
    const { stdout } = node.svcplane('snapshot', '--observed', '-o', 'ipvsadm-save');
    expect(stdout.split('\n').filter(Boolean).sort()).toEqual(applied);
    expect(node.svcplane('cleanup').code).toBe(0);
    expect([table(), node.host.state().rules]).toEqual([[], '']);
  });

  it('needs no sysctl written that is as it should be', () => {
    node.setSysctls();
    const first = '/etc/svcplane/guide/01-clusterip.yaml';
    const apply = () => node.svcplane('apply', '-f', first, '--node', 'n0');
    expect(apply().code).toBe(0);
    expect(apply().stdout).toBe('Applied: 0 added, 0 changed, 0 deleted.\n');
  });

  it('does all but the sysctls where they are read-only and other than wanted, and says so', () => {
    const { code, stderr } = node.svcplane('apply', ...EXAMPLES);
    const failed = stderr.split('\n').filter((line) => line.startsWith('failed: '));
    expect(code).toBe(2);
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.filter((line) => !line.includes('EROFS; run sysctl -w net.'))).toEqual([]);
    expect(table().length).toBeGreaterThan(20);
  });

  it.each(svcplane.securityContext.capabilities?.add ?? [])('can do nothing without %s', (capability) => {
    const kept = {
      add: (svcplane.securityContext.capabilities?.add ?? []).filter((name) => name !== capability),
      drop: [],
    };
    const { code, stderr } = node.run(svcplane, ['/usr/bin/svcplane', 'apply', ...EXAMPLES], {
      capabilities: kept,
    });
    expect(code).toBe(1);
    expect(stderr).toContain(`CAP_${capability}`);
  });
});

function describeWithImage(name: string, options: typeof UNHURRIED, body: () => void): void {
  const skipReason = whyNot();
  if (skipReason === undefined) describe(name, options, body);
  else describe(name, { skip: true, meta: { skipReason } }, body);
}
