import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { until } from './daemon.ts';
import { UNHURRIED } from './host.ts';
import type { LanNode } from './lan.ts';
import { describeWithIpvs, needsKeepalived, UNLESS_LEFT_OUT } from './probe.ts';
import { FileLan, flagsOf } from './vrrp-network.ts';

const SERVICES = 1000;
const NODES = ['n1', 'n2', 'n3'];
/** All ids of a network; so many of them are for addresses that any node may hold. */
const IDS = 255;
const GROUPS = 16;
const VIPS = Array.from({ length: SERVICES }, (_, i) => `10.10.${1 + Math.floor(i / 250)}.${1 + (i % 250)}`);
const ADDED = '10.10.9.9';
/** Tells when `ip monitor` has begun to listen, and has told all. */
const MARKS = ['192.0.2.1', '192.0.2.2'] as const;
/** Half a minute on a good processor that has nothing else to do. */
const WAIT = { timeout: 300_000, interval: 500 };

describeWithIpvs('1000 addresses announced by VRRP', () => {
  describe('on three nodes', { ...UNHURRIED, ...UNLESS_LEFT_OUT, ...needsKeepalived() }, () => {
    it.each([
      { policy: 'Cluster', localTo: null, most: GROUPS },
      { policy: 'Local', localTo: NODES, most: IDS - GROUPS },
    ])('of policy $policy are shared out, and one more touches its group alone', async ({
      policy,
      localTo,
      most,
    }) => {
      using lan = new FileLan(NODES.length, `groups: ${GROUPS}, preemptDelaySeconds: 0`);
      const startedMs = performance.now();
      lan.announce(oneEach(VIPS), localTo);
      for (const node of lan.nodes) lan.start(node);
      await expect.poll(() => Promise.all(lan.nodes.map(isInOrder)), WAIT).toEqual([true, true, true]);
      const heldBy = () => lan.nodes.map((node) => among(VIPS, lan.held(node)));
      // A node that lets a group go says so before it has taken its addresses off.
      await expect.poll(() => heldBy().flat().toSorted(), WAIT).toEqual(VIPS.toSorted());
      const heldMs = Math.round(performance.now() - startedMs);
      const held = heldBy();
      const shares = held.map(({ length }) => length);
      expect(Math.min(...shares)).toBeGreaterThan(SERVICES / 10);
      for (const node of lan.nodes) {
        // It exits with another code than 0 where it does not take it.
        node.run(['keepalived', '--config-test', '--use-file', join(node.vrrpDirectory, 'keepalived.conf')]);
        const ids = idsOf(node);
        expect(ids.every((id) => id >= 1 && id <= IDS)).toBe(true);
        expect([new Set(ids).size, ids.length <= most]).toEqual([ids.length, true]);
      }

      const idCount = Math.max(...lan.nodes.map((node) => idsOf(node).length));
      const before = lan.nodes.map(stateOf);
      const monitors = await Promise.all(lan.nodes.map(startMonitor));
      const addedMs = performance.now();
      lan.announce(oneEach([...VIPS, ADDED]), localTo);
      await expect.poll(() => lan.holders(ADDED).length, WAIT).toBe(1);
      const tookMs = Math.round(performance.now() - addedMs);
      const changes = () => lan.nodes.map((node, i) => changedFiles(before[i]?.files, filesOf(node)));
      await expect.poll(() => changes().every(({ length }) => length > 0), WAIT).toBe(true);
      await expect.poll(() => Promise.all(lan.nodes.map(isInOrder)), WAIT).toEqual([true, true, true]);
      const [holder] = lan.holders(ADDED);
      const [[file = ''] = []] = changes();
      expect(file).toMatch(/^svcplane_4_\d+\.conf$/);
      expect(changes()).toEqual(NODES.map(() => [file]));
      for (const [i, node] of lan.nodes.entries()) {
        expect({ ...stateOf(node), files: null }).toEqual({ ...before[i], files: null });
        expect(await monitors[i]?.end()).toEqual(node === holder ? [ADDED] : []);
        expect(among(VIPS, lan.held(node))).toEqual(held[i]);
      }
      console.log(
        `vrrp: ${SERVICES} addresses of policy ${policy} in ${idCount} groups held after ` +
          `${heldMs} ms, shared out as ${shares.join(', ')}; one more held after ${tookMs} ms`,
      );
    });
  });
});

const oneEach = (vips: readonly string[]) => vips.map((vip) => [vip]);

function among(vips: readonly string[], held: ReadonlySet<string>): readonly string[] {
  return vips.filter((vip) => held.has(vip));
}

interface Said {
  readonly holder: string | null;
  readonly order: readonly string[];
}

/** Whether a node says that it has the groups in which it is the first in order, and no others. */
async function isInOrder(node: LanNode): Promise<boolean> {
  const { code, stdout, stderr } = await node.svcplane(['status', '-o', 'json', ...flagsOf(node)]);
  if (code !== 0) throw new Error(`svcplane status ends with ${code}: ${stderr}`);
  const { announcements }: { readonly announcements: readonly Said[] } = JSON.parse(stdout);
  const isRight = ({ holder, order }: Said) => holder === (order[0] === node.name ? 'here' : 'elsewhere');
  return announcements.length > 0 && announcements.every(isRight);
}

function filesOf({ vrrpDirectory }: LanNode): ReadonlyMap<string, string> {
  const names = readdirSync(vrrpDirectory).filter((name) => /\.(conf|track)$/.test(name));
  return new Map(names.map((name) => [name, readFileSync(join(vrrpDirectory, name), 'utf8')]));
}

function idsOf(node: LanNode): readonly number[] {
  return [...filesOf(node).values()].flatMap((file) =>
    [...file.matchAll(/virtual_router_id (\d+)/g)].map(([, id]) => Number(id)),
  );
}

interface NodeState {
  readonly files: ReadonlyMap<string, string>;
  /** Of keepalived and of its child. */
  readonly processes: readonly string[];
  /** How often an instance has entered a state. */
  readonly transitions: number;
}

function stateOf(node: LanNode): NodeState {
  const read = (name: string) => readFileSync(join(node.vrrpDirectory, name), 'utf8');
  return {
    files: filesOf(node),
    processes: ['keepalived.pid', 'vrrp.pid'].map(read),
    transitions: read('keepalived.log').match(/ Entering \w+ STATE/g)?.length ?? 0,
  };
}

function changedFiles(
  before: ReadonlyMap<string, string> = new Map(),
  after: ReadonlyMap<string, string>,
): readonly string[] {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => before.get(name) !== after.get(name));
}

/** What `ip monitor` tells of the addresses of a node's link. */
interface Monitor {
  /** @returns the addresses that came or went until now */
  end(): Promise<readonly string[]>;
}

async function startMonitor(node: LanNode): Promise<Monitor> {
  const child = node.namespace.start(['ip', '-o', 'monitor', 'address']);
  let told = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    told += chunk;
  });
  const mark = async (address: string) => {
    await until(() => {
      node.run(['ip', 'address', 'replace', `${address}/32`, 'dev', 'lo']);
      return told.includes(address);
    });
  };
  await mark(MARKS[0]);
  return {
    end: async () => {
      await mark(MARKS[1]);
      child.kill();
      return [...new Set([...told.matchAll(/eth0 +inet ([\d.]+)/g)].map(([, address = '']) => address))];
    },
  };
}
