import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createHost, type Ended, type Host, UNHURRIED } from './host.ts';
import { load, wantedTable } from './load.ts';
import { describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';

const SERVICES = 40;

/** Runs the command behind it in a mount namespace that `preparation` has changed. */
const withMounts = (preparation: string): readonly string[] => [
  'unshare',
  '--mount',
  'sh',
  '-ec',
  `${preparation}\nexec "$@"`,
  'sh',
];

const READ_ONLY_SYSCTLS = withMounts('mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys');

const SYSCTLS = [
  'net.ipv4.ip_forward',
  'net.ipv4.vs.conntrack',
  'net.ipv4.vs.expire_nodest_conn',
  'net.ipv4.vs.expire_quiescent_template',
];

function createLoadedHost(): { readonly host: Host; readonly input: string } {
  const host = createHost('adverse');
  return { host, input: host.file('load.json', load(SERVICES, 2)) };
}

/** Why whom `under` makes of us can't run svcplane at all; undefined if it is within reach, which /root is not. */
function whyOutOfReach([command = '', ...args]: readonly string[]): string | undefined {
  const sources = join(import.meta.dirname, '../../src/main.ts');
  const { status } = spawnSync(command, [...args, 'test', '-r', sources]);
  return status === 0 ? undefined : `other users cannot read this checkout: ${sources}`;
}

/** That it ended with an error of one line, having said nothing else. */
function expectOneLine(ended: Ended, line: RegExp): void {
  expect(ended).toMatchObject({ code: 1, stdout: '' });
  expect(ended.stderr).toMatch(line);
  expect(ended.stderr).toMatch(/^svcplane: .*\n$/);
}

describeWithIpvs('svcplane in adversity', () => {
  describe('apply', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    const unprivileged = [
      { name: 'root without CAP_NET_ADMIN', under: ['setpriv', '--bounding-set=-net_admin'] },
      { name: 'a user', under: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] },
    ];
    it.for(unprivileged)('says what $name lacks, and changes nothing', async ({ under }, { skip }) => {
      const reason = whyOutOfReach(under);
      if (reason !== undefined) skip(reason);
      const { host, input } = createLoadedHost();
      using _ = host;
      const before = host.state();
      expectOneLine(
        await host.svcplane(['apply', '-f', input], { under }),
        /^svcplane: Cannot read the synchronisation daemons of IPVS: EPERM: .*CAP_NET_ADMIN/,
      );
      expect(host.state()).toEqual(before);
      expect(existsSync(host.ledger)).toBe(false);
    });

    it('goes on where /proc/sys is read-only, and names each sysctl with its fix', async () => {
      const { host, input } = createLoadedHost();
      using _ = host;
      const applied = await host.svcplane(['apply', '-f', input], { under: READ_ONLY_SYSCTLS });
      expect(applied.code).toBe(2);
      expect(applied.stderr.split('\n').filter(Boolean)).toEqual(
        SYSCTLS.map((name) =>
          expect.stringMatching(
            `^failed: Cannot set sysctl ${name} to 1: EROFS; run sysctl -w ${name}=1 on the host`,
          ),
        ),
      );
      expect(applied.stdout).toMatch(/\nApplied: \d+ added, 0 changed, 0 deleted, 4 failed\.\n$/);
      expect(host.state().table).toEqual(wantedTable(input));
      for (const name of SYSCTLS) host.setSysctl(name, '1');
      const right = await host.svcplane(['apply', '-f', input], { under: READ_ONLY_SYSCTLS });
      expect(right).toMatchObject({ code: 0, stderr: '' });
      // Not its own: they were never changed by it.
      const { sysctls } = host.state();
      expect(await host.svcplane(['cleanup'], { under: READ_ONLY_SYSCTLS })).toMatchObject({ code: 0 });
      expect(host.state().sysctls).toEqual(sysctls);
    });

    it('leaves a link of its name that is no dummy alone, and says what to do', async () => {
      const { host, input } = createLoadedHost();
      using _ = host;
      host.run(['ip', 'link', 'add', 'svcplane0', 'type', 'bridge']);
      const { addresses } = host.state();
      const applied = await host.svcplane(['apply', '-f', input]);
      expect(applied.stderr).toBe(
        'rejected: link svcplane0: it exists and is a bridge, not a dummy: name another --interface, or delete it\n',
      );
      expect(host.state()).toMatchObject({ addresses, table: wantedTable(input) });
      expect(await host.svcplane(['cleanup'])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state()).toMatchObject({ addresses, table: [] });
    });

    it('lets only one of two at work on the host', async () => {
      const { host, input } = createLoadedHost();
      using _ = host;
      const preload = `--import=${join(import.meta.dirname, 'stop-at.ts')}`;
      // It changes modules of the sources.
      const env = { SVCPLANE_PROGRAM: '', NODE_OPTIONS: preload, STOP_AT: 'ipvs:1', STOP_SIGNAL: 'SIGSTOP' };
      const first = host.start(['apply', '-f', input], { env });
      const pid = first.process.pid ?? 0;
      // It has written its ledger when it stops before its first batch.
      while (!stopped(host, pid)) await new Promise((resolve) => setTimeout(resolve, 50));
      const before = host.state();
      for (const args of [['apply', '-f', input], ['cleanup']]) {
        expectOneLine(
          await host.svcplane(args),
          /^svcplane: Cannot change this node: another svcplane is at work/,
        );
      }
      expect(host.state()).toEqual(before);
      first.process.kill('SIGCONT');
      expect(await first.ended).toMatchObject({ code: 0, stderr: '' });
      expect(host.state().table).toEqual(wantedTable(input));
    });

    const directories = [
      { name: 'is on a read-only file system', mount: 'mount -t tmpfs -o ro tmp', code: 'EROFS' },
      {
        name: 'is on a full file system',
        mount:
          'full() { mount -t tmpfs -o size=8k tmp "$1"; head -c 8192 /dev/zero >"$1/rest" || true; }; full',
        code: 'ENOSPC',
      },
    ];
    it.each(directories)('changes nothing when its state directory $name', async ({ mount, code }) => {
      const { host, input } = createLoadedHost();
      using _ = host;
      const directory = join(host.directory, 'other');
      mkdirSync(directory);
      const before = host.state();
      const args = ['apply', '-f', input, '--state-directory', directory];
      const refused = await host.svcplane(args, { under: withMounts(`${mount} ${directory}`) });
      expectOneLine(
        refused,
        new RegExp(`^svcplane: Cannot write the ledger ${directory}/ledger.json: ${code}: `),
      );
      expect(host.state()).toEqual(before);
    });

    it('changes nothing when its state directory is a file', async () => {
      const { host, input } = createLoadedHost();
      using _ = host;
      const before = host.state();
      const refused = await host.svcplane(['apply', '-f', input, '--state-directory', input]);
      expectOneLine(refused, /^svcplane: Cannot write the ledger .*: (EEXIST|ENOTDIR): /);
      expect(host.state()).toEqual(before);
    });
  });
});

function stopped(host: Host, pid: number): boolean {
  return /^State:\s+T/m.test(host.run(['cat', `/proc/${pid}/status`]));
}
