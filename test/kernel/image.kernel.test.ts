import { globSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readContainers } from '../deploy/daemon-set.ts';
import { UNHURRIED } from './host.ts';
import { describeWithImage, ImageNode, imageRoot } from './image-node.ts';

const ROOT = join(import.meta.dirname, '../..');
const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
const { svcplane } = readContainers();
const PROGRAMS = ['usr/bin/node', 'usr/sbin/keepalived'];
/** It has 165 MB, three quarters of it Node: so much may come, and no distribution. */
const MAX_BYTES = 200_000_000;

describeWithImage('the image, in the containers of the DaemonSet', UNHURRIED, () => {
  let node: ImageNode;
  beforeEach(() => {
    node = new ImageNode(join(ROOT, 'examples'));
  });
  afterEach(() => node[Symbol.dispose]());

  const EXAMPLES = ['-f', '/etc/svcplane/guide', '--node', 'n0'];
  const table = () => node.host.state().table;

  it('has nothing but Node, svcplane, keepalived, and what they load', () => {
    const entries = globSync('**', { cwd: imageRoot(), withFileTypes: true }).filter((each) => each.isFile());
    const paths = entries.map((each) => relative(imageRoot(), join(each.parentPath, each.name)));
    expect(paths.filter((path) => path.includes('bin/')).sort()).toEqual(PROGRAMS);
    const others = paths.filter((path) => !/^(svcplane|usr\/share\/doc|lib(64)?)\//.test(path));
    expect(others.sort()).toEqual(['etc/nsswitch.conf', 'etc/passwd', ...PROGRAMS]);
    const code = paths.filter((path) => path.startsWith('svcplane/'));
    expect(
      code.filter((path) => !/\.([cm]?js|node|bpf\.o)$|\/package\.json$|licen[sc]e|copying/i.test(path)),
    ).toEqual([]);
    const bytes = paths.reduce((sum, path) => sum + statSync(join(imageRoot(), path)).size, 0);
    expect(bytes).toBeLessThan(MAX_BYTES);
  });

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

  const applyWithout = (capability: string) => {
    const { add = [] } = svcplane.securityContext.capabilities ?? {};
    expect(add).toContain(capability);
    const kept = { add: add.filter((name) => name !== capability), drop: [] };
    return node.run(svcplane, ['/usr/bin/svcplane', 'apply', ...EXAMPLES], { capabilities: kept });
  };

  it('can do nothing without NET_ADMIN', () => {
    const { code, stderr } = applyWithout('NET_ADMIN');
    expect(code).toBe(1);
    expect(stderr).toContain('CAP_NET_ADMIN');
  });

  it('does all but sockets without BPF', () => {
    node.setSysctls();
    const failed = applyWithout('BPF')
      .stderr.split('\n')
      .filter((line) => line.startsWith('failed: '));
    // Those that nobody but the host sets.
    expect(failed.filter((line) => !line.includes('EROFS; run sysctl -w net.'))).toEqual([]);
    expect(table().length).toBeGreaterThan(20);
  });
});
