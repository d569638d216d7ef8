import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createNftablesDataplane } from '../../src/dataplane/nftables/index.ts';
import type { NftablesOp } from '../../src/dataplane/nftables/ops.ts';
import { parseNftablesOp } from '../../src/dataplane/nftables/parse-op.ts';
import { planNftables } from '../../src/dataplane/nftables/plan.ts';
import { project } from '../../src/dataplane/nftables/project.ts';
import { reduceNftables } from '../../src/dataplane/nftables/reduce.ts';
import { canonical, emptyRows, type NftablesRows, type RuleRow } from '../../src/dataplane/nftables/rows.ts';
import { fromSnapshot, toSnapshot } from '../../src/dataplane/nftables/snapshot.ts';
import { LOOK } from '../dataplane/look.ts';
import { desiredStates, nftablesOptions } from '../dataplane/nftables/arbitraries.ts';
import { OPTIONS } from '../dataplane/nftables/build.ts';
import { CountingKernel } from '../dataplane/nftables/counting-kernel.ts';
import { seededRandom } from '../fakes/faulty.ts';
import { FakeNftablesKernel } from '../fakes/nftables-kernel.ts';
import {
  expectConvergent,
  expectDeterministic,
  expectIdempotent,
  expectRestartable,
  type LawSubject,
  operationsOf,
} from './laws.ts';

const NEVER = new AbortController().signal;

const wantedRows: fc.Arbitrary<NftablesRows> = fc
  .tuple(desiredStates, nftablesOptions)
  .map(([desired, options]) => project(desired, options).rows);

/** What somebody else may have done to the table. */
type Damage = (rows: NftablesRows) => NftablesRows;

const damages: fc.Arbitrary<Damage> = fc.constantFrom<Damage[]>(
  (rows) => rows,
  (rows) => rows,
  () => emptyRows(OPTIONS.table),
  (rows) => ({ ...rows, others: ['counter hits'] }),
  (rows) => ({
    ...rows,
    sets: new Map(rows.sets).set('theirs', { declaration: 'type mark', elements: new Map() }),
  }),
  (rows) => ({ ...rows, sets: new Map([...rows.sets].slice(1)) }),
  (rows) => ({ ...rows, chains: new Map(rows.chains).set('theirs', { declaration: '', rules: [] }) }),
  (rows) => withRules(rows, 'input', (rules) => rules.slice(1)),
  (rows) => withRules(rows, 'closed-input', (rules) => [...rules].reverse()),
  (rows) => withRules(rows, 'output', (rules) => [{ name: 'theirs', digest: '', rule: null }, ...rules]),
);

function withRules(
  rows: NftablesRows,
  name: string,
  change: (rules: readonly RuleRow[]) => readonly RuleRow[],
): NftablesRows {
  const chain = rows.chains.get(name);
  if (!chain) return rows;
  return { ...rows, chains: new Map(rows.chains).set(name, { ...chain, rules: change(chain.rules) }) };
}

const observedRows = fc
  .tuple(wantedRows, damages)
  .map(([rows, damage]): NftablesRows => ({ ...damage(rows), ruleset: null }));

const reverse = <Key, Value>(map: ReadonlyMap<Key, Value>) => new Map([...map].reverse());

const SUBJECT: LawSubject<NftablesRows, NftablesOp> = {
  dataplane: { plan: planNftables, reduce: reduceNftables },
  cases: fc.record({ observed: observedRows, wanted: wantedRows }),
  withoutConnections: (rows) => rows,
  reversed: (rows) => ({
    ...rows,
    chains: reverse(rows.chains),
    sets: new Map(
      [...reverse(rows.sets)].map(([name, set]) => [name, { ...set, elements: reverse(set.elements) }]),
    ),
  }),
  expectConverged: (_before, after, wanted) => expect(canonical(after)).toBe(canonical(wanted)),
};

describe('laws of nftables', () => {
  it('plan() is idempotent', () => expectIdempotent(SUBJECT));
  it('plan() is convergent', () => expectConvergent(SUBJECT));
  it('plan() is restartable', () => expectRestartable(SUBJECT));
  it('plan() is deterministic', () => expectDeterministic(SUBJECT));
});

describe('nftables on a kernel', () => {
  const histories = fc.array(fc.tuple(desiredStates, nftablesOptions), { minLength: 1, maxLength: 4 });

  it('reaches what is wanted from whatever was, in transactions that the kernel takes, then writes no more', async () => {
    await fc.assert(
      fc.asyncProperty(histories, fc.integer(), async (states, seed) => {
        const kernel = new FakeNftablesKernel();
        const random = seededRandom(seed);
        for (const [desired, options] of states) {
          const dataplane = createNftablesDataplane({ kernel }, options);
          const wanted = dataplane.project(desired).rows;
          const faults: NonNullable<typeof kernel.faults> = () =>
            random() < 0.3 ? { outcome: 'refused', code: 'ENOMEM', message: 'Out of memory' } : undefined;
          for (const fault of [faults, undefined]) {
            kernel.faults = fault;
            const { make, break: unmake } = dataplane.plan(await dataplane.observe(NEVER), wanted);
            const made = await dataplane.apply(make, NEVER);
            if (fault !== undefined && made.refused.length > 0) continue;
            const unmade = await dataplane.apply(unmake, NEVER);
            if (fault === undefined) expect([made.refused, unmade.refused]).toEqual([[], []]);
          }
          const after = await dataplane.observe(NEVER);
          expect(canonical(after)).toBe(canonical(wanted));
          const { writes } = kernel;
          await dataplane.apply(operationsOf(dataplane.plan(after, wanted)), NEVER);
          expect(kernel.writes).toBe(writes);
        }
      }),
    );
  });

  it('isAsWanted() is so after all writes of ours, by a listing only after one of others, and not when they changed something', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(desiredStates, { minLength: 1, maxLength: 4 }), async (states) => {
        const kernel = new FakeNftablesKernel();
        let isKnown = false;
        const counted = new CountingKernel(kernel);
        const dataplane = createNftablesDataplane({ kernel: counted }, OPTIONS);
        for (const desired of states) {
          const { rows } = dataplane.project(desired);
          const { make, break: unmake } = dataplane.plan(await dataplane.observe(NEVER), rows);
          await dataplane.apply(make, NEVER);
          await dataplane.apply(unmake, NEVER);
          const before = counted.listings;
          for (const _ of [1, 2]) expect(await dataplane.isAsWanted?.(desired, LOOK)).toBe(true);
          // Without a table, as where nothing is served, none has been made yet by which it would be known.
          isKnown ||= rows.exists;
          expect(counted.listings - before).toBe(isKnown ? 0 : 1);
          isKnown = true;
        }
        const last = states.at(-1);
        if (!last) return;
        await kernel.run('add table inet others\n', NEVER);
        const before = counted.listings;
        for (const _ of [1, 2]) expect(await dataplane.isAsWanted?.(last, LOOK)).toBe(true);
        expect(counted.listings - before).toBe(1);
        const { exists } = await dataplane.observe(NEVER);
        await kernel.run(`${exists ? 'delete' : 'add'} table inet ${OPTIONS.table}\n`, NEVER);
        for (const _ of [1, 2]) expect(await dataplane.isAsWanted?.(last, LOOK)).toBe(false);
      }),
    );
  });

  it('shuts or opens nothing wrongly between making and breaking', async () => {
    await fc.assert(
      fc.asyncProperty(desiredStates, desiredStates, async (before, after) => {
        const [had, wanted] = [before, after].map((desired) => project(desired, OPTIONS).rows);
        if (!had || !wanted) return;
        const between = reduceNftables(had, planNftables({ ...had, ruleset: null }, wanted).make);
        for (const family of [4, 6] as const) {
          const inSet = (rows: NftablesRows, set: string) => [
            ...(rows.sets.get(`${set}${family}`)?.elements.keys() ?? []),
          ];
          const restricted = inSet(wanted, 'restricted');
          // What is to be restricted is, and to no source more than is wanted or was there for others.
          expect(inSet(between, 'restricted')).toEqual(expect.arrayContaining(restricted));
          const allowed = inSet(between, 'allowed').filter((key) =>
            restricted.some((frontend) => key.startsWith(`${frontend} . `)),
          );
          expect(allowed.sort()).toEqual(inSet(wanted, 'allowed').sort());
          for (const frontend of inSet(had, 'restricted').filter((key) => !restricted.includes(key))) {
            const sources = (rows: NftablesRows) =>
              inSet(rows, 'allowed').filter((key) => key.startsWith(`${frontend} . `));
            expect(sources(between)).toEqual(sources(had));
          }
          // Refused until there is a real server, and before the last one goes.
          for (const rows of [had, wanted]) {
            expect(inSet(between, 'empty')).toEqual(expect.arrayContaining(inSet(rows, 'empty')));
          }
        }
      }),
    );
  });

  it('parseOp() reads back every operation of a plan', () => {
    fc.assert(
      fc.property(SUBJECT.cases, ({ observed, wanted }) => {
        const ops = operationsOf(planNftables(observed, wanted));
        expect(ops.map((op) => parseNftablesOp(JSON.parse(JSON.stringify(op))))).toEqual(ops);
      }),
    );
  });

  it('fromSnapshot() reads back what toSnapshot() records', () => {
    fc.assert(
      fc.property(wantedRows, wantedRows, (rows, wanted) => {
        expect(canonical(fromSnapshot(toSnapshot(rows), wanted))).toBe(canonical(rows));
      }),
    );
  });
});
