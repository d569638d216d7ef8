import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { AnnouncementCapture } from './announcement-capture.ts';
import { until } from './daemon.ts';
import { UNHURRIED } from './host.ts';
import { type Lan, type LanNode, VIP, VIP6 } from './lan.ts';
import { describeWithIpvs, isEmulated, needsKeepalived, run, UNLESS_LEFT_OUT } from './probe.ts';
import { FileLan, flagsOf } from './vrrp-network.ts';

const FAILOVERS = isEmulated ? 3 : 10;
/** Three adverts, and up to one more by priority (RFC 9568, 6.1); then a connect that began too early has to end. */
const TAKE_OVER_MS = isEmulated ? 15_000 : 5000;
/** Longer than a node waits in any case. */
const PREEMPT_DELAY_SECONDS = isEmulated ? 30 : 10;

describeWithIpvs('addresses announced by VRRP', () => {
  describe('on three nodes', { ...UNHURRIED, ...UNLESS_LEFT_OUT, ...needsKeepalived() }, () => {
    it('are held by one node, taken over when it dies, and stay where they are when it comes back', async () => {
      using lan = new FileLan(3, 'preempt: false');
      lan.announce([[VIP, VIP6]]);
      for (const node of lan.nodes) lan.start(node);
      await until(() => lan.holders().length === 1 && lan.holders(VIP6).length === 1);
      await until(() => lan.isAnswered() && lan.isAnswered(VIP6));
      using capture = new AnnouncementCapture(lan.client, 'eth0');
      const gaps: number[] = [];
      for (let i = 0; i < FAILOVERS; i++) {
        const vip = i % 2 === 0 ? VIP : VIP6;
        const { failed, successor, gapMs } = await failOver(lan, vip, capture);
        gaps.push(gapMs);
        failed.connect();
        lan.start(failed);
        // It serves again, and leaves the address where it is.
        await until(() => failed.run(['ipvsadm', '-Ln']).includes(`${VIP}:80`));
        await until(() => lan.holders(vip).length === 1);
        await sleep(2000);
        expect(names(lan, vip)).toBe(successor.name);
      }
      console.log(
        `vrrp: ${FAILOVERS} failovers, IPv4 and IPv6 by turns, unanswered for ${gaps.join(', ')} ms`,
      );
      expect(Math.max(...gaps)).toBeLessThan(TAKE_OVER_MS);
    });

    it('go to a node with an endpoint where the policy is Local, and follow it', async () => {
      using lan = new FileLan(3, 'preemptDelaySeconds: 0');
      lan.announce([[VIP]], ['n2']);
      for (const node of lan.nodes) lan.start(node);
      await until(() => names(lan) === 'n2');
      lan.announce([[VIP]], ['n3']);
      await until(() => names(lan) === 'n3');
      lan.announce([[VIP]], []);
      await until(() => names(lan) === '');
    });

    it('stay with their node while Services come and go, and are taken away with the last', async () => {
      using lan = new FileLan(2, 'groups: 1');
      lan.announce([[VIP]]);
      for (const node of lan.nodes) lan.start(node);
      await until(() => lan.holders().length === 1 && lan.isAnswered());
      const before = names(lan);
      const [holder] = lan.holders();
      const status = holder && (await holder.svcplane(['status', ...flagsOf(holder)]));
      expect(status?.stdout).toMatch(
        /^VRRP +IPv4 group 1: here, since \S+ \(.* ago\); in order n\d, n\d: 10\.10\.0\.1/m,
      );
      const keepalived = () =>
        run(['ip', 'netns', 'pids', lan.holders()[0]?.namespace.name ?? '']).split('\n').length;
      const processes = keepalived();
      // Whatever becomes of its files, a second one is not started beside it.
      rmSync(`${lan.holders()[0]?.directory}/vrrp`, { recursive: true });
      await until(() => existsSync(`${lan.holders()[0]?.directory}/vrrp/loaded`));
      expect([names(lan), keepalived()]).toEqual([before, processes]);
      lan.announce([[VIP], ['10.10.0.2']]);
      const answers: boolean[] = [];
      await until(() => {
        answers.push(lan.isAnswered());
        return lan.holders('10.10.0.2').length === 1 && lan.isAnswered('10.10.0.2');
      });
      expect([names(lan), names(lan, '10.10.0.2'), answers.every(Boolean)]).toEqual([before, before, true]);
      // The guard would hold back that all Services go at once.
      lan.announce([[]]);
      await until(() => lan.holders().length === 0);
      await until(() =>
        lan.nodes.every(({ namespace }) => !namespace.run(['ip', 'address']).includes('169.254.86')),
      );
    });

    it('go back to the first in order after the delay, not before', async () => {
      using lan = new FileLan(2, `preempt: true, preemptDelaySeconds: ${PREEMPT_DELAY_SECONDS}`);
      lan.announce([[VIP]]);
      for (const node of lan.nodes) lan.start(node);
      const [first, second] = await inOrder(lan);
      await until(() => names(lan) === first.name);
      first.fail();
      await until(() => names(lan) === second.name && lan.isAnswered());
      first.connect();
      lan.start(first);
      await until(() => names(lan) === first.name);
      // Begun with the node's return.
      const log = readFileSync(join(first.vrrpDirectory, 'keepalived.log'), 'utf8');
      const tookMs = enteredMs(log, 'MASTER') - enteredMs(log, 'BACKUP');
      console.log(`vrrp: taken back ${tookMs} ms after the first in order was there again`);
      // keepalived tells times in whole seconds.
      expect(tookMs).toBeGreaterThanOrEqual(PREEMPT_DELAY_SECONDS * 1000 - 1000);
      expect(tookMs).toBeLessThan(PREEMPT_DELAY_SECONDS * 1000 + TAKE_OVER_MS);
    });

    it('are held on both sides of a cut, and by one node when it has healed', async () => {
      using lan = new FileLan(2, 'preemptDelaySeconds: 0');
      lan.announce([[VIP]]);
      for (const node of lan.nodes) lan.start(node);
      const [first] = await inOrder(lan);
      await until(() => names(lan) === first.name);
      lan.divide();
      await until(() => lan.holders().length === 2);
      lan.unite();
      await until(() => names(lan) === first.name);
      await until(() => lan.isAnswered());
    });
  });
});

/**
 * Has the node die that holds an address, and waits until another one serves it, which must have told the network so
 * by gratuitous ARP or an unsolicited neighbour advertisement.
 */
async function failOver(lan: Lan, vip: string, capture: AnnouncementCapture) {
  const [failed, ...others] = lan.holders(vip);
  if (!failed || others.length > 0) throw new Error(`${others.length + 1} nodes hold ${vip}`);
  const seenBefore = capture.seen().length;
  const failedMs = performance.now();
  failed.fail();
  await until(() => lan.isAnswered(vip));
  const gapMs = Math.round(performance.now() - failedMs);
  // Two may take it at once, for their turns are but 4 ms apart; the second in order then lets go.
  await until(() => lan.holders(vip).length === 1);
  const [successor] = lan.holders(vip);
  if (!successor) throw new Error(`nobody holds ${vip}, and somebody answers`);
  await until(() =>
    capture
      .seen()
      .slice(seenBefore)
      .some(({ address, mac }) => address === vip && mac === successor.mac),
  );
  return { failed, successor, gapMs };
}

/** When an instance has first entered a state, in ms since the epoch, by keepalived's log. */
function enteredMs(log: string, state: 'MASTER' | 'BACKUP'): number {
  const line = log.split('\n').find((each) => each.includes(`Entering ${state} STATE`));
  if (line === undefined) throw new Error(`nothing is ${state}: ${log}`);
  return Date.parse(line.slice(0, line.indexOf(': ')));
}

/** The two nodes, in the order in which they are to hold the group, once one of them does. */
async function inOrder(lan: Lan): Promise<readonly [LanNode, LanNode]> {
  await until(() => lan.holders().length > 0);
  const [holder] = lan.holders();
  if (!holder) throw new Error(`nobody holds ${VIP} any more`);
  const { stdout } = await holder.svcplane(['status', '-o', 'json', ...flagsOf(holder)]);
  const [{ order }] = JSON.parse(stdout).announcements;
  const [first, second] = lan.nodes.toSorted((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
  if (!first || !second) throw new RangeError('there are no two nodes');
  return [first, second];
}

function names(lan: Lan, vip = VIP): string {
  return lan
    .holders(vip)
    .map(({ name }) => name)
    .join();
}
