import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { STRICT_ARP_SYSCTLS } from '../../src/dataplane/ipvs/sysctls.ts';
import { readContainers } from '../deploy/daemon-set.ts';
import { node as nodeObject, service, slice } from '../objects.ts';
import { UNHURRIED } from './host.ts';
import { describeWithImage, ImageNode, imageConfig } from './image-node.ts';
import { startDaemon } from './kube/daemon.ts';
import { run } from './probe.ts';

const VIP = '10.10.0.1';
/** A node without others is sure of it after four adverts; the rest is the start of a process. */
const ANNOUNCED_MS = 120_000;
const { svcplane } = readContainers();
const { add = [], drop = [] } = svcplane.securityContext.capabilities ?? {};
/** As deploy's component `announcing` makes it. */
const ANNOUNCING = { capabilities: { add: [...add, 'NET_RAW'], drop } };

describeWithImage('the image, where keepalived is to announce', UNHURRIED, () => {
  let config: string;
  let node: ImageNode;
  beforeEach(() => {
    config = mkdtempSync(join(tmpdir(), 'svcplane-announcing-'));
    writeFileSync(join(config, 'config.yaml'), 'vrrp: { mode: keepalived, groups: 1 }\n');
    const spec = { type: 'LoadBalancer' };
    const front = { ...service({ spec }), status: { loadBalancer: { ingress: [{ ip: VIP }] } } };
    const items = [nodeObject({ name: 'n0', addresses: ['172.30.0.7'] }), front, slice()];
    writeFileSync(join(config, 'all.json'), JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
    node = new ImageNode(config);
    for (const command of [
      // A dummy link has no multicast, which is what a node without others uses.
      'link add eth0 type veth peer name wire',
      'link set wire up',
      'address add 172.30.0.7/24 dev eth0',
      'link set eth0 up',
    ]) {
      run(['ip', '-n', node.host.namespace.name, ...command.split(' ')]);
    }
    node.setSysctls();
    for (const [name, value] of STRICT_ARP_SYSCTLS) node.host.setSysctl(name, value);
  });
  afterEach(() => {
    node[Symbol.dispose]();
    rmSync(config, { recursive: true });
  });

  const FLAGS = ['--config', '/etc/svcplane/config.yaml', '--node', 'n0'];
  const onLink = () => node.host.run(['ip', '-o', 'address', 'show', 'dev', 'eth0']);

  it('has all that keepalived needs, and ends it in order', async () => {
    const arguments_ = ['run', '-f', '/etc/svcplane/all.json', ...FLAGS];
    const command = node.command(svcplane, ['/usr/bin/svcplane', ...arguments_], ANNOUNCING);
    const path = `PATH=${imageConfig().env.PATH}`;
    await using daemon = await startDaemon(['env', path, 'unshare', '--pid', '--fork', ...command]);
    await daemon.ready(() => onLink().includes(` ${VIP}/32 `), ANNOUNCED_MS);
    expect(daemon.log()).not.toMatch(/failed|EROFS|EPERM/);
    process.kill(Number(run(['pgrep', '--parent', String(daemon.pid)])), 'SIGTERM');
    await daemon.ended;
    expect(onLink()).not.toContain(VIP);
    expect(run(['ip', 'netns', 'pids', node.host.namespace.name])).toBe('');
  });

  it('has a doctor who misses NET_RAW, the link, and nothing else', () => {
    const doctor = (change: typeof ANNOUNCING | object) =>
      node
        .run(svcplane, ['/usr/bin/svcplane', 'doctor', ...FLAGS.slice(0, 2)], change)
        .stdout.split('\n')
        .filter((line) => line.includes(' announcing: '));
    expect(doctor(ANNOUNCING)).toEqual([
      expect.stringMatching(/^ok {6}announcing: keepalived, version \d+\.\d+/),
      'ok      announcing: CAP_NET_RAW',
      'ok      announcing: link eth0',
    ]);
    run(['ip', '-n', node.host.namespace.name, 'link', 'set', 'eth0', 'down']);
    const [, capability, link] = doctor({});
    expect(capability).toBe('error   announcing: CAP_NET_RAW: unsupported: the process lacks CAP_NET_RAW');
    expect(link).toBe('warning announcing: link eth0 is down');
  });
});
