import { describe, expect, it } from 'vitest';
import { applyNftables } from '../../../src/dataplane/nftables/apply.ts';
import { rowsFromListing } from '../../../src/dataplane/nftables/observe.ts';
import { NFTABLES_OP_NAMES } from '../../../src/dataplane/nftables/parse-op.ts';
import { planNftables, teardownNftables } from '../../../src/dataplane/nftables/plan.ts';
import { reduceNftables } from '../../../src/dataplane/nftables/reduce.ts';
import { canonical, emptyRows, type NftablesRows } from '../../../src/dataplane/nftables/rows.ts';
import { FakeNftablesKernel } from '../../fakes/nftables-kernel.ts';
import { tableWith } from './build.ts';
import { PLAN_CASES, TEARDOWN_CASES } from './plan-cases.ts';

const NEVER = new AbortController().signal;
const TABLE = 'svcplane';
const WANTED = tableWith({
  vips4: ['203.0.113.9'],
  'inside-marks4': ['203.0.113.9 . tcp . 80 : 0x53000001'],
});
const OPS = planNftables(emptyRows(TABLE), WANTED).make;

async function observe(kernel: FakeNftablesKernel): Promise<NftablesRows> {
  const listing = await kernel.list(TABLE, NEVER);
  return listing === undefined ? emptyRows(TABLE) : rowsFromListing(listing, TABLE);
}

async function kernelWith(rows: NftablesRows): Promise<FakeNftablesKernel> {
  const kernel = new FakeNftablesKernel();
  await applyNftables(kernel, planNftables(emptyRows(TABLE), rows).make, NEVER);
  return kernel;
}

/** What of the cases can be made without another's hand. */
const APPLY_CASES = [...PLAN_CASES, ...TEARDOWN_CASES].map((row) => {
  const ops = row.wanted.exists ? planNftables(row.observed, row.wanted) : teardownNftables(row.observed);
  return { ...row, ops: [...ops.make, ...ops.break], phases: [ops.make, ops.break] };
});

describe('applyNftables()', () => {
  it.each(APPLY_CASES)('$name: the kernel is then as reduceNftables() says', async ({ observed, phases }) => {
    const { ruleset } = WANTED;
    const kernel = observed.exists ? await kernelWith({ ...observed, ruleset }) : new FakeNftablesKernel();
    let expected = await observe(kernel);
    for (const ops of phases) {
      const report = await applyNftables(kernel, ops, NEVER);
      expect(report).toEqual({ acknowledged: ops, refused: [], notAttempted: [] });
      expected = reduceNftables(expected, ops);
      expect(canonical(await observe(kernel))).toBe(canonical(expected));
    }
  });

  it.each(NFTABLES_OP_NAMES)('%s has a plan test and an apply test', (name) => {
    const planned = [...PLAN_CASES, ...TEARDOWN_CASES].flatMap((row) => [
      ...(row.make ?? []),
      ...(row.break ?? []),
    ]);
    expect(planned.map((line) => line.split(' ')[0])).toContain(name);
    expect(APPLY_CASES.flatMap(({ ops }) => ops.map(({ op }) => op))).toContain(name);
  });

  it('executes everything in one transaction', async () => {
    const kernel = new FakeNftablesKernel();
    await applyNftables(kernel, OPS, NEVER);
    expect(kernel.writes).toBe(1);
  });

  it('asks the kernel for nothing without operations', async () => {
    const kernel = new FakeNftablesKernel();
    expect(await applyNftables(kernel, [], NEVER)).toEqual({
      acknowledged: [],
      refused: [],
      notAttempted: [],
    });
    expect(kernel.writes).toBe(0);
  });

  it('attempts nothing after an abort', async () => {
    const kernel = new FakeNftablesKernel();
    const report = await applyNftables(kernel, OPS, AbortSignal.abort());
    expect(report).toEqual({ acknowledged: [], refused: [], notAttempted: OPS });
    expect(kernel.writes).toBe(0);
  });

  it('reports a refusal once, in the name of all, and changes nothing', async () => {
    const kernel = await kernelWith(WANTED);
    kernel.owned = true;
    const before = await observe(kernel);
    const ops = planNftables(WANTED, tableWith({ vips4: ['203.0.113.10'] }, { masqueradeAll: true })).make;
    const [first, ...rest] = ops;
    const report = await applyNftables(kernel, ops, NEVER);
    expect(report).toEqual({
      acknowledged: [],
      refused: [
        {
          op: first,
          code: 'EPERM',
          message:
            'Cannot set nft chain inet svcplane prerouting and 1 more in one transaction: EPERM: Operation not ' +
            'permitted: run as root or with CAP_NET_ADMIN; or another process owns the table (nft list table shows ' +
            '"flags owner"): end it',
        },
      ],
      notAttempted: rest,
    });
    expect(canonical(await observe(kernel))).toBe(canonical(before));
  });

  it('is refused, not half done, where the table has gone meanwhile', async () => {
    const kernel = await kernelWith(WANTED);
    await applyNftables(kernel, teardownNftables(WANTED).break, NEVER);
    const ops = planNftables(WANTED, tableWith({ vips4: ['203.0.113.9', '203.0.113.10'] })).make;
    expect(await applyNftables(kernel, ops, NEVER)).toMatchObject({ refused: [{ code: 'ENOENT' }] });
    expect((await observe(kernel)).exists).toBe(false);
  });
});
