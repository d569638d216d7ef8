import { describe, expect, it } from 'vitest';
import { until } from './daemon.ts';
import { UNHURRIED } from './host.ts';
import { type LanNode, VIP, VIP6 } from './lan.ts';
import { describeWithIpvs, isEmulated, needsKeepalived, UNLESS_LEFT_OUT } from './probe.ts';
import { FileLan, flagsOf } from './vrrp-network.ts';

const SYNC = 'connectionSync: { mode: on }\n';
const KEEP_SOURCE = 'keepSourceCIDRs: [10.10.0.0/26, "fd00:10::/64"]\n';
/** In it a download begins, and the other node is told of it. */
const PREEMPT_DELAY_SECONDS = isEmulated ? 60 : 10;
/** Ten a second: the kernel waits two seconds before it tells of a connection, and a failover takes three or four. */
const LINES = isEmulated ? 600 : 150;

describeWithIpvs('connections when their address moves', () => {
  describe('on two nodes', { ...UNHURRIED, ...UNLESS_LEFT_OUT, ...needsKeepalived() }, () => {
    it.each([
      { family: 'IPv4', vip: VIP },
      { family: 'IPv6', vip: VIP6 },
    ])('go on where the source is kept and the way back leads through the holder: $family', async ({
      vip,
    }) => {
      using lan = new FileLan(2, 'preempt: false', SYNC + KEEP_SOURCE);
      lan.routeBack();
      const [holder, other] = await begin(lan, vip);
      const download = lan.download(LINES, vip);
      await until(() => connections(other, vip) === 1);
      holder.fail();
      expect(await download).toBe(`complete ${LINES}`);
      expect(lan.holders(vip)).toEqual([other]);
    });

    it('are cut where the source is kept, but nobody has told the other node of them', async () => {
      using lan = new FileLan(2, 'preempt: false', KEEP_SOURCE);
      lan.routeBack();
      expect(await cut(lan)).toMatch(/^ECONNRESET \d+$/);
    });

    it('are cut where they are masqueraded, told of or not', async () => {
      using lan = new FileLan(2, 'preempt: false', SYNC);
      expect(await cut(lan)).toMatch(/^ECONNRESET \d+$/);
    });

    it.each([
      { name: 'go on', source: 'kept', settings: SYNC + KEEP_SOURCE, end: /^complete \d+$/ },
      { name: 'are cut', source: 'masqueraded', settings: SYNC, end: /^ECONNRESET \d+$/ },
      { name: 'are cut', source: 'kept, not told of', settings: KEEP_SOURCE, end: /^ECONNRESET \d+$/ },
    ])('$name where the holder lets go and lives on: source $source', async ({ settings, end }) => {
      using lan = new FileLan(2, `preemptDelaySeconds: ${PREEMPT_DELAY_SECONDS}`, settings);
      if (settings.includes(KEEP_SOURCE)) lan.routeBack();
      const [preferred, other] = await inOrder(lan, await begin(lan));
      // Whoever was there first has it until the delay is over.
      await until(() => lan.holders().length === 1 && lan.holders()[0] === preferred);
      preferred.fail();
      await until(() => lan.holders().includes(other) && lan.isAnswered());
      preferred.connect();
      lan.start(preferred);
      let ended = '';
      const download = lan.download(LINES * 3).then((said) => {
        ended = said;
      });
      if (settings.includes(SYNC)) await until(() => connections(preferred, VIP) === 1);
      expect(lan.holders()).toEqual([other]);
      await until(() => ended !== '' || (lan.holders().length === 1 && lan.holders()[0] === preferred));
      expect(ended).not.toMatch(/^complete/);
      await download;
      expect(ended).toMatch(end);
      expect(lan.holders()).toEqual([preferred]);
    });

    it('are cut where the policy is Local, though the node with the endpoint lives on', async () => {
      using lan = new FileLan(2, 'preempt: false', SYNC);
      const [n1, n2] = lan.nodes;
      if (!n1 || !n2) throw new Error('no nodes');
      lan.addPod(n1);
      const [holder, other] = await begin(lan, VIP, ['n1']);
      expect(holder).toBe(n1);
      const download = lan.download(LINES);
      await until(() => connections(other, VIP) === 1);
      lan.announce([[VIP]], ['n2']);
      expect(await download).toMatch(/^ECONNRESET \d+$/);
      expect(lan.holders()).toEqual([n2]);
    });

    it('are told of by daemons that come and go with svcplane, and not by those of others', async () => {
      using lan = new FileLan(2, 'preempt: false', SYNC);
      const [host] = lan.nodes;
      if (!host) throw new Error('no node');
      const daemons = () => host.run(['ipvsadm', '-L', '--daemon']);
      host.run(['ipvsadm', '--start-daemon', 'master', '--mcast-interface', 'lo', '--syncid', '3']);
      lan.announce([[VIP]]);
      const args = flagsOf(host);
      const files = ['-f', lan.manifests];
      const applied = await host.svcplane(['apply', ...files, ...args]);
      expect(applied.stderr).toContain('somebody else has started one, on lo id 3; left alone');
      expect(daemons()).toMatch(/master sync daemon \(mcast=lo, syncid=3\b/);
      expect(daemons()).toMatch(/backup sync daemon \(mcast=eth0, syncid=83\b/);
      const { stdout } = await host.svcplane(['snapshot', ...args]);
      expect(stdout).toContain('connsync backup eth0 id 83\nconnsync master lo id 3\n');
      host.run(['ipvsadm', '--stop-daemon', 'master']);
      expect((await host.svcplane(['plan', ...files, ...args])).stdout).toContain(
        '+ addSyncDaemon connection synchronisation, master',
      );
      await host.svcplane(['apply', ...files, ...args]);
      expect((await host.svcplane(['verify', ...files, ...args])).code).toBe(0);
      await host.svcplane(['cleanup', ...args]);
      expect(daemons().trim()).toBe('');
    });

    it('are told of by new daemons where the link was made anew', async () => {
      using lan = new FileLan(1, 'preempt: false', 'connectionSync: { mode: on, interface: sync0 }\n');
      const [host] = lan.nodes;
      if (!host) throw new Error('no node');
      const addLink = () => {
        host.run(['ip', 'link', 'add', 'sync0', 'type', 'dummy']);
        host.run(['ip', 'address', 'add', '172.31.0.1/24', 'dev', 'sync0']);
        host.run(['ip', 'link', 'set', 'sync0', 'up']);
      };
      addLink();
      lan.announce([[VIP]]);
      const args = flagsOf(host);
      const files = ['-f', lan.manifests];
      await host.svcplane(['apply', ...files, ...args]);
      expect((await host.svcplane(['verify', ...files, ...args])).code).toBe(0);
      host.run(['ip', 'link', 'delete', 'sync0']);
      addLink();
      expect((await host.svcplane(['verify', ...files, ...args])).code).toBe(2);
      expect((await host.svcplane(['snapshot', ...args])).stdout).toContain(
        'connsync backup sync0 id 83, cut off\nconnsync master sync0 id 83, cut off\n',
      );
      await host.svcplane(['apply', ...files, ...args]);
      expect((await host.svcplane(['verify', ...files, ...args])).code).toBe(0);
      expect(host.run(['ipvsadm', '-L', '--daemon'])).toMatch(
        /master sync daemon \(mcast=sync0, syncid=83\b/,
      );
    });
  });
});

/** Serves from all nodes. @returns the holder, then the other */
async function begin(
  lan: FileLan,
  vip = VIP,
  localTo: readonly string[] | null = null,
): Promise<readonly [LanNode, LanNode]> {
  lan.announce(localTo ? [[VIP]] : [[VIP, VIP6]], localTo);
  for (const node of lan.nodes) lan.start(node);
  await until(() => lan.holders(vip).length === 1 && lan.isAnswered(vip));
  const [holder] = lan.holders(vip);
  const other = lan.nodes.find((node) => node !== holder);
  if (!holder || !other) throw new Error('nobody holds the address');
  return [holder, other];
}

/** The nodes as they are to hold the address. */
async function inOrder(
  lan: FileLan,
  [holder, other]: readonly [LanNode, LanNode],
): Promise<readonly [LanNode, LanNode]> {
  const { stdout } = await holder.svcplane(['status', ...flagsOf(holder)]);
  const [, first] = /in order (n\d), n\d: 10\.10\.0\.1$/m.exec(stdout) ?? [];
  expect(lan.nodes.map(({ name }) => name)).toContain(first);
  return first === holder.name ? [holder, other] : [other, holder];
}

/** What becomes of a download whose holder dies. */
async function cut(lan: FileLan): Promise<string> {
  const [holder] = await begin(lan);
  const download = lan.download(LINES);
  await until(() => connections(holder, VIP) === 1);
  // As long as it takes to tell of it.
  await new Promise((resolve) => void setTimeout(resolve, 3000));
  holder.fail();
  return download;
}

/** Established ones through the address that a node knows of. */
function connections(node: LanNode, vip: string): number {
  const lines = node.run(['ipvsadm', '-Lnc']).split('\n');
  return lines.filter((line) => line.includes('ESTABLISHED') && line.includes(`${vip}`)).length;
}
