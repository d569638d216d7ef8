import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directoryAbility, endsWith, listedModules, portsWithoutHairpin } from '../src/host.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-host-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('listedModules()', () => {
  it('reads the names of loadable and built-in modules, compressed ones too', () => {
    writeFileSync(
      join(directory, 'modules.dep'),
      'kernel/net/netfilter/ipvs/ip_vs_rr.ko.xz: kernel/net/netfilter/ipvs/ip_vs.ko.xz\nkernel/drivers/net/dummy.ko:\n',
    );
    writeFileSync(join(directory, 'modules.builtin'), 'kernel/net/ipv6/ipv6.ko\n');
    expect(listedModules(directory)).toEqual(new Set(['ip_vs_rr', 'dummy', 'ipv6']));
  });

  it('knows nothing where a list is missing', () => {
    writeFileSync(join(directory, 'modules.dep'), '');
    expect(listedModules(directory)).toBeUndefined();
  });
});

describe('directoryAbility()', () => {
  it('looks at the nearest directory that exists', () => {
    expect(directoryAbility(join(directory, 'a', 'b'))).toEqual({ outcome: 'supported' });
    mkdirSync(join(directory, 'a'));
    writeFileSync(join(directory, 'a', 'file'), '');
    expect(directoryAbility(join(directory, 'a', 'file', 'c')).outcome).toBe('unsupported');
  });
});

describe('endsWith()', () => {
  it.each([
    { name: 'a process of systemd', pid: 812, env: {}, ends: false },
    { name: 'the first process of a container', pid: 1, env: {}, ends: true },
    {
      name: 'one in a Pod with hostPID',
      pid: 812,
      env: { KUBERNETES_SERVICE_HOST: '10.96.0.1' },
      ends: true,
    },
  ])('is $ends for $name', ({ pid, env, ends }) => {
    expect(endsWith({ pid, env })).toBe(ends);
  });
});

describe('portsWithoutHairpin()', () => {
  const port = (name: string, hairpinMode: string) => {
    mkdirSync(join(directory, 'links', name, 'brport'), { recursive: true });
    writeFileSync(join(directory, 'links', name, 'brport/hairpin_mode'), `${hairpinMode}\n`);
  };
  const found = (callsIptables: string) => {
    writeFileSync(join(directory, 'bridge-nf-call-iptables'), `${callsIptables}\n`);
    return portsWithoutHairpin(join(directory, 'links'), directory);
  };

  it('names ports of no real device, in order, where iptables sees bridged packets', () => {
    port('veth2', '0');
    port('veth1', '0');
    port('veth3', '1');
    port('eth1', '0');
    mkdirSync(join(directory, 'links/eth1/device'));
    mkdirSync(join(directory, 'links/eth0'));
    expect(found('1')).toEqual(['veth1', 'veth2']);
    expect(found('0')).toEqual([]);
  });

  it('names none without bridges', () => {
    expect(portsWithoutHairpin(join(directory, 'links'), join(directory, 'none'))).toEqual([]);
    expect(found('1')).toEqual([]);
  });
});
