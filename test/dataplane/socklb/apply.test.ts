import { describe, expect, it } from 'vitest';
import type { SocklbOp } from '../../../src/dataplane/socklb/ops.ts';
import { SOCKLB_OP_NAMES } from '../../../src/dataplane/socklb/parse-op.ts';
import { reduceSocklb } from '../../../src/dataplane/socklb/reduce.ts';
import { canonical, serviceText, sortedServices } from '../../../src/dataplane/socklb/rows.ts';
import { FakeSocklbKernel } from '../../fakes/socklb-kernel.ts';
import { NEVER, SocklbWorld, wantedOf } from './build.ts';
import { PLAN_CASES, TEARDOWN_CASES } from './plan-cases.ts';

const WEB = 'TCP 10.96.0.50:80';
const DNS = 'UDP 10.96.0.10:53';

/** Runs the plan of a case. @returns its operations */
async function run(world: SocklbWorld, row: (typeof PLAN_CASES)[number]): Promise<readonly SocklbOp[]> {
  const observed = await world.observe();
  const isTeardown = TEARDOWN_CASES.includes(row);
  const plan = isTeardown ? world.dataplane.teardown(observed) : world.dataplane.plan(observed, row.wanted);
  const reports = [
    await world.dataplane.apply(plan.make, NEVER),
    await world.dataplane.apply(plan.break, NEVER),
  ];
  const ops = [...plan.make, ...plan.break];
  expect(reports.flatMap(({ acknowledged }) => acknowledged)).toEqual(ops);
  return ops;
}

/** How many frontends, slots, backends and tables there are. */
function sizesOf({ kernel }: SocklbWorld): readonly number[] {
  const maps = ['lb_svc', 'lb_slot', 'lb_backend'] as const;
  return [...maps.map((map) => kernel.elements(map).size), kernel.tablesById.size];
}

describe('applySocklb()', () => {
  it.each([...PLAN_CASES, ...TEARDOWN_CASES])('$name: the kernel is then as reduce() says', async (row) => {
    const world = await row.world();
    const before = await world.observe();
    const ops = await run(world, row);
    expect(canonical(await world.observe())).toBe(canonical(reduceSocklb(before, ops)));
  });

  it.each(SOCKLB_OP_NAMES)('%s has a plan test and an apply test', async (name) => {
    const cases = [...PLAN_CASES, ...TEARDOWN_CASES];
    const planned = cases.flatMap((row) => [...(row.make ?? []), ...(row.break ?? [])]);
    expect(planned.map((line) => line.split(' ')[0])).toContain(name);
    const applied: string[] = [];
    for (const row of cases) applied.push(...(await run(await row.world(), row)).map(({ op }) => op));
    expect(applied).toContain(name);
  });

  it('writes what a frontend leads to before it, map by map', async () => {
    const world = new SocklbWorld();
    await world.sync(wantedOf([`${WEB} maglev 10.0.0.1:80 10.0.0.2:80`, `${DNS} random 10.0.0.3:53`]));
    const order = world.kernel.log.filter((line, i, all) => line !== all[i - 1]);
    // The first keeps the ids that are given, the last is the switch.
    expect(order).toEqual(['lb_cfg +', 'lb_backend +', 'lb_slot +', 'lb_maglev +', 'lb_svc +', 'lb_cfg +']);
  });

  it('refuses what a full map has no room for, and goes on with what fits', async () => {
    const world = new SocklbWorld(new FakeSocklbKernel({ lb_slot: 3 }));
    const wanted = wantedOf([
      `${DNS} random 10.0.0.3:53 10.0.0.4:53`,
      `${WEB} random 10.0.0.1:80 10.0.0.2:80`,
    ]);
    const { make } = world.dataplane.plan(await world.observe(), wanted);
    const report = await world.dataplane.apply(make, NEVER);
    expect(report.refused.map(({ code, message }) => [code, message])).toEqual([
      [
        'E2BIG',
        `Cannot add socket ${WEB}: E2BIG: its map is full; IPVS serves it, and the next sync tries again when what remains is gone`,
      ],
    ]);
    const rows = await world.observe();
    expect(sortedServices(rows).map(serviceText)).toEqual([`${DNS} random 10.0.0.3:53 10.0.0.4:53`]);
    expect([...rows.services.values()].map(({ fault }) => fault)).toEqual([null]);
    expect(sizesOf(world)).toEqual([1, 2, 2, 0]);
  });

  it.each([
    { map: 'lb_slot', limits: { lb_slot: 3 } },
    { map: 'lb_backend', limits: { lb_backend: 3 } },
    { map: 'lb_maglev', limits: { lb_maglev: 0 } },
  ])('leaves a frontend to IPVS whose change $map has no room for', async ({ limits }) => {
    const world = new SocklbWorld(new FakeSocklbKernel(limits));
    await world.settle(wantedOf([`${WEB} random 10.0.0.1:80 10.0.0.2:80`]));
    const changed = wantedOf([`${WEB} maglev 10.0.0.3:80 10.0.0.4:80`]);
    const { make } = world.dataplane.plan(await world.observe(), changed);
    const { acknowledged, refused } = await world.dataplane.apply(make, NEVER);
    expect([acknowledged, refused.map(({ op, code }) => [op.op, code])]).toEqual([
      [],
      [['setSocketService', 'E2BIG']],
    ]);
    // It has led to endpoints that may be gone; what it led to is cleared away as ever, and nothing else is there.
    expect((await world.observe()).services.size).toBe(0);
    expect(sizesOf(world)).toEqual([0, 2, 2, 0]);
    world.nowMs += 50;
    await world.settle(wantedOf([]));
    expect(sizesOf(world)).toEqual([0, 0, 0, 0]);
  });

  it('leaves no table of a frontend that there is no room for', async () => {
    const world = new SocklbWorld(new FakeSocklbKernel({ lb_svc: 1 }));
    await world.sync(wantedOf([`${DNS} random 10.0.0.3:53`, `${WEB} maglev 10.0.0.1:80 10.0.0.2:80`]));
    expect(sizesOf(world)).toEqual([1, 1, 1, 0]);
  });

  it('has a frontend back that was left to IPVS when there is room again', async () => {
    const world = new SocklbWorld(new FakeSocklbKernel({ lb_slot: 3 }));
    await world.settle(wantedOf([`${WEB} random 10.0.0.1:80 10.0.0.2:80`]));
    const changed = wantedOf([`${WEB} random 10.0.0.3:80 10.0.0.4:80`]);
    await world.sync(changed);
    for (let round = 0; round < 2; round++) {
      await world.sync(changed);
      world.nowMs += 50;
    }
    await world.settle(changed);
    expect(sortedServices(await world.observe()).map(serviceText)).toEqual([
      `${WEB} random 10.0.0.3:80 10.0.0.4:80`,
    ]);
    expect(sizesOf(world)).toEqual([1, 2, 2, 0]);
  });

  it('has room again when what a change has left is gone', async () => {
    const world = new SocklbWorld(new FakeSocklbKernel({ lb_slot: 3 }));
    await world.settle(wantedOf([`${WEB} random 10.0.0.1:80 10.0.0.2:80`]));
    const wanted = wantedOf([`${WEB} random 10.0.0.2:80`, `${DNS} random 10.0.0.3:53`]);
    for (let round = 0; round < 3; round++) {
      await world.sync(wanted);
      world.nowMs += 50;
    }
    await world.settle(wanted);
    expect(sortedServices(await world.observe()).map(serviceText)).toEqual([
      `${DNS} random 10.0.0.3:53`,
      `${WEB} random 10.0.0.2:80`,
    ]);
  });

  it('takes what is gone already for deleted', async () => {
    const world = new SocklbWorld();
    await world.settle(wantedOf([`${WEB} random 10.0.0.1:80 10.0.0.2:80`]));
    await world.sync(wantedOf([`${WEB} random 10.0.0.2:80`]));
    world.nowMs += 50;
    const { break: ops } = world.dataplane.plan(
      await world.observe(),
      wantedOf([`${WEB} random 10.0.0.2:80`]),
    );
    world.kernel.damage('lb_slot', '010000000100000000000000');
    world.kernel.damage('lb_backend', '01000000');
    expect(await world.dataplane.apply(ops, NEVER)).toEqual({
      acknowledged: ops,
      refused: [],
      notAttempted: [],
    });
    expect(world.kernel.elements('lb_slot').size).toBe(1);
  });

  it('attempts nothing after an abort', async () => {
    const world = new SocklbWorld();
    const { make } = world.dataplane.plan(await world.observe(), wantedOf([`${WEB} random 10.0.0.1:80`]));
    const report = await world.dataplane.apply(make, AbortSignal.abort());
    expect(report).toEqual({ acknowledged: [], refused: [], notAttempted: make });
    expect(world.kernel.writes).toBe(0);
  });

  it('says what to do where programs can not be attached', async () => {
    const world = new SocklbWorld();
    const { make } = world.dataplane.plan(await world.observe(), wantedOf([]));
    world.kernel.faults = () => 'EPERM';
    const report = await world.dataplane.apply(make, NEVER);
    expect(report.refused.map(({ message }) => message)).toEqual([
      'Cannot set socket balancer: EPERM: run as root or with CAP_BPF and CAP_NET_ADMIN',
      'Cannot add socket programs: EPERM: run as root or with CAP_BPF and CAP_NET_ADMIN; or somebody else has programs on this cgroup that stand alone',
    ]);
  });
});
