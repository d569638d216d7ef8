import { existsSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { until } from './daemon.ts';
import { UNHURRIED } from './host.ts';
import { describeWithIpvs, isEmulated, run, UNLESS_LEFT_OUT } from './probe.ts';
import { Lan, needsKeepalived, VIP, VIP6 } from './vrrp-network.ts';

const FAILOVERS = isEmulated ? 3 : 10;
/** Three adverts, and up to one more by priority (RFC 9568, 6.1); then a connect that began too early has to end. */
const TAKE_OVER_MS = isEmulated ? 15_000 : 5000;

describeWithIpvs('addresses announced by VRRP', () => {
  describe('on three nodes', { ...UNHURRIED, ...UNLESS_LEFT_OUT, ...needsKeepalived() }, () => {
    it('are held by one node, taken over when it dies, and stay where they are when it comes back', async () => {
      using lan = new Lan(3, 'preempt: false');
      lan.announce([[VIP, VIP6]]);
      for (const node of lan.nodes) lan.start(node);
      await until(() => lan.holders().length === 1 && lan.holders(VIP6).length === 1);
      await until(() => lan.isAnswered() && lan.isAnswered(VIP6));
      const gaps: number[] = [];
      for (let i = 0; i < FAILOVERS; i++) {
        const [holder, ...others] = lan.holders();
        if (!holder || others.length > 0) throw new Error(`${others.length + 1} nodes hold ${VIP}`);
        const failedMs = performance.now();
        holder.fail();
        await until(() => lan.isAnswered());
        gaps.push(Math.round(performance.now() - failedMs));
        const [successor] = lan.holders().filter((node) => node !== holder);
        holder.connect();
        lan.start(holder);
        // It serves again, and leaves the address where it is.
        await until(() => holder.run(['ipvsadm', '-Ln']).includes(`${VIP}:80`));
        await until(() => lan.holders().length === 1);
        await sleep(2000);
        expect(lan.holders()).toEqual([successor]);
      }
      console.log(`vrrp: ${FAILOVERS} failovers, unanswered for ${gaps.join(', ')} ms`);
      expect(Math.max(...gaps)).toBeLessThan(TAKE_OVER_MS);
    });

    it('go to a node with an endpoint where the policy is Local, and follow it', async () => {
      using lan = new Lan(3, 'preemptDelaySeconds: 0');
      lan.announce([[VIP]], ['n2']);
      for (const node of lan.nodes) lan.start(node);
      await until(() => names(lan) === 'n2');
      lan.announce([[VIP]], ['n3']);
      await until(() => names(lan) === 'n3');
      lan.announce([[VIP]], []);
      await until(() => names(lan) === '');
    });

    it('stay with their node while Services come and go, and are taken away with the last', async () => {
      using lan = new Lan(2, 'groups: 1');
      lan.announce([[VIP]]);
      for (const node of lan.nodes) lan.start(node);
      await until(() => lan.holders().length === 1 && lan.isAnswered());
      const before = names(lan);
      const [holder] = lan.holders();
      const config = ['--node', holder?.name ?? '', '--config', `${holder?.directory}/run.yaml`];
      const status = await holder?.svcplane(['status', ...config]);
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

    it('are held on both sides of a cut, and by one node when it has healed', async () => {
      using lan = new Lan(2, 'preemptDelaySeconds: 0');
      lan.announce([[VIP]]);
      for (const node of lan.nodes) lan.start(node);
      await until(() => lan.holders().length === 1);
      const before = names(lan);
      lan.divide();
      await until(() => lan.holders().length === 2);
      lan.unite();
      await until(() => names(lan) === before);
      await until(() => lan.isAnswered());
    });
  });
});

function names(lan: Lan, vip = VIP): string {
  return lan
    .holders(vip)
    .map(({ name }) => name)
    .join();
}
