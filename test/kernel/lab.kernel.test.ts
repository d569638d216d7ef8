import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CommandError, connect, createNamespace, describeWithIpvs, run, whyNoIpvs } from './probe.ts';

const inLab =
  process.env.SVCPLANE_LAB_KERNEL === undefined
    ? { skip: true, meta: { skipReason: 'not started by scripts/lab' } }
    : {};

// Outside describeWithIpvs: in the lab, a kernel without IPVS is a failure and no reason to skip.
it('scripts/lab gives a kernel with IPVS', inLab, () => {
  expect(whyNoIpvs()).toBeUndefined();
});

describeWithIpvs('lab', () => {
  it('scripts/lab gives fresh /tmp and /run, and cgroup2', inLab, () => {
    const mounts = run(['findmnt', '--noheadings', '--output', 'TARGET,FSTYPE']);
    expect(mounts).toMatch(/\/tmp +tmpfs/);
    expect(mounts).toMatch(/\/run +tmpfs/);
    expect(mounts).toMatch(/\/sys\/fs\/cgroup\S* +cgroup2/);
  });

  it('scripts/lab gives a directory for results', inLab, () => {
    const directory = process.env.SVCPLANE_LAB_OUT ?? '';
    expect(() => writeFileSync(join(directory, 'probe'), '')).not.toThrow();
  });

  it('run() throws the status and standard error of a command that fails', () => {
    const failed = () => run(['sh', '-c', 'echo no such thing >&2; exit 3']);
    expect(failed).toThrow(CommandError);
    expect(failed).toThrow('exit code 3: no such thing');
  });

  it.each([
    { name: 'IPv4', client: '10.1.0.1/24', server: '10.1.0.2/24', url: 'http://10.1.0.2:8080/' },
    { name: 'IPv6', client: 'fd00:1::1/64', server: 'fd00:1::2/64', url: 'http://[fd00:1::2]:8080/' },
  ])('connect() makes two namespaces reach each other over $name', async ({ client, server, url }) => {
    using here = createNamespace('client');
    using there = createNamespace('server');
    connect(
      { namespace: here, interface: 'eth0', addresses: [client] },
      { namespace: there, interface: 'eth0', addresses: [server] },
    );
    const answer = `require('http').createServer((_, r) => r.end('there')).listen(8080, '::', () => console.log('up'))`;
    const process = there.start(['node', '--eval', answer]);
    if (process.stdout) await once(process.stdout, 'data');
    expect(here.run(['curl', '--silent', '--max-time', '30', url])).toBe('there');
  });

  it('createNamespace() has an IPVS table of its own', () => {
    using one = createNamespace('node');
    using other = createNamespace('node');
    one.run(['ipvsadm', '-A', '-t', '10.96.0.1:80', '-s', 'rr']);
    expect(one.run(['ipvsadm', '-Sn'])).toBe('-A -t 10.96.0.1:80 -s rr\n');
    expect(other.run(['ipvsadm', '-Sn'])).toBe('');
  });

  it('the kernel has every scheduler', () => {
    using node = createNamespace('node');
    const schedulers = 'rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh'.split(' ');
    const table = schedulers
      .map((scheduler, index) => `-A -t 10.96.0.1:${index + 1} -s ${scheduler}\n`)
      .join('');
    node.run(['ipvsadm', '--restore'], table);
    expect(node.run(['ipvsadm', '-Sn'])).toBe(table);
  });

  it('createNamespace() ends the processes in it and removes it when it is disposed of', async () => {
    const namespace = createNamespace('gone');
    const process = namespace.start(['sleep', '600']);
    await once(process, 'spawn');
    const ended = once(process, 'exit');
    // `ip netns exec` starts outside and moves in.
    while (!namespace.run(['ip', 'netns', 'pids', namespace.name]).includes(String(process.pid)));
    namespace[Symbol.dispose]();
    expect(await ended).toEqual([null, 'SIGKILL']);
    expect(run(['ip', 'netns', 'list'])).not.toContain(namespace.name);
    expect(() => namespace[Symbol.dispose]()).not.toThrow();
  });

  it('dummy links can be made', () => {
    using node = createNamespace('node');
    node.run(['ip', 'link', 'add', 'svcplane0', 'type', 'dummy']);
    expect(node.run(['ip', 'link', 'show', 'svcplane0'])).toContain('svcplane0');
  });
});
