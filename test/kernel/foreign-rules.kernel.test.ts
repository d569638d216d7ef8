import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  addIptablesRules,
  CLOSED_PORT,
  FOREIGN,
  FOREIGN_PORT,
  FOREIGN_ROUTES,
  type ForeignState,
  foreignState,
  HOST_PORT,
  makeForeign,
  sysctlsOf,
  tableNames,
} from './foreign-setup.ts';
import { HeldConnections } from './held-connections.ts';
import { UNHURRIED } from './host.ts';
import { describeWithIpvs, isEmulated, UNLESS_LEFT_OUT } from './probe.ts';
import { type SvcplaneOn, svcplaneOn } from './svcplane-on.ts';
import {
  clusterIPs,
  externalIPs,
  SERVICE_ROUTES,
  TARGET_PORT,
  type TestService,
  vips,
} from './test-services.ts';
import { addressPair, FAMILIES } from './traffic/dual-stack.ts';
import type { Attached, Pod } from './traffic/lab-plan.ts';
import { type Outcome, type Request, Sockets } from './traffic/sockets.ts';
import { createLab, type Lab, type LabNode } from './traffic/topology.ts';

const TIMEOUT_MS = isEmulated ? 60_000 : 10_000;
/** How long a dropped packet is waited for in vain. */
const SILENCE_MS = isEmulated ? 5000 : 1000;
/** The Services have the very port that another program's rules send elsewhere. */
const OUR_PORT = HOST_PORT;

interface Question {
  readonly name: string;
  readonly request: Request & { readonly protocol: 'TCP' };
}

describeWithIpvs('rules and virtual servers of others', () => {
  let lab: Lab;
  let node: LabNode;
  let ourPod: Pod;
  let foreignPod: Pod;
  let clients: readonly Attached[];
  let sockets: Sockets;
  let held: HeldConnections;
  let svcplane: SvcplaneOn;
  let original: ForeignState;
  let originalSysctls: string;
  let whyNoIptables: string | undefined;
  const counted = { fresh: 0, held: 0 };

  beforeAll(async () => {
    lab = createLab({ nodes: 1, podsPerNode: 3, routes: [...SERVICE_ROUTES, ...FOREIGN_ROUTES] });
    sockets = new Sockets();
    held = new HeldConnections();
    const [first] = lab.nodes;
    const [ours, foreign, client] = first?.pods ?? [];
    if (!first || !ours || !foreign || !client) throw new RangeError('the lab has no node with three pods');
    node = first;
    [ourPod, foreignPod] = [ours, foreign];
    clients = [lab.outside, node, client];
    for (const family of FAMILIES) {
      for (const pod of [ourPod, foreignPod]) {
        sockets.serve({ ...pod, address: pod.addresses[family], port: TARGET_PORT, protocol: 'TCP' });
      }
      const any = addressPair('0.0.0.0', '::')[family];
      sockets.serve({ ...node, address: any, port: CLOSED_PORT, protocol: 'TCP' });
    }
    makeForeign(node, foreignPod);
    whyNoIptables = addIptablesRules(node);
    original = foreignState(node, () => false);
    originalSysctls = sysctlsOf(node);
    svcplane = svcplaneOn(lab, node);
    for (const { name, request } of foreignQuestions()) held.open({ name, ...request });
  }, UNHURRIED.timeout);

  afterAll(() => {
    console.log(
      `others: ${counted.fresh} new connections, ${counted.held} questions over held ones, ` +
        `iptables ${whyNoIptables ?? 'compared'}`,
    );
    held?.[Symbol.dispose]();
    sockets?.[Symbol.dispose]();
    lab?.[Symbol.dispose]();
  });

  /** Every client to each destination, over both families. */
  function questions(
    destinations: readonly {
      readonly name: string;
      readonly at: Attached['addresses'];
      readonly port: number;
    }[],
  ): readonly Question[] {
    return clients.flatMap(({ name: client, namespace }) =>
      FAMILIES.flatMap((family) =>
        destinations.map(({ name, at, port }): Question => {
          const request = { namespace, destination: at[family], port, protocol: 'TCP' } as const;
          return { name: `${client} ${name} ${family}`, request };
        }),
      ),
    );
  }

  const foreignQuestions = () =>
    questions([
      { name: 'host port', at: node.addresses, port: HOST_PORT },
      { name: 'host port of another address', at: FOREIGN.plain, port: HOST_PORT },
      { name: 'virtual server', at: FOREIGN.virtualServer, port: FOREIGN_PORT },
      { name: 'firewall mark', at: FOREIGN.marked, port: FOREIGN_PORT },
    ]);

  const ourQuestions = () =>
    questions([
      { name: 'ClusterIP', at: clusterIPs(1), port: OUR_PORT },
      { name: 'externalIP', at: externalIPs(1), port: OUR_PORT },
      { name: 'VIP', at: vips(1), port: OUR_PORT },
      { name: 'VIP, policy Local', at: vips(2), port: OUR_PORT },
    ]);

  const service = (number: number, more: Partial<TestService> = {}): TestService => ({
    name: `web-${number}`,
    number,
    vip: number,
    external: true,
    ports: [{ protocol: 'TCP', port: OUR_PORT, nodePort: 30_000 + number }],
    endpoints: [ourPod],
    ...more,
  });

  async function answersTo(asked: readonly Question[], timeoutMs = TIMEOUT_MS): Promise<readonly string[]> {
    const outcomes = await sockets.exchange(
      asked.map(({ request }) => request),
      { timeoutMs },
    );
    counted.fresh += asked.length;
    return asked.map(({ name }, i) => `${name}: ${shown(outcomes[i])}`);
  }

  /** That all of it works, over new connections and over those held since before there was anything of ours. */
  async function expectForeignAnswers(): Promise<void> {
    const asked = foreignQuestions();
    expect(await answersTo(asked)).toEqual(asked.map(({ name }) => `${name}: ${foreignPod.name}`));
    const direct = questions([{ name: 'pod', at: foreignPod.addresses, port: TARGET_PORT }]);
    const over = await held.ask(TIMEOUT_MS, () => answersTo(direct));
    expect(over).toEqual(Object.fromEntries(asked.map(({ name }) => [name, foreignPod.name])));
    counted.held += asked.length;
  }

  async function expectForeignIntact(): Promise<void> {
    await expectForeignAnswers();
    const before = foreignState(node, isOurs);
    expect({ ...before, droppedPackets: 0 }).toEqual({ ...original, droppedPackets: 0 });
    const closed = questions([{ name: 'closed', at: node.addresses, port: CLOSED_PORT }]);
    expect(await answersTo(closed, SILENCE_MS)).toEqual(closed.map(({ name }) => `${name}: timeout`));
    const dropped = foreignState(node, isOurs).droppedPackets - before.droppedPackets;
    expect(dropped).toBeGreaterThanOrEqual(closed.length);
  }

  /** Lets svcplane change the node, and asks others all the time. */
  async function expectForeignAnswersDuring(change: Promise<unknown>): Promise<void> {
    const during = { over: false };
    const ended = change.finally(() => {
      during.over = true;
    });
    do await expectForeignAnswers();
    while (!during.over);
    await ended;
  }

  async function expectOursToWork(): Promise<void> {
    const asked = ourQuestions();
    expect(await answersTo(asked)).toEqual(asked.map(({ name }) => `${name}: ${ourPod.name}`));
  }

  describe('stay as they are, and work', UNHURRIED, () => {
    it('before svcplane', async () => {
      expect(original.virtualServers).toHaveLength(8);
      expect(original.tables.filter((table) => table.startsWith('table '))).toHaveLength(
        whyNoIptables === undefined ? 5 : 3,
      );
      expect(original.iptables.length).toBeGreaterThan(whyNoIptables === undefined ? 2 : -1);
      await expectForeignIntact();
    });

    it('while it applies, and after', async () => {
      await expectForeignAnswersDuring(
        svcplane.apply([service(1), service(2, { externalTrafficPolicy: 'Local' })]),
      );
      expect(tableNames(node)).toContain('table inet svcplane');
      await expectOursToWork();
      await expectForeignIntact();
    });

    it('after it applied something else', UNLESS_LEFT_OUT, async () => {
      const added = [service(3), service(4, { externalTrafficPolicy: 'Local', endpoints: [] })];
      const kept = [service(1), service(2, { externalTrafficPolicy: 'Local' })];
      await expectForeignAnswersDuring(svcplane.apply([...kept, ...added]));
      await expectOursToWork();
      await expectForeignIntact();
      await expectForeignAnswersDuring(svcplane.apply([service(3)]));
      await expectForeignIntact();
    });

    it('after cleanup, which leaves nothing of ours', async () => {
      await expectForeignAnswersDuring(svcplane.cleanup());
      expect(tableNames(node)).not.toContain('table inet svcplane');
      expect(sysctlsOf(node)).toBe(originalSysctls);
      await expectForeignIntact();
    });
  });
});

function shown(outcome: Outcome | undefined): string {
  return outcome?.kind === 'answered' ? outcome.server : (outcome?.kind ?? 'nothing');
}

/** Whether a line of `ipvsadm -Sn` is of a Service of ours: by address, node port or our range of marks. */
function isOurs(line: string): boolean {
  const key = line.split(' ')[2] ?? '';
  return (
    /^\[?(10\.96|fd00:10:96|198\.51\.100|2001:db8:51|203\.0\.113|2001:db8:113)/.test(key) ||
    /:3000\d$/.test(key) ||
    Number(key) >= 0x01000000
  );
}
