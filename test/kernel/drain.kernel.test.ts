import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { service, slice } from '../objects.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { describeWithIpvs } from './probe.ts';

const VIP = '10.96.0.50';
const POD = '10.244.1.20';
const SERVER = '-A -t 10.96.0.50:80 -s rr';
const realServer = (weight: number) => `-a -t 10.96.0.50:80 -r 10.244.1.20:8080 -m -w ${weight}`;

const ECHO = `require('node:net').createServer((peer) => peer.on('error', () => {}).pipe(peer))
  .listen(8080, '${POD}', () => console.log('up'));`;

/** Sends each line of its input over one connection, and prints what comes back; ends with its input. */
const CLIENT = `exec 3<>/dev/tcp/${VIP}/80; while read -r line; do echo "$line" >&3; read -r answer <&3; echo "$answer"; done`;

/** Manifests of the Service with its endpoint, without it, and of nothing. */
function writeManifests(host: Host) {
  const write = (name: string, items: readonly object[]) =>
    host.file(`${name}.json`, JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
  return {
    full: write('full', [service(), slice({ endpoints: [{ address: POD }] })]),
    empty: write('empty', [service(), slice({ endpoints: [] })]),
    none: write('none', []),
  };
}

/** A host with an echo server as the Service's endpoint, which was applied, and a connection to the Service. */
async function openConnection() {
  const host = createHost('drain');
  const manifests = writeManifests(host);
  host.run(['ip', 'address', 'add', `${POD}/32`, 'dev', 'lo']);
  const echo = host.namespace.start([process.execPath, '--eval', ECHO]);
  if (echo.stdout) await once(echo.stdout, 'data');
  expect(await host.svcplane(['apply', '-f', manifests.full])).toMatchObject({ code: 0, stderr: '' });
  const client = host.namespace.start(['bash', '-c', CLIENT]);
  const ask = async (text: string): Promise<string> => {
    client.stdin?.write(`${text}\n`);
    const [answer] = client.stdout ? await once(client.stdout, 'data') : [''];
    return String(answer).trim();
  };
  expect(await ask('hello')).toBe('hello');
  const close = async () => {
    client.stdin?.end();
    await once(client, 'close');
    // The other side's end of it comes through the same tables a moment later.
    while (active(host)) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  return { host, manifests, ask, close };
}

/** Whether IPVS counts a connection as open. */
function active(host: Host): boolean {
  return / Masq +\d+ +[1-9]\d* +\d+ *$/m.test(host.run(['ipvsadm', '-Ln']));
}

const boundIn = (host: Host) => host.state().addresses.filter((line) => line.startsWith('svcplane0 '));

describeWithIpvs('svcplane with connections open', () => {
  describe('apply', UNHURRIED, () => {
    it('keeps a vanished endpoint until its connection closes', async () => {
      const { host, manifests, ask, close } = await openConnection();
      using _ = host;
      const emptied = await host.svcplane(['apply', '-f', manifests.empty]);
      expect(emptied.stdout).toMatch(
        /^\+ addElement nft empty4 .*\n~ drainRealServer .*\nApplied: 1 added, 1 changed, 0 deleted\.\n$/,
      );
      expect(host.state().table).toEqual([SERVER, realServer(0)]);
      expect(await host.svcplane(['apply', '-f', manifests.empty])).toMatchObject({
        stdout: 'Applied: 0 added, 0 changed, 0 deleted.\n',
      });
      expect(await host.svcplane(['verify', '-f', manifests.empty])).toMatchObject({
        code: 0,
        stdout: 'Verify: 0 missing, 0 altered, 0 stale, 0 foreign.\n',
      });
      expect(await ask('draining')).toBe('draining');
      const again = await host.svcplane(['apply', '-f', manifests.full]);
      expect(again.stdout).toMatch(
        /^~ setRealServer .*\n- deleteElement nft empty4 .*\nApplied: 0 added, 1 changed, 1 deleted\.\n$/,
      );
      expect(host.state().table).toEqual([SERVER, realServer(1)]);
      expect(await ask('wanted again')).toBe('wanted again');
      await host.svcplane(['apply', '-f', manifests.empty]);
      await close();
      // It is inactive for two minutes yet, and holds for three seconds.
      await sleep(3000);
      const closed = await host.svcplane(['apply', '-f', manifests.empty]);
      expect(closed.stdout).toMatch(/^- deleteRealServer .*\nApplied: 0 added, 0 changed, 1 deleted\.\n$/);
      expect(host.state().table).toEqual([SERVER]);
    });

    it('keeps the address of a deleted Service until its connection closes', async () => {
      const { host, manifests, ask, close } = await openConnection();
      using _ = host;
      expect(await host.svcplane(['apply', '-f', manifests.none])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state().table).toEqual([SERVER, realServer(0)]);
      expect(boundIn(host)).toEqual([`svcplane0 ${VIP}/32`]);
      expect(await ask('deleted')).toBe('deleted');
      await close();
      // It is inactive for two minutes yet, and holds for three seconds.
      await sleep(3000);
      expect(await host.svcplane(['apply', '-f', manifests.none])).toMatchObject({ code: 0, stderr: '' });
      expect(host.state().table).toEqual([]);
      expect(boundIn(host)).toEqual([]);
    });
  });
});
