import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plan } from '../../src/dataplane/vrrp/plan.ts';
import { reduce } from '../../src/dataplane/vrrp/reduce.ts';
import {
  canonical,
  type InstanceName,
  type InstanceRow,
  NO_ROWS,
  type VrrpRows,
} from '../../src/dataplane/vrrp/rows.ts';
import {
  expectConvergent,
  expectDeterministic,
  expectIdempotent,
  expectRestartable,
  type LawSubject,
} from './laws.ts';

const name = fc
  .tuple(fc.constantFrom(4 as const, 6 as const), fc.integer({ min: 1, max: 20 }))
  .map(([version, id]): InstanceName => `svcplane_${version}_${id}`);
const row: fc.Arbitrary<InstanceRow> = fc.record({
  name,
  config: fc.constantFrom('priority 200', 'priority 100', 'priority 100\nnopreempt'),
  isAble: fc.boolean(),
  reason: fc.constant('Service web/front'),
});
const someRows: fc.Arbitrary<VrrpRows> = fc
  .record({
    main: fc.constantFrom('router_id n1', 'router_id n2'),
    isRunning: fc.boolean(),
    rows: fc.uniqueArray(row, { selector: (each) => each.name }),
  })
  .map(({ main, isRunning, rows }) => ({
    main,
    isRunning,
    instances: new Map(rows.map((each) => [each.name, each])),
  }));
const observed = fc.oneof(fc.constant(NO_ROWS), someRows);
const wanted = observed.map((rows) => (rows.main === null ? rows : { ...rows, isRunning: true }));

const SUBJECT: LawSubject<VrrpRows, Parameters<typeof reduce>[1][number]> = {
  dataplane: { plan, reduce },
  cases: fc.record({ observed, wanted }),
  withoutConnections: (rows) => rows,
  reversed: (rows) => ({ ...rows, instances: new Map([...rows.instances].reverse()) }),
  expectConverged: (_, after, want) => expect(canonical(after)).toBe(canonical(want)),
};

describe('the laws of a dataplane', () => {
  test('plan() idempotent', () => expectIdempotent(SUBJECT));
  test('plan() convergent', () => expectConvergent(SUBJECT));
  test('plan() restartable', () => expectRestartable(SUBJECT));
  test('plan() deterministic', () => expectDeterministic(SUBJECT));
});
