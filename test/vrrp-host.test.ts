import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../src/config.ts';
import { inspectAnnouncing } from '../src/vrrp-host.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-vrrp-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const LINKS = [
  { name: 'eth0', isUp: true },
  { name: 'eth1', isUp: false },
];

function inspect(settings: object) {
  const { vrrp } = parseConfig({ vrrp: { mode: 'keepalived', directory, ...settings } }, '');
  return inspectAnnouncing(vrrp, LINKS, { outcome: 'supported' });
}

function program(script: string): string {
  const path = join(directory, 'keepalived');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('inspectAnnouncing()', () => {
  it('has nothing to say where nothing is to be announced', async () => {
    expect(await inspect({ mode: 'off', program: '/nowhere' })).toBeNull();
  });

  it('reads the version of keepalived', async () => {
    const path = program('echo "Keepalived v2.2.7 (01/16,2022)" >&2');
    expect(await inspect({ program: path })).toMatchObject({
      program: path,
      keepalived: { outcome: 'supported', version: '2.2.7' },
    });
  });

  it.each([
    { name: 'it is not there', script: undefined, reason: /^there is no \/.*: apt-get install keepalived/ },
    { name: 'it does not start', script: 'echo "no libnl" >&2; exit 127', reason: /with 127: no libnl$/ },
    { name: 'it is something else', script: 'echo "v1" >&2', reason: /--version ends with 0: v1$/ },
  ])('says why keepalived can’t be run: $name', async ({ script, reason }) => {
    const path = script === undefined ? join(directory, 'absent') : program(script);
    const report = await inspect({ program: path });
    expect(report?.keepalived).toEqual({ outcome: 'unsupported', reason: expect.stringMatching(reason) });
  });

  it.each([
    { name: 'eth0', state: 'up' },
    { name: 'eth1', state: 'down' },
    { name: 'eth9', state: 'absent' },
  ])('finds $name $state', async ({ name, state }) => {
    expect((await inspect({ interface: name, program: '/nowhere' }))?.link).toEqual({ name, state });
  });
});
