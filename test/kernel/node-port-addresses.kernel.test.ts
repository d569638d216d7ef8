import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { node, service, slice } from '../objects.ts';
import { type Daemon, startDaemon, until } from './daemon.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';

const SERVICE = service({ spec: { ports: [{ name: 'http', port: 80, nodePort: 30080 }] } });

/** 30080 */
const NODE_PORT = '7580';

/** As in /proc/net/ip_vs. */
const hexOf = (address: string): string =>
  address
    .split('.')
    .map((part) => Number(part).toString(16).padStart(2, '0').toUpperCase())
    .join('');

const serves = (daemon: Daemon, address: string): boolean =>
  daemon.table().includes(`TCP  ${hexOf(address)}:${NODE_PORT} `);

const nodePorts = (host: Host): readonly string[] =>
  host.state().table.flatMap((line) => /^-A -t (.*):30080 /.exec(line)?.[1] ?? []);

/** How many notices the kernel could not queue: Groups and Drops of the socket in /proc/net/netlink. */
function lostNotices(pid: number): number {
  const rows = readFileSync(`/proc/${pid}/net/netlink`, 'utf8').split('\n');
  const drops = rows
    .map((row) => row.trim().split(/ +/))
    .filter(([, protocol, port, groups]) => protocol === '0' && port !== '0' && groups === '00000111')
    .map((row) => Number(row[8]));
  return Math.max(...drops);
}

/** A host with a network card, and a file that names another address as the Node's. */
function createNode(): { readonly host: Host; readonly manifests: string } {
  const host = createHost('nodeport');
  host.run(['ip', 'link', 'add', 'eth0', 'type', 'dummy']);
  host.run(['ip', 'link', 'set', 'eth0', 'up']);
  host.run(['ip', 'address', 'add', '192.0.2.10/24', 'dev', 'eth0']);
  const items = [SERVICE, slice({ endpoints: [{ address: '10.244.1.20' }] }), node()];
  return { host, manifests: host.file('all.json', JSON.stringify({ kind: 'List', items })) };
}

describeWithIpvs('NodePorts of svcplane run', () => {
  describe('follow the addresses of the host', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('by notices alone: an address that comes is served, one that goes is not', async () => {
      const { host, manifests } = createNode();
      using _ = host;
      const daemon = await startDaemon(host, manifests);
      expect(nodePorts(host)).toEqual(['192.0.2.10']);
      const figures: string[] = [];
      for (let i = 11; i < 21; i++) {
        const address = `192.0.2.${i}`;
        const startMs = performance.now();
        host.run(['ip', 'address', 'add', `${address}/24`, 'dev', 'eth0']);
        const addedMs = performance.now();
        await until(() => serves(daemon, address));
        const doneMs = performance.now();
        figures.push(`${Math.round(doneMs - startMs)} (${Math.round(doneMs - addedMs)})`);
        // A rest, so that the next one is the first of its kind again.
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
      console.log(`ms from the start (end) of ip address add to /proc/net/ip_vs: ${figures.join(', ')}`);
      host.run(['ip', 'address', 'del', '192.0.2.11/24', 'dev', 'eth0']);
      await until(() => !nodePorts(host).includes('192.0.2.11'));
      host.run(['ip', 'link', 'del', 'eth0']);
      await until(() => nodePorts(host).length === 0);
      await daemon.stop();
    });

    it("but not those of pods' links: 50 with the same gateway make nothing", async () => {
      const { host, manifests } = createNode();
      using _ = host;
      const daemon = await startDaemon(host, manifests);
      const pods = Array.from({ length: 50 }, (_, i) => [
        `link add veth${i} type veth peer name pod${i}`,
        `address add 10.244.1.1/32 dev veth${i}`,
        `address add fd00:10:244::1/128 dev veth${i} nodad`,
        `link set veth${i} up`,
      ]);
      host.run(['ip', '-batch', '-'], `${pods.flat().join('\n')}\n`);
      // What is told after all of them is acted upon after them.
      host.run(['ip', 'address', 'add', '192.0.2.11/24', 'dev', 'eth0']);
      await until(() => serves(daemon, '192.0.2.11'));
      expect(nodePorts(host)).toEqual(['192.0.2.10', '192.0.2.11']);
      // A node that is itself at the end of a veth, as one of kind.
      host.run(['ip', 'address', 'add', '172.18.0.2/16', 'dev', 'veth7']);
      await until(() => serves(daemon, '172.18.0.2'));
      await daemon.stop();
    });

    it('survives more notices than the socket can hold', async () => {
      const { host, manifests } = createNode();
      using _ = host;
      const daemon = await startDaemon(host, manifests);
      const burst = Array.from({ length: 30_000 }, (_, i) => {
        const address = `198.18.${(i >> 8) & 255}.${i & 255}/32`;
        return `address add ${address} dev lo\naddress del ${address} dev lo\n`;
      });
      // It cannot read while it stands still.
      const { pid } = daemon;
      process.kill(pid, 'SIGSTOP');
      host.run(['ip', '-batch', '-'], burst.join(''));
      host.run(['ip', 'address', 'add', '192.0.2.12/24', 'dev', 'eth0']);
      expect(lostNotices(pid)).toBeGreaterThan(0);
      process.kill(pid, 'SIGCONT');
      await until(() => serves(daemon, '192.0.2.12'));
      await until(() => nodePorts(host).length === 2);
      expect(await daemon.stop()).toMatchObject({ code: 0 });
    });
  });
});
