import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { until } from './daemon.ts';
import { UNHURRIED } from './host.ts';
import { type LanNode, VIP } from './lan.ts';
import { describeWithIpvs, needsKeepalived, run, UNLESS_LEFT_OUT } from './probe.ts';
import { FileLan } from './vrrp-network.ts';

/** As an engine does it: whatever is left is killed when the first process has ended. */
const CONTAINER = { under: ['unshare', '--pid', '--fork', '--mount-proc'] };

describeWithIpvs('svcplane run as the first process of a container', () => {
  describe('with keepalived', { ...UNHURRIED, ...UNLESS_LEFT_OUT, ...needsKeepalived() }, () => {
    it('ends it in order, so that another node takes over at once', async () => {
      using lan = new FileLan(2, 'groups: 1, preemptDelaySeconds: 0');
      const holder = await startAll(lan);
      const stoppedMs = performance.now();
      process.kill(firstProcess(lan, holder), 'SIGTERM');
      await until(() => lan.holders().some((node) => node !== holder));
      const movedMs = Math.round(performance.now() - stoppedMs);
      expect(await lan.daemons.get(holder)?.ended).toMatchObject({ code: 0 });
      console.log(`vrrp: moved ${movedMs} ms after SIGTERM`);
      expect(holder.run(['ip', '-o', 'address', 'show', 'dev', 'eth0'])).not.toMatch(
        / 10\.10\.|169\.254\.86/,
      );
      expect(processesOn(holder)).toEqual([]);
      await until(() => lan.isAnswered());
      // What it has left below /run is no hindrance to the container that takes its place.
      lan.start(holder, CONTAINER);
      await until(() => lan.holders()[0] === holder && lan.holders().length === 1);
      await until(() => lan.isAnswered());
    });

    it('takes the address off the link of one that was killed, when it is back', async () => {
      using lan = new FileLan(2, 'groups: 1, preempt: false');
      const holder = await startAll(lan);
      process.kill(firstProcess(lan, holder), 'SIGKILL');
      // Nothing takes it away there, and nobody else is told.
      await until(() => lan.holders().length === 2 && processesOn(holder).length === 0);
      lan.start(holder, CONTAINER);
      await until(() => lan.holders().length === 1);
      expect(lan.holders()).not.toContain(holder);
      await until(() => lan.isAnswered());
    });

    it('leaves no zombies, whatever keepalived is asked, and when its child dies', async () => {
      using lan = new FileLan(1, 'groups: 1, preemptDelaySeconds: 0');
      const [node] = lan.nodes;
      if (!node) throw new Error('a LAN without nodes');
      lan.announce([[VIP]]);
      lan.start(node, CONTAINER);
      await until(() => lan.holders().length === 1);
      for (const last of [2, 3, 4]) {
        lan.announce([[VIP], [`10.10.0.${last}`]]);
        await until(() => lan.holders(`10.10.0.${last}`).length === 1);
      }
      const child = Math.max(...keepalivedOn(node));
      process.kill(child, 'SIGKILL');
      await until(() => keepalivedOn(node).length === 2 && !keepalivedOn(node).includes(child));
      await until(() => lan.holders().length === 1);
      expect(zombiesOn(lan, node)).toEqual([]);
      process.kill(firstProcess(lan, node), 'SIGTERM');
      expect(await lan.daemons.get(node)?.ended).toMatchObject({ code: 0 });
    });

    it('starts it again when it dies, and leaves no more than its child for each time', async () => {
      using lan = new FileLan(1, 'groups: 1, preemptDelaySeconds: 0');
      const [node] = lan.nodes;
      if (!node) throw new Error('a LAN without nodes');
      lan.announce([[VIP]]);
      lan.start(node, CONTAINER);
      await until(() => lan.holders().length === 1);
      const parent = Math.min(...keepalivedOn(node));
      process.kill(parent, 'SIGKILL');
      await until(() => keepalivedOn(node).length === 2 && !keepalivedOn(node).includes(parent));
      await until(() => lan.holders().length === 1);
      // Node waits for no process that it has not started: the orphan is there until the container ends.
      expect(zombiesOn(lan, node).length).toBeLessThanOrEqual(1);
      process.kill(firstProcess(lan, node), 'SIGTERM');
      expect(await lan.daemons.get(node)?.ended).toMatchObject({ code: 0 });
    });
  });
});

/** @returns the node that holds the address, which is answered */
async function startAll(lan: FileLan): Promise<LanNode> {
  lan.announce([[VIP]]);
  for (const node of lan.nodes) lan.start(node, CONTAINER);
  await until(() => lan.nodes.every((node) => keepalivedOn(node).length === 2));
  // Who has started first holds it until the one that is to hold it has been heard.
  let holder: LanNode | undefined;
  let sinceMs = 0;
  await until(() => {
    const [first, ...others] = lan.holders();
    if (first !== holder || others.length > 0 || !lan.isAnswered()) {
      holder = first;
      sinceMs = performance.now();
    }
    return holder !== undefined && performance.now() - sinceMs >= SETTLED_MS;
  });
  if (!holder) throw new Error(`no node holds ${VIP}`);
  return holder;
}

/** More than three advertisements, after which somebody who is to hold an address does. */
const SETTLED_MS = 6000;

/** As the machine numbers it. */
function firstProcess(lan: FileLan, node: LanNode): number {
  return Number(run(['pgrep', '--parent', String(lan.daemons.get(node)?.process.pid)]));
}

function processesOn({ namespace }: LanNode): readonly number[] {
  return run(['ip', 'netns', 'pids', namespace.name]).split('\n').filter(Boolean).map(Number);
}

function keepalivedOn(node: LanNode): readonly number[] {
  return processesOn(node).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'keepalived\n';
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
}

/** As the container numbers processes: a zombie has no network namespace by which to find it. */
function zombiesOn(lan: FileLan, node: LanNode): readonly string[] {
  const enter = ['nsenter', '--target', String(firstProcess(lan, node)), '--pid', '--mount'];
  const all = run([...enter, 'ps', '-eo', 'state=,comm=']).split('\n');
  return all.filter((line) => line.startsWith('Z'));
}
