import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readContainers } from './daemon-set.ts';

const UNIT = readFileSync(join(import.meta.dirname, '../../deploy/systemd/svcplane.service'), 'utf8');

describe('svcplane.service', () => {
  it.skipIf(spawnSync('systemd-analyze', ['--version']).error)('has nothing that systemd finds', () => {
    const directory = mkdtempSync(join(tmpdir(), 'svcplane-unit-'));
    const unit = join(directory, 'svcplane.service');
    // What is verified includes that the program is there.
    writeFileSync(unit, UNIT.replace('/usr/local/bin/svcplane', process.execPath));
    const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', unit], {
      encoding: 'utf8',
    });
    rmSync(directory, { recursive: true });
    // It finds fault with units of the machine, too.
    const found = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('svcplane'));
    expect(found).toEqual([]);
  });

  it('consists of sections with settings', () => {
    const other = UNIT.split('\n').filter((line) => !/^(|#.*|\[\w+\]|[A-Z]\w+=\S.*)$/.test(line));
    expect(other).toEqual([]);
    expect(UNIT.match(/^\[\w+\]$/gm)).toEqual(['[Unit]', '[Service]', '[Install]']);
  });

  it('keeps of root what the DaemonSet keeps', () => {
    const kept = readContainers().svcplane.securityContext.capabilities?.add.map((name) => `CAP_${name}`);
    expect(UNIT).toContain(`\nCapabilityBoundingSet=${kept?.join(' ')}\n`);
    // Systemd has bpf(2) in no group that a service is given.
    expect(UNIT).toMatch(/^SystemCallFilter=.*\bbpf\b/m);
  });
});
