import { beforeEach, describe, expect, it } from 'vitest';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { packKeys, SERVICES } from '../../../src/dataplane/socklb/layout.ts';
import { serviceText, sortedServices } from '../../../src/dataplane/socklb/rows.ts';
import { address } from '../../trace/build.ts';
import { NEVER, OPTIONS, SocklbWorld, wantedOf } from './build.ts';

const WEB = 'TCP 10.96.0.50:80';
const LINES = [
  `UDP 10.96.0.10:53 random 10.0.0.3:53`,
  `${WEB} maglev affinity 60 10.0.0.1:80 10.0.0.2:80 weight 2`,
];
const WEB_KEY = Buffer.from(
  packKeys(SERVICES, [{ address: address('10.96.0.50'), port: 80, protocol: 'TCP' }]),
).toString('hex');

let world: SocklbWorld;

beforeEach(async () => {
  world = new SocklbWorld();
  await world.settle(wantedOf(LINES));
});

describe('observeSocklb()', () => {
  it('reads what was written', async () => {
    world.restart();
    const rows = await world.observe();
    expect(sortedServices(rows).map(serviceText)).toEqual(LINES);
    expect([rows.programs, rows.config, rows.remains.size]).toEqual([
      'attached',
      { flags: 0, udpFlowSeconds: 300 },
      0,
    ]);
    expect([rows.lastServiceId, rows.lastBackendId]).toEqual([2, 3]);
  });

  it.each([
    { name: 'a slot is missing', break: () => world.kernel.damage('lb_slot', '020000000100000001000000') },
    { name: 'a backend is missing', break: () => world.kernel.damage('lb_backend', '02000000') },
    {
      name: 'a slot leads to another’s backend',
      break: () => put('lb_slot', '020000000100000001000000', '01000000'),
    },
    { name: 'its table is missing', break: () => void world.kernel.tablesById.delete(2) },
    { name: 'its id is another’s, too', break: () => put('lb_svc', WEB_KEY, `01000000${'00'.repeat(20)}`) },
    {
      name: 'it has flags of nobody',
      break: () => put('lb_svc', WEB_KEY, `02000000010000000300000008${'00'.repeat(11)}`),
    },
    { name: 'its id is 0', break: () => put('lb_svc', WEB_KEY, '00'.repeat(24)) },
    {
      name: 'a backend is another than its key says',
      break: () => put('lb_backend', '02000000', `${'00'.repeat(24)}09000000`),
    },
  ])('finds that $name, and one sync later all is well', async ({ break: damage }) => {
    damage();
    const faulty = [...(await world.observe()).services.values()].filter(({ fault }) => fault !== null);
    expect(faulty.map(({ key }) => key)).toContain(WEB);
    await world.settle(wantedOf(LINES));
    await world.settle(wantedOf(LINES));
    const rows = await world.observe();
    expect(sortedServices(rows).map(serviceText)).toEqual(LINES);
    expect([...rows.services.values()].map(({ fault }) => fault)).toEqual([null, null]);
    expect([...rows.remains.keys()]).toEqual([]);
  });

  it('counts from its first look what an earlier process has left', async () => {
    await world.sync(wantedOf(LINES.slice(0, 1)));
    world.restart();
    world.nowMs += 1000;
    expect(await world.sync(wantedOf(LINES.slice(0, 1)))).toEqual([]);
    expect(world.dataplane.clearanceMs()).toBe(50);
    world.nowMs += 49;
    expect(await world.sync(wantedOf(LINES.slice(0, 1)))).toEqual([]);
    world.nowMs += 1;
    expect(world.dataplane.clearanceMs()).toBe(0);
    const ops = await world.sync(wantedOf(LINES.slice(0, 1)));
    expect(ops.map(({ op }) => op)).toEqual([
      'deleteSocketSlots',
      'deleteSocketTable',
      'deleteSocketBackend',
      'deleteSocketBackend',
    ]);
    expect(world.dataplane.clearanceMs()).toBeNull();
  });
});

describe('clearanceMs()', () => {
  const wanted = wantedOf([`${WEB} random 10.0.0.2:80`]);

  it('rests longer and longer while what is due is not cleared away', async () => {
    await world.sync(wanted);
    expect(world.dataplane.clearanceMs()).toBe(50);
    world.kernel.faults = () => 'EPERM';
    const rests: (number | null)[] = [];
    world.nowMs += 50;
    for (let i = 0; i < 8; i++) {
      // It may go, and nobody has tried yet.
      if (i === 0) expect(world.dataplane.clearanceMs()).toBe(0);
      await world.sync(wanted);
      const rest = world.dataplane.clearanceMs();
      rests.push(rest);
      world.nowMs += rest ?? 0;
    }
    expect(rests).toEqual([1000, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    world.kernel.faults = undefined;
    await world.sync(wanted);
    expect(world.dataplane.clearanceMs()).toBeNull();
  });

  it('rests, too, where nothing is tried, as behind a gate that is closed', async () => {
    await world.sync(wanted);
    world.nowMs += 50;
    await world.observe();
    expect(world.dataplane.clearanceMs()).toBe(1000);
  });

  it('rests after a look at a scope', async () => {
    await world.sync(wanted);
    world.nowMs += 50;
    await world.dataplane.scoped?.observe({ before: wanted, wanted, isDrainCheck: true }, NEVER);
    expect(world.dataplane.clearanceMs()).toBe(1000);
  });

  it('lets go at once what has become due since the last look', async () => {
    await world.observe();
    await world.sync(wanted);
    world.nowMs += 60;
    expect(world.dataplane.clearanceMs()).toBe(0);
  });

  it('has nobody look again for endpoints that are kept until they have terminated', async () => {
    await world.settle(wantedOf([`UDP 10.96.0.10:53 random 10.0.0.3:53 weight 0 10.0.0.4:53`]));
    expect((await world.observe()).remains.size).toBe(1);
    expect(world.dataplane.clearanceMs()).toBeNull();
    // One that goes is a change, which takes it away.
    await world.sync(wantedOf([`UDP 10.96.0.10:53 random 10.0.0.4:53`]));
    expect((await world.observe()).remains.size).toBe(0);
  });
});

describe('finish()', () => {
  it('waits until what was left over may go, and clears it away, and nothing else', async () => {
    const realTime = createSocklbDataplane({ kernel: world.kernel, nowMs: Date.now }, OPTIONS);
    const wanted = wantedOf([`${WEB} random 10.0.0.1:80 weight 0 10.0.0.2:80`]);
    const { make, break: unmake } = realTime.plan(await realTime.observe(NEVER), wanted);
    await realTime.apply([...make, ...unmake], NEVER);
    await realTime.finish(NEVER);
    const rows = await realTime.observe(NEVER);
    expect(sortedServices(rows).map(serviceText)).toEqual([`${WEB} random 10.0.0.2:80`]);
    // All but the endpoint of weight 0: whether that is wanted only a plan knows.
    expect([...rows.remains.values()].map(({ kind }) => kind)).toEqual(['backend']);
  });

  it('does nothing where nothing was left over, or after an abort', async () => {
    const { writes } = world.kernel;
    await world.dataplane.finish(NEVER);
    await world.sync(wantedOf([]));
    const after = world.kernel.writes;
    await world.dataplane.finish(AbortSignal.abort());
    expect([world.kernel.writes, after > writes]).toEqual([after, true]);
  });
});

describe('observeSocklbChange()', () => {
  const change = (before: readonly string[], wanted: readonly string[]) => ({
    before: wantedOf(before),
    wanted: wantedOf(wanted),
    isDrainCheck: false,
  });
  const observe = (...lines: Parameters<typeof change>) =>
    world.dataplane.scoped?.observe(change(...lines), NEVER) ?? Promise.resolve(null);

  it('plans for a scope what a look at everything would', async () => {
    const web = `${WEB} random 10.0.0.2:80 10.0.0.9:80`;
    const scoped = await observe(LINES.slice(1), [web]);
    const whole = await world.observe();
    expect(scoped && world.dataplane.plan(scoped, wantedOf([web]))).toEqual(
      world.dataplane.plan(whole, wantedOf([web, ...LINES.slice(0, 1)])),
    );
  });

  it('reads no more than the scope has', async () => {
    const many = Array.from({ length: 200 }, (_, i) => `TCP 10.96.1.${i}:80 random 10.1.0.1:80 10.1.0.2:80`);
    await world.settle(wantedOf([...LINES, ...many]));
    await world.observe();
    world.kernel.reads = 0;
    const [one = ''] = many;
    await observe([one, ...many.slice(1)], [one.replace('10.1.0.2', '10.1.0.3'), ...many.slice(1)]);
    // The frontend, two slots and two backends.
    expect(world.kernel.reads).toBe(5);
  });

  it('knows what earlier changes have left', async () => {
    const wanted = [`${WEB} random 10.0.0.2:80`];
    const scoped = await observe(LINES.slice(1), wanted);
    if (!scoped) throw new Error('no rows');
    await world.dataplane.apply(world.dataplane.plan(scoped, wantedOf(wanted)).make, NEVER);
    expect(world.dataplane.clearanceMs()).toBe(50);
    world.nowMs += 50;
    const later = await observe([], []);
    const ops = later ? world.dataplane.plan(later, wantedOf([])).break : [];
    expect(ops.map(({ op }) => op)).toEqual([
      'deleteSocketSlots',
      'deleteSocketTable',
      'deleteSocketBackend',
    ]);
    await world.dataplane.apply(ops, NEVER);
    expect(world.dataplane.clearanceMs()).toBeNull();
    expect((await world.observe()).remains.size).toBe(0);
  });

  it.each([
    { name: 'before the first look at everything', prepare: () => world.restart() },
    { name: 'where a frontend is gone', prepare: () => world.kernel.damage('lb_svc', WEB_KEY) },
    { name: 'where one is damaged', prepare: () => world.kernel.damage('lb_backend', '02000000') },
  ])('leaves it to a look at everything $name', async ({ prepare }) => {
    prepare();
    expect(await observe(LINES.slice(1), [`${WEB} random 10.0.0.2:80`])).toBeNull();
  });

  it('leaves it to a look at everything where the maps are nearly full', async () => {
    const slots = Array.from(
      { length: 65_000 },
      (_, i) => `10.${1 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}:80`,
    );
    expect(await observe(LINES.slice(1), [`${WEB} random ${slots.join(' ')}`])).toBeNull();
  });
});

function put(map: 'lb_svc' | 'lb_slot' | 'lb_backend', key: string, value: string): void {
  world.kernel.put(map, key, value);
}
