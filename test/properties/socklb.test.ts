import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { SocklbOp } from '../../src/dataplane/socklb/ops.ts';
import { parseSocklbOp } from '../../src/dataplane/socklb/parse-op.ts';
import { planSocklb, teardownSocklb } from '../../src/dataplane/socklb/plan.ts';
import { projectSocklb } from '../../src/dataplane/socklb/project.ts';
import { reduceSocklb } from '../../src/dataplane/socklb/reduce.ts';
import { ownedEndpoint, type Remain, remainKey } from '../../src/dataplane/socklb/remains.ts';
import { canonical, EMPTY_ROWS, modeOf, type SocklbRows } from '../../src/dataplane/socklb/rows.ts';
import { fromSnapshot, toSnapshot } from '../../src/dataplane/socklb/snapshot.ts';
import {
  desiredStates,
  projectOptions,
  reversed,
  servingText,
  wantedRows,
} from '../dataplane/socklb/arbitraries.ts';
import { NEVER, SocklbWorld } from '../dataplane/socklb/build.ts';
import { FollowedKernel } from '../dataplane/socklb/followed-kernel.ts';
import { seededRandom } from '../fakes/faulty.ts';
import {
  expectConvergent,
  expectDeterministic,
  expectIdempotent,
  expectRestartable,
  type LawSubject,
  operationsOf,
} from './laws.ts';

const NOW = Date.UTC(2026, 0, 1);

const STRAY: Remain = { kind: 'entry', key: 'ff'.repeat(20), sinceMs: 0 };

/** What somebody else may have done to rows that were made. */
type Damage = (rows: SocklbRows) => SocklbRows;

const damages: fc.Arbitrary<Damage> = fc.constantFrom<Damage[]>(
  (rows) => rows,
  (rows) => rows,
  (rows) => ({ ...rows, programs: 'partly' }),
  (rows) => ({ ...rows, config: { flags: 5, udpFlowSeconds: 0 } }),
  (rows) => withFault(rows, 'slot 0 leads to nothing'),
  (rows) => ({
    ...rows,
    remains: new Map(rows.remains).set(remainKey(STRAY), STRAY),
  }),
);

/** As observed: nobody knows what a damaged frontend leads to, nor that it leads nowhere. */
function withFault(rows: SocklbRows, fault: string): SocklbRows {
  const [first] = rows.services.values();
  if (!first?.place) return rows;
  const { id: serviceId, generation } = first.place;
  const slots = { kind: 'slots', serviceId, generation, slots: [0], sinceMs: null } as const;
  const backends = [...first.backends.values()].flatMap(({ id, address, port }) =>
    id === null
      ? []
      : [
          {
            kind: 'backend',
            id,
            serviceId,
            endpoint: { address, port, protocol: first.protocol },
            isTerminating: false,
            sinceMs: null,
          } as const,
        ],
  );
  return {
    ...rows,
    services: new Map(rows.services).set(first.key, { ...first, backends: new Map(), fault }),
    remains: new Map([
      ...rows.remains,
      [`slots ${serviceId}/${generation}`, slots],
      ...backends.map((each) => [`backend ${each.id}`, each] as const),
    ]),
  };
}

/** Two histories of wanted rows, some time apart, and some damage. */
const observedRows = fc
  .record({
    first: wantedRows,
    second: wantedRows,
    ageMs: fc.constantFrom(0, 10, 49, 50, 1000),
    damage: damages,
  })
  .map(({ first, second, ageMs, damage }): SocklbRows => {
    const start = { ...EMPTY_ROWS, observedAtMs: NOW };
    const one = reduceSocklb(start, operationsOf(planSocklb(start, first)));
    const two = reduceSocklb(one, operationsOf(planSocklb(one, second)));
    return damage({ ...two, observedAtMs: NOW + ageMs });
  });

/** As they are once all is settled, where no endpoint has weight 0. */
const cleanRows = wantedRows
  .map((wanted) => {
    const made = reduceSocklb(EMPTY_ROWS, operationsOf(planSocklb(EMPTY_ROWS, wanted)));
    return { ...made, observedAtMs: NOW };
  })
  .filter(({ remains, programs }) => remains.size === 0 && programs === 'attached');

const later = (rows: SocklbRows): SocklbRows => ({ ...rows, observedAtMs: rows.observedAtMs + 1000 });

function expectConverged(_before: SocklbRows, after: SocklbRows, wanted: SocklbRows): void {
  const texts = (rows: SocklbRows) => [...rows.services.values()].map(servingText).sort();
  expect(texts(after)).toEqual(texts(wanted));
  expect([...after.services.values()].filter(({ fault }) => fault !== null)).toEqual([]);
  if (modeOf(wanted.config.flags) !== 'off') {
    expect([after.programs, after.config]).toEqual(['attached', wanted.config]);
  }
  // Nothing remains but endpoints that are wanted with weight 0.
  const wantedLeft = [...wanted.services.values()].flatMap((row) => {
    const id = after.services.get(row.key)?.place?.id ?? 0;
    return [...row.backends.values()]
      .filter(({ weight }) => weight === 0)
      .map((each) => ownedEndpoint(id, each));
  });
  const left = [...after.remains.values()].map((remain) =>
    remain.kind === 'backend' && remain.endpoint
      ? ownedEndpoint(remain.serviceId, remain.endpoint)
      : remain.kind,
  );
  expect(left.sort()).toEqual(wantedLeft.sort());
}

const SUBJECT: LawSubject<SocklbRows, SocklbOp> = {
  dataplane: {
    plan: (observed, wanted) => planSocklb(observed, wanted, true),
    reduce: reduceSocklb,
  },
  cases: fc.record({ observed: observedRows, wanted: wantedRows }),
  withoutConnections: later,
  reversed,
  expectConverged,
};

describe('laws of socklb', () => {
  it('plan() is idempotent', () => {
    const { plan, reduce } = SUBJECT.dataplane;
    // Others are not wanted as they are: what remains is due some day.
    expectIdempotent({ ...SUBJECT, cases: fc.record({ observed: cleanRows, wanted: wantedRows }) });
    fc.assert(
      fc.property(SUBJECT.cases, ({ observed, wanted }) => {
        const once = reduce(observed, operationsOf(plan(observed, wanted)));
        expect(operationsOf(plan(once, wanted))).toEqual([]);
      }),
    );
  });
  it('plan() is convergent', () => expectConvergent(SUBJECT));
  it('plan() is restartable', () => expectRestartable(SUBJECT));
  it('plan() is deterministic', () => expectDeterministic(SUBJECT));
});

describe('ids of socklb', () => {
  it('are never given twice, and generations never while their slots are there', () => {
    fc.assert(
      fc.property(observedRows, fc.array(wantedRows, { minLength: 1, maxLength: 5 }), (start, history) => {
        let rows = start;
        const given = new Map<number, string>();
        for (const wanted of history) {
          const plan = planSocklb(rows, wanted);
          for (const op of operationsOf(plan)) {
            if (!('service' in op)) continue;
            const { id: serviceId, generation, backends } = op.service;
            expect(rows.remains.has(`slots ${serviceId}/${generation}`)).toBe(false);
            for (const { id, address, port } of backends) {
              const owner = `${op.frontend.protocol} ${ownedEndpoint(serviceId, { address, port })}`;
              expect(given.get(id) ?? owner).toBe(owner);
              given.set(id, owner);
            }
          }
          rows = later(reduceSocklb(rows, operationsOf(plan)));
        }
      }),
    );
  });
});

describe('socklb on a kernel', () => {
  const histories = fc.array(fc.tuple(desiredStates, projectOptions), { minLength: 1, maxLength: 4 });

  it('reaches what is wanted through refusals and restarts, then writes no more', async () => {
    await fc.assert(
      fc.asyncProperty(histories, fc.integer(), async (states, seed) => {
        const world = new SocklbWorld();
        const random = seededRandom(seed);
        for (const [desired, options] of states) {
          const wanted = projectSocklb(desired, options).rows;
          for (let round = 0; round < 4; round++) {
            world.kernel.faults = () => (random() < 0.1 ? 'ENOMEM' : undefined);
            if (random() < 0.5) world.restart();
            await world.sync(wanted);
            world.nowMs += 20;
          }
          world.kernel.faults = undefined;
          for (let round = 0; round < 3; round++) {
            await world.sync(wanted);
            world.nowMs += 50;
          }
          expectConverged(EMPTY_ROWS, await world.observe(), wanted);
          const { writes } = world.kernel;
          world.restart();
          expect(await world.sync(wanted)).toEqual([]);
          expect(world.kernel.writes).toBe(writes);
        }
      }),
    );
  });

  it('is observed as reduce() says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(wantedRows, { minLength: 1, maxLength: 3 }), async (history) => {
        const world = new SocklbWorld();
        for (const wanted of history) {
          const before = await world.observe();
          const ops = await world.sync(wanted);
          const after = await world.observe();
          const told = reduceSocklb(before, ops);
          expect(canonical(after)).toBe(canonical(told));
          expect([...after.remains].sort()).toEqual([...told.remains].sort());
          world.nowMs += 30;
        }
      }),
    );
  });

  it('leads nobody astray between any two writes', async () => {
    await fc.assert(
      fc.asyncProperty(wantedRows, wantedRows, async (before, after) => {
        const kernel = new FollowedKernel();
        const world = new SocklbWorld(kernel);
        await world.settle(before);
        kernel.isFollowed = true;
        await world.sync(after);
        world.nowMs += 50;
        await world.sync(after);
        expect(kernel.astray).toEqual([]);
      }),
    );
  });

  it('balances nobody by a switch that is not set, wherever its first start is cut off', async () => {
    await fc.assert(
      fc.asyncProperty(wantedRows, async (wanted) => {
        const world = new SocklbWorld();
        for (const op of world.dataplane.plan(await world.observe(), wanted).make) {
          await world.dataplane.apply([op], NEVER);
          const { programs, config } = await world.observe();
          if (programs !== 'absent') expect(config).toEqual(wanted.config);
        }
      }),
    );
  });

  it('is gone with all that is in it', async () => {
    await fc.assert(
      fc.asyncProperty(wantedRows, async (wanted) => {
        const world = new SocklbWorld();
        await world.sync(wanted);
        const { break: ops } = world.dataplane.teardown(await world.observe());
        await world.dataplane.apply(ops, NEVER);
        const after = await world.observe();
        expect(after).toEqual({ ...EMPTY_ROWS, observedAtMs: world.nowMs });
        expect(teardownSocklb(after).break).toEqual([]);
      }),
    );
  });

  it('parseOp() reads back every operation of a plan', () => {
    fc.assert(
      fc.property(SUBJECT.cases, ({ observed, wanted }) => {
        const ops = [...operationsOf(planSocklb(observed, wanted, true)), ...teardownSocklb(observed).break];
        expect(ops.map((op) => parseSocklbOp(JSON.parse(JSON.stringify(op))))).toEqual(ops);
      }),
    );
  });

  it('a plan against what toSnapshot() records changes what the one against the rows does', () => {
    fc.assert(
      fc.property(wantedRows, wantedRows, (rows, wanted) => {
        const recorded = fromSnapshot(toSnapshot(rows), wanted);
        const served = [...recorded.services.values()].map(servingText).sort();
        expect(served).toEqual([...rows.services.values()].map(servingText).sort());
        // Which network namespace is the node's, it does not tell.
        expect(modeOf(recorded.config.flags)).toBe(modeOf(rows.config.flags));
        const told = { ...rows, config: recorded.config };
        expect(
          operationsOf(planSocklb(recorded, told)).filter(({ op }) => op !== 'addSocketPrograms'),
        ).toEqual([]);
        expect(operationsOf(planSocklb(fromSnapshot({}, wanted), wanted))).toEqual([]);
      }),
    );
  });
});
