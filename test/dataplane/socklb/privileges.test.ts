import { spawnSync } from 'node:child_process';
import { rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mountFileSystem, unmountFileSystem } from '../../../native-bindings/mounts.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { makeCgroup, temporaryDirectory } from '../../native-bindings/socklb-lab.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** Attaches the programs, looks, and takes them away, and prints what came of it. */
const SCRIPT = `
  const load = (file) => import('${ROOT}/' + file);
  const { BpfSocklbKernel } = await load('src/dataplane/socklb/client.ts');
  const { socketPrograms } = await load('src/dataplane/socklb/bindings.ts');
  const { probeBpf } = await load('native-bindings/bpf-probe.ts');
  const { readSocklbObject } = await load('native-bindings/bpf-object.ts');
  const names = ['links', 'maps', 'object', 'programs'].map((name) => 'native-bindings/bpf-' + name + '.ts');
  const modules = Object.assign({}, ...(await Promise.all(names.map(load))));
  const [directory, cgroup] = process.argv.slice(1);
  const kernel = new BpfSocklbKernel(socketPrograms(modules, readSocklbObject('socklb')), { directory, cgroup });
  const { signal } = new AbortController();
  const attached = await kernel.attach(signal);
  const state = await kernel.programs(signal);
  const removed = await kernel.remove(signal);
  console.log(JSON.stringify({ probe: probeBpf(), attached, state, removed }));
`;

describe('the socket balancer', needsBpf(), () => {
  let bpffs = '';
  let cgroup = '';

  beforeAll(() => {
    bpffs = temporaryDirectory();
    mountFileSystem('bpf', bpffs);
    cgroup = makeCgroup();
  });

  afterAll(() => {
    rmdirSync(cgroup);
    unmountFileSystem(bpffs);
    rmdirSync(bpffs);
  });

  /** Of root with no other capabilities. */
  function attachWith(capabilities: readonly string[]): unknown {
    const kept = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
    const limits = ['--bounding-set', kept, '--inh-caps', kept, '--no-new-privs'];
    const node = [process.execPath, '--input-type=module', '-e', SCRIPT, join(bpffs, 'svcplane'), cgroup];
    const { stdout, stderr } = spawnSync('setpriv', [...limits, ...node], { encoding: 'utf8' });
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout);
  }

  it('attaches all its programs with CAP_BPF and CAP_NET_ADMIN alone, and removes them', () => {
    expect(attachWith(['bpf', 'net_admin'])).toEqual({
      probe: { outcome: 'supported' },
      attached: { outcome: 'ok' },
      state: 'attached',
      removed: { outcome: 'ok' },
    });
  });

  it.each([
    { held: ['bpf'], missing: 'CAP_NET_ADMIN' },
    { held: ['net_admin'], missing: 'CAP_BPF' },
    { held: [], missing: 'CAP_BPF and CAP_NET_ADMIN' },
  ])('attaches none with $held, and the probe names $missing', ({ held, missing }) => {
    expect(attachWith(held)).toMatchObject({
      probe: { outcome: 'unsupported', reason: `the process lacks ${missing}` },
      attached: { outcome: 'refused', code: 'EPERM' },
      state: 'absent',
    });
  });
});
