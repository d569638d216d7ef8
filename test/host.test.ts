import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { directoryAbility, listedModules } from '../src/host.ts';

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
