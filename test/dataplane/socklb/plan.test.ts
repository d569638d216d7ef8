import { describe, expect, it } from 'vitest';
import { holdUnwantedSockets } from '../../../src/dataplane/socklb/hold.ts';
import { planSocklb, teardownSocklb } from '../../../src/dataplane/socklb/plan.ts';
import { EMPTY_ROWS, serviceText, sortedServices } from '../../../src/dataplane/socklb/rows.ts';
import { address } from '../../trace/build.ts';
import { linesOf, SocklbWorld, wantedOf } from './build.ts';
import { PLAN_CASES, TEARDOWN_CASES } from './plan-cases.ts';

const WEB = 'TCP 10.96.0.50:80';

describe('planSocklb()', () => {
  it.each(PLAN_CASES)('$name', async ({ world, wanted, make = [], break: unmake = [] }) => {
    const plan = planSocklb(await (await world()).observe(), wanted, true);
    expect(linesOf(plan.make)).toEqual(make);
    expect(linesOf(plan.break)).toEqual(unmake);
  });

  it('writes only the backends that are new, or begin or end to take connections', async () => {
    const world = new SocklbWorld();
    await world.settle(wantedOf([`${WEB} random 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80`]));
    const wanted = wantedOf([`${WEB} random 10.0.0.1:80 10.0.0.2:80 weight 0 10.0.0.4:80`]);
    const [op] = planSocklb(await world.observe(), wanted).make;
    const service = op && 'service' in op ? op.service : undefined;
    expect([service?.id, service?.generation]).toEqual([1, 2]);
    expect(service?.backends.map(({ id, weight, isWritten }) => [id, weight, isWritten])).toEqual([
      [1, 1, false],
      [2, 0, true],
      [4, 1, true],
    ]);
  });

  it('gives no id twice, not even after all that was given is gone, and a restart', async () => {
    const world = new SocklbWorld();
    await world.settle(wantedOf([`${WEB} random 10.0.0.1:80`]));
    await world.settle(wantedOf([]));
    world.restart();
    const [op] = planSocklb(await world.observe(), wantedOf([`${WEB} random 10.0.0.1:80`])).make;
    expect(op).toMatchObject({ service: { id: 2, backends: [{ id: 2 }] } });
  });

  it('says so where there are no ids any more', () => {
    const observed = { ...EMPTY_ROWS, lastServiceId: 0xffff_ffff };
    expect(() => planSocklb(observed, wantedOf([`${WEB} random`]))).toThrow(/run svcplane cleanup/);
  });

  it('names the object that a frontend follows from, or what is wrong with it', async () => {
    const wanted = wantedOf([`${WEB} random 10.0.0.1:80`]);
    expect(planSocklb(EMPTY_ROWS, wanted).make[0]?.reason).toBe('Service web/front port http');
    const world = new SocklbWorld();
    await world.settle(wanted);
    world.kernel.damage('lb_slot', '010000000100000000000000');
    expect(planSocklb(await world.observe(), wanted).make[0]?.reason).toBe('it has 0 slots of 1');
  });
});

describe('teardownSocklb()', () => {
  it.each(TEARDOWN_CASES)('$name', async ({ world, break: unmake = [] }) => {
    expect(linesOf(teardownSocklb(await (await world()).observe()).break)).toEqual(unmake);
  });
});

describe('holdUnwantedSockets()', () => {
  const frontend = (text: string, port: number) => ({
    address: address(text),
    port,
    protocol: 'TCP' as const,
    mark: null,
    endpoints: new Set<never>(),
  });

  it('keeps held frontends, and that of the loopback address with a NodePort', async () => {
    const world = new SocklbWorld();
    const held = ['TCP 10.96.0.50:80', 'TCP 127.0.0.1:30080', 'TCP 172.16.0.5:30080'];
    const others = ['TCP 10.96.0.51:80', 'TCP 127.0.0.1:30081'];
    await world.settle(wantedOf([...held, ...others].map((key) => `${key} random 10.0.0.1:80`)));
    const observed = await world.observe();
    const frontends = [frontend('10.96.0.50', 80), frontend('172.16.0.5', 30080)];
    const rows = holdUnwantedSockets(observed, wantedOf([]), { frontends });
    expect(sortedServices(rows).map(({ key }) => key)).toEqual(held);
    const { make, break: unmake } = planSocklb(observed, rows);
    expect(make).toEqual([]);
    expect(unmake.map(({ subject }) => subject)).toEqual(others.map((key) => `socket ${key}`));
    expect(sortedServices(rows).map(serviceText)[0]).toBe('TCP 10.96.0.50:80 random 10.0.0.1:80');
  });
});
