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

/** Loads the programs so that the verifier tells where it contradicts itself, and prints those it does not take. */
const VERIFIED = `
  const load = (file) => import('${ROOT}/native-bindings/' + file);
  const { createMap, loadProgram, readSocklbObject } = await load('bpf-object.ts');
  const { BPF_F_TEST_REG_INVARIANTS } = await load('bpf-programs.ts');
  const refused = [];
  for (const build of ['socklb', 'socklb-no-retval']) {
    const object = readSocklbObject(build);
    const maps = new Map(object.maps.map((map) => [map.name, createMap(map, Math.min(map.maxEntries, 16))]));
    for (const program of object.programs) {
      try {
        loadProgram(object, program, (name) => maps.get(name).fd, BPF_F_TEST_REG_INVARIANTS)[Symbol.dispose]();
      } catch (error) {
        // EINVAL without a log: a kernel before 6.8 knows no such flag.
        if (error.cause.code !== 'EINVAL' || error.log !== '') refused.push(error.message);
      }
    }
  }
  console.log(JSON.stringify(refused));
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

  const attachWith = (capabilities: readonly string[]): unknown => runWith(capabilities, SCRIPT);

  /** Of root with no other capabilities. */
  function runWith(capabilities: readonly string[], script: string): unknown {
    const kept = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
    const limits = ['--bounding-set', kept, '--inh-caps', kept, '--no-new-privs'];
    const node = [process.execPath, '--input-type=module', '-e', script, join(bpffs, 'svcplane'), cgroup];
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

  it('gives the verifier nothing to warn of, with and without CAP_PERFMON', () => {
    expect(runWith(['bpf', 'net_admin'], VERIFIED)).toEqual([]);
    expect(runWith(['bpf', 'net_admin', 'perfmon'], VERIFIED)).toEqual([]);
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
