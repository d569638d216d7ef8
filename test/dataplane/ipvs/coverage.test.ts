import { describe, expect, it } from 'vitest';
import { IPVS_OP_NAMES } from '../../../src/dataplane/ipvs/parse-op.ts';
import { APPLY_CASES, opsOf } from './apply-cases.ts';
import { TEARDOWN_CASES } from './plan-break-cases.ts';
import { PLAN_CASES } from './plan-cases.ts';

const planned = [...PLAN_CASES, ...TEARDOWN_CASES]
  .flatMap((row) => [...('make' in row ? (row.make ?? []) : []), ...(row.break ?? [])])
  .map((line) => line.slice(0, line.indexOf(' ')));
const applied = APPLY_CASES.flatMap(opsOf).map(({ op }) => op);

describe('every operation of ipvs', () => {
  it.each(IPVS_OP_NAMES)('%s has a plan test and an apply test', (name) => {
    expect(planned).toContain(name);
    expect(applied).toContain(name);
  });
});
