import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plan } from '../../src/dataplane/connsync/plan.ts';
import { reduce } from '../../src/dataplane/connsync/reduce.ts';
import { canonical, type SyncDaemonRow, type SyncRows } from '../../src/dataplane/connsync/rows.ts';
import {
  expectConvergent,
  expectDeterministic,
  expectIdempotent,
  expectRestartable,
  type LawSubject,
} from './laws.ts';

function rowsOf(
  owner: fc.Arbitrary<SyncDaemonRow['owner']>,
  isCutOff: fc.Arbitrary<boolean>,
): fc.Arbitrary<SyncRows> {
  const row: fc.Arbitrary<SyncDaemonRow> = fc.record({
    role: fc.constantFrom('master' as const, 'backup' as const),
    interface: fc.constantFrom('eth0', 'eth1'),
    id: fc.integer({ min: 1, max: 3 }),
    owner,
    isCutOff,
  });
  return fc
    .uniqueArray(row, { selector: ({ role }) => role })
    .map((rows) => new Map(rows.map((each) => [each.role, each])));
}

const SUBJECT: LawSubject<SyncRows, Parameters<typeof reduce>[1][number]> = {
  dataplane: { plan, reduce },
  cases: fc.record({
    observed: rowsOf(fc.constantFrom('svcplane', 'foreign'), fc.boolean()),
    wanted: rowsOf(fc.constant('svcplane'), fc.constant(false)),
  }),
  withoutConnections: (rows) => rows,
  reversed: (rows) => new Map([...rows].reverse()),
  expectConverged: (before, after, want) => {
    const foreign = [...before].filter(([, { owner }]) => owner === 'foreign');
    expect(canonical(after)).toBe(canonical(new Map([...want, ...foreign])));
  },
};

describe('the laws of a dataplane', () => {
  test('plan() idempotent', () => expectIdempotent(SUBJECT));
  test('plan() convergent', () => expectConvergent(SUBJECT));
  test('plan() restartable', () => expectRestartable(SUBJECT));
  test('plan() deterministic', () => expectDeterministic(SUBJECT));
});
