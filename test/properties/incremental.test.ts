import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { realServerKey, virtualServerKey } from '../../src/model/virtual-server.ts';
import { operationsOf } from '../../src/sync/sync-once.ts';
import { seededRandom } from '../fakes/faulty.ts';
import { configs, histories, type Step } from '../sync/arbitrary-events.ts';
import { IncrementalNode } from '../sync/incremental-node.ts';

describe('IncrementalSync', () => {
  it('leaves the kernel after each step as whole syncs do, and does no more than they', async () => {
    await fc.assert(
      fc.asyncProperty(histories, configs, async (history, config) => {
        const [node, other] = [new IncrementalNode({ config }), new IncrementalNode({ config })];
        for (const step of history) {
          for (const each of [node, other]) begin(each, step);
          const whole = await other.syncWhole();
          const { kind, plan, isComplete } = await node.sync();
          expect(isComplete).toBe(true);
          const texts = textsOf(plan).filter((text) => !CLEARS.test(text));
          if (kind === 'scoped') expect(whole).toEqual(expect.arrayContaining(texts));
          expect(await node.state()).toBe(await other.state());
          expect(await node.wholePlan()).toEqual([]);
          expect(node.index.desired).toEqual(node.desired());
          expect(node.index.rejected).toEqual(node.desired().rejected);
          expect(node.index.healthChecks).toEqual(node.desired().healthChecks);
        }
      }),
    );
  });
});

/** What nothing leads to any more: a process that starts has seen it for too short a time. */
const CLEARS = /^(deleteSocket(Slots|Table|Backend)|endSockets) /;

/** Events come, time passes, and clients connect and go. */
function begin(node: IncrementalNode, { events, clients, seconds }: Step): void {
  node.nowMs += seconds * 1000;
  const random = seededRandom(clients);
  const table = [...node.ipvs.table()].sort((a, b) => compare(keyOf(a), keyOf(b)));
  for (const virtualServer of table) {
    const realServers = virtualServer.realServers.map(({ config }) => realServerKey(config)).sort(compare);
    for (const realServer of realServers) {
      const fate = random();
      if (fate < 0.3) node.ipvs.connect(keyOf(virtualServer), realServer, 0);
      else if (fate < 0.5) node.ipvs.connect(keyOf(virtualServer), realServer, 3);
    }
  }
  node.put(events);
}

type TableRow = ReturnType<IncrementalNode['ipvs']['table']>[number];

function keyOf({ identity }: TableRow): string {
  return virtualServerKey(identity);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function textsOf(plan: Parameters<typeof operationsOf>[0]): readonly string[] {
  return operationsOf(plan).map(({ op, subject, detail }) => `${op} ${subject} ${detail}`);
}
