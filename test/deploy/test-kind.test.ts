import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const FILES = join(ROOT, 'scripts/test-kind-files');

describe('scripts/test-kind', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'svcplane-path-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  /** With these programs alone. */
  function run(programs: readonly string[], ...args: readonly string[]) {
    for (const name of ['bash', 'dirname', 'cat', ...programs]) {
      const [path = ''] = spawnSync('which', [name], { encoding: 'utf8' }).stdout.split('\n');
      symlinkSync(path, join(directory, name));
    }
    const { status, stdout, stderr } = spawnSync(join(ROOT, 'scripts/test-kind'), args, {
      encoding: 'utf8',
      env: { PATH: directory },
    });
    return { status, stdout, stderr };
  }

  it('is skipped where there is no container engine', () => {
    expect(run([])).toEqual({ status: 0, stdout: 'skipped: no container engine\n', stderr: '' });
  });

  it('is skipped where the engine does not run', () => {
    // A client whose daemon does not answer ends with 1.
    symlinkSync(spawnSync('which', ['false'], { encoding: 'utf8' }).stdout.trim(), join(directory, 'docker'));
    expect(run([]).stdout).toBe('skipped: no container engine\n');
  });

  it('is skipped where there is an engine, but no kind', () => {
    symlinkSync(spawnSync('which', ['true'], { encoding: 'utf8' }).stdout.trim(), join(directory, 'podman'));
    expect(run([]).stdout).toBe('skipped: no kind\n');
  });

  it('explains itself, and knows its arguments', () => {
    expect(run([], '--help').stdout).toMatch(/^usage: scripts\/test-kind/);
    expect(spawnSync(join(ROOT, 'scripts/test-kind'), ['--no']).status).toBe(1);
  });

  it('makes a cluster without kube-proxy, which svcplane reaches by the name of its node', () => {
    const [cluster] = loadAll(readFileSync(join(FILES, 'cluster.yaml'), 'utf8'));
    const { name, networking } = Object(cluster);
    expect(networking.kubeProxyMode).toBe('none');
    const overlay = readFileSync(join(FILES, 'svcplane/kustomization.yaml'), 'utf8');
    expect(overlay).toContain(`apiServer: https://${name}-control-plane:6443`);
  });
});
