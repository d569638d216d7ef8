import fc from 'fast-check';
import { expect } from 'vitest';
import type { Dataplane, Operation, Plan } from '../../src/dataplane/dataplane.ts';

/** The four laws of src/dataplane/dataplane.ts, each a property of any dataplane's `plan` and `reduce`. */

/** A dataplane under test, and what the laws need to know of its rows. */
export interface LawSubject<Rows, Op extends Operation> {
  readonly dataplane: Pick<Dataplane<Rows, Op>, 'plan' | 'reduce'>;
  readonly cases: fc.Arbitrary<LawCase<Rows>>;
  /** The same rows when every connection has ended. */
  readonly withoutConnections: (rows: Rows) => Rows;
  /** The same rows, the keys of all maps and sets in the reverse order. */
  readonly reversed: (rows: Rows) => Rows;
  /** Expects that our rows in `after` are the wanted ones, and foreign rows as they were in `before`. */
  readonly expectConverged: (before: Rows, after: Rows, wanted: Rows) => void;
}

export interface LawCase<Rows> {
  readonly observed: Rows;
  readonly wanted: Rows;
}

/** Law 1: planning again after reducing a plan gives nothing, also while real servers drain. */
export function expectIdempotent<Rows, Op extends Operation>(subject: LawSubject<Rows, Op>): void {
  const { plan, reduce } = subject.dataplane;
  fc.assert(
    fc.property(subject.cases, ({ observed, wanted }) => {
      expect(operationsOf(plan(observed, observed))).toEqual([]);
      const once = reduce(observed, operationsOf(plan(observed, wanted)));
      expect(operationsOf(plan(once, wanted))).toEqual([]);
    }),
  );
}

/** Law 2: our rows equal the wanted ones once no unwanted row has connections left. */
export function expectConvergent<Rows, Op extends Operation>(subject: LawSubject<Rows, Op>): void {
  const { plan, reduce } = subject.dataplane;
  fc.assert(
    fc.property(subject.cases, ({ observed, wanted }) => {
      const draining = reduce(observed, operationsOf(plan(observed, wanted)));
      const drained = subject.withoutConnections(draining);
      const after = reduce(drained, operationsOf(plan(drained, wanted)));
      subject.expectConverged(observed, after, wanted);
    }),
  );
}

/** Law 3: after any prefix of a plan, planning again needs no more operations than were left, and reaches law 1. */
export function expectRestartable<Rows, Op extends Operation>(subject: LawSubject<Rows, Op>): void {
  const { plan, reduce } = subject.dataplane;
  fc.assert(
    fc.property(subject.cases, fc.nat(), ({ observed, wanted }, number) => {
      const ops = operationsOf(plan(observed, wanted));
      const done = number % (ops.length + 1);
      const interrupted = reduce(observed, ops.slice(0, done));
      const rest = operationsOf(plan(interrupted, wanted));
      expect(rest.length).toBeLessThanOrEqual(ops.length - done);
      expect(operationsOf(plan(reduce(interrupted, rest), wanted))).toEqual([]);
    }),
  );
}

/** Law 4: the order of keys in the inputs does not change the plan. */
export function expectDeterministic<Rows, Op extends Operation>(subject: LawSubject<Rows, Op>): void {
  const { plan } = subject.dataplane;
  const { reversed } = subject;
  fc.assert(
    fc.property(subject.cases, ({ observed, wanted }) => {
      expect(plan(reversed(observed), reversed(wanted))).toEqual(plan(observed, wanted));
    }),
  );
}

/** All operations of a plan in the order they would run. */
export function operationsOf<Op>(plan: Plan<Op>): readonly Op[] {
  return [...plan.make, ...plan.break];
}
