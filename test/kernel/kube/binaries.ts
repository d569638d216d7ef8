import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'vitest';
import { leftOutBecause, whyNoIpvs } from '../probe.ts';

const KUBE_BINARIES = join(import.meta.dirname, '../../../scripts/kube-binaries');

/** Programs that are started here. */
export type Program = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-proxy' | 'kubectl';

/** What a program calls; the kernel tests' other tools are there wherever these tests run. */
const CALLS: Readonly<Partial<Record<Program, readonly string[]>>> = {
  'kube-apiserver': ['etcd'],
  'kube-proxy': ['iptables', 'ip6tables', 'ipset'],
};

/** The directory of a program that scripts/kube-binaries has built; none if it has not, or never builds it. */
function directoryOf(program: string): readonly string[] {
  if (!program.startsWith('kube')) return [];
  const { stdout } = spawnSync(KUBE_BINARIES, ['--if-cached', program], { encoding: 'utf8' });
  return [stdout.trim()];
}

function findProgram(program: string): string | undefined {
  const { KUBEBUILDER_ASSETS = '', PATH = '' } = process.env;
  return [...directoryOf(program), KUBEBUILDER_ASSETS, ...PATH.split(':')]
    .filter((directory) => directory !== '')
    .map((directory) => join(directory, program))
    .find((path) => existsSync(path));
}

/**
 * The path of a program.
 * @throws Error if it is not there: `whyNoPrograms` says so before
 */
export function pathOf(program: Program): string {
  const path = findProgram(program);
  if (path === undefined) throw new Error(`Cannot find ${program}`);
  return path;
}

/** Says in one line which of these programs, or of those they call, are not there; undefined if all are. */
export function whyNoPrograms(programs: readonly Program[]): string | undefined {
  const needed = [...new Set(programs.flatMap((program) => [program, ...(CALLS[program] ?? [])]))];
  const missing = needed.filter((name) => findProgram(name) === undefined);
  if (missing.length === 0) return undefined;
  return `no ${missing.join(', ')}: see scripts/kube-binaries --help and scripts/setup --lab`;
}

/**
 * A vitest `describe` for tests that need IPVS and programs of Kubernetes; skipped with the reason if one is not there,
 * or for `leftOutBecause`.
 */
export function describeWithKube(name: string, programs: readonly Program[], body: () => void): void {
  const skipReason = whyNoIpvs() ?? whyNoPrograms(programs) ?? leftOutBecause;
  if (skipReason === undefined) describe(name, body);
  else describe(name, { skip: true, meta: { skipReason } }, body);
}
