import { once } from 'node:events';
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { startDaemon, until } from './daemon.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';

const VIP = '10.96.0.50';
const POD = '10.244.1.20';
const SERVER = '-A -t 10.96.0.50:80 -s rr';
const realServer = (address: string, weight = 1) => `-a -t 10.96.0.50:80 -r ${address}:8080 -m -w ${weight}`;

/** A file in place of another at once, as it should be done. */
function putManifests(host: Host, endpoints: readonly string[] | null): string {
  const objects =
    endpoints === null ? [] : [service(), slice({ endpoints: endpoints.map((address) => ({ address })) })];
  const list = { kind: 'List', apiVersion: 'v1', items: objects };
  const written = host.file('.new', JSON.stringify(list));
  const path = join(host.directory, 'all.json');
  renameSync(written, path);
  return path;
}

const count = (text: string, part: string): number => text.split(part).length - 1;

describeWithIpvs('svcplane run', () => {
  describe('with files', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('follows them, keeps what it has while they are broken, and leaves all in place at its end', async () => {
      using host = createHost('run');
      const daemon = await startDaemon(host, putManifests(host, [POD]));
      expect(host.state().table).toEqual([SERVER, realServer(POD)]);
      putManifests(host, [POD, '10.244.2.30']);
      await until(() => daemon.said().includes('(files changed)\n'));
      host.file('all.json', '{');
      await until(() => daemon.said().includes('stays in force\n'));
      rmSync(join(host.directory, 'all.json'));
      await until(() => count(daemon.said(), 'stays in force\n') === 2);
      const before = host.state();
      expect(before.table).toEqual([SERVER, realServer(POD), realServer('10.244.2.30')]);
      expect(before.addresses).toContain(`svcplane0 ${VIP}/32`);
      expect(await daemon.stop()).toMatchObject({ code: 0, signal: null, stderr: '' });
      expect(host.state()).toEqual(before);
    });

    it('lets no other svcplane change the node meanwhile, and starts again without a write', async () => {
      using host = createHost('run');
      const manifests = putManifests(host, [POD]);
      const daemon = await startDaemon(host, manifests);
      expect(await host.svcplane(['apply', '-f', manifests])).toMatchObject({ code: 1 });
      await daemon.stop();
      const again = host.start(['run', '-f', manifests]);
      const monitor = host.namespace.start(['ip', 'monitor', 'address', 'link']);
      let told = '';
      monitor.stdout?.on('data', (text) => {
        told += text;
      });
      // It listens to the kernel just before its first sync; the monitor listens to the same groups.
      const listeners = () =>
        readFileSync(`/proc/${again.process.pid}/net/netlink`, 'utf8').match(/ 00000111 /g);
      await until(() => listeners()?.length === 2);
      await new Promise((resolve) => setTimeout(resolve, 3000));
      again.process.kill('SIGTERM');
      expect(await again.ended).toMatchObject({ code: 0, stderr: '' });
      expect(told).toBe('');
    });
  });

  describe('with what somebody else does to its link', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('repairs it, and its own changes make it look no second time', async () => {
      using host = createHost('run');
      const daemon = await startDaemon(host, putManifests(host, [POD]));
      host.run(['ip', 'address', 'del', `${VIP}/32`, 'dev', 'svcplane0']);
      await until(() => host.state().addresses.includes(`svcplane0 ${VIP}/32`));
      host.run(['ip', 'link', 'set', 'svcplane0', 'down']);
      await until(() => / UP|,UP/.test(host.run(['ip', 'link', 'show', 'svcplane0'])));
      host.run(['ip', 'link', 'del', 'svcplane0']);
      await until(() => host.state().addresses.includes(`svcplane0 ${VIP}/32`));
      await until(() => count(daemon.said(), '(link notice)') >= 3);
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(count(daemon.said(), '(link notice)')).toBe(3);
      expect(await daemon.stop()).toMatchObject({ code: 0 });
    });
  });

  describe('with connections open', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('lets an endpoint that is gone drain, and deletes it when the last connection closes', async () => {
      using host = createHost('run');
      host.run(['ip', 'address', 'add', `${POD}/32`, 'dev', 'lo']);
      const echo = host.namespace.start([process.execPath, '--eval', ECHO]);
      if (echo.stdout) await once(echo.stdout, 'data');
      const daemon = await startDaemon(host, putManifests(host, [POD]));
      const client = host.namespace.start(['bash', '-c', CLIENT]);
      if (client.stdout) await once(client.stdout, 'data');
      putManifests(host, []);
      await until(() => daemon.said().includes('(files changed)\n'));
      expect(host.state().table).toEqual([SERVER, realServer(POD, 0)]);
      client.stdin?.end();
      await until(() => daemon.said().includes('(drain)\n'));
      expect(host.state().table).toEqual([SERVER]);
      await daemon.stop();
    });

    it('deletes it when the time is up', async () => {
      using host = createHost('run');
      host.run(['ip', 'address', 'add', `${POD}/32`, 'dev', 'lo']);
      const echo = host.namespace.start([process.execPath, '--eval', ECHO]);
      if (echo.stdout) await once(echo.stdout, 'data');
      const config = 'audit: { intervalSeconds: 0 }\ndrainTimeoutSeconds: 2\n';
      const daemon = await startDaemon(host, putManifests(host, [POD]), config);
      const client = host.namespace.start(['bash', '-c', CLIENT]);
      if (client.stdout) await once(client.stdout, 'data');
      putManifests(host, []);
      await until(() => daemon.said().includes('(drain)\n'));
      expect(host.state().table).toEqual([SERVER]);
      await daemon.stop();
    });
  });
});

const ECHO = `require('node:net').createServer((peer) => peer.on('error', () => {}).pipe(peer))
  .listen(8080, '${POD}', () => console.log('up'));`;

/** Opens a connection, says so, and holds it until its input ends. */
const CLIENT = `exec 3<>/dev/tcp/${VIP}/80; echo hello >&3; read -r answer <&3; echo "$answer"; cat >/dev/null`;
