import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BpfMap } from '../../../native-bindings/bpf-maps.ts';
import { readSocklbObject, type SocklbBuild } from '../../../native-bindings/bpf-object.ts';
import type { BpfSocklbKernel } from '../../../src/dataplane/socklb/client.ts';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { MAGLEV_SIZE } from '../../../src/dataplane/socklb/layout.ts';
import { serviceText, sortedServices } from '../../../src/dataplane/socklb/rows.ts';
import { createNamespace, type NetworkNamespace, run } from '../../kernel/probe.ts';
import { within } from '../../kernel/traffic/raw-socket.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { acceptedBy, RawSocket } from '../../native-bindings/raw-sockets.ts';
import { NEVER, OPTIONS, wantedOf } from './build.ts';
import { openKernel, SocketGround, syncOnce } from './ground.ts';

const [A, B] = ['127.0.0.1:18081', '127.0.0.2:18082'];
const WEB = 'TCP 10.96.0.50:80';

describe('BpfSocklbKernel', needsBpf(), () => {
  let ground: SocketGround;
  let number = 0;
  let place = { directory: '', cgroup: '' };

  beforeAll(() => {
    ground = SocketGround.join();
  });

  afterAll(() => {
    ground?.[Symbol.dispose]();
  });

  beforeEach(() => {
    number += 1;
    place = ground.place(`t${number}`);
  });

  const open = (build?: SocklbBuild) => openKernel(place, build);

  const dataplaneOf = (kernel: BpfSocklbKernel, nowMs = Date.now) =>
    createSocklbDataplane({ kernel, nowMs }, OPTIONS);

  it('has nothing, and makes nothing, before the first write', async () => {
    using kernel = open();
    const rows = await dataplaneOf(kernel).observe(NEVER);
    expect([rows.programs, rows.services.size, rows.lastServiceId]).toEqual(['absent', 0, 0]);
    expect(existsSync(dirname(place.directory))).toBe(false);
  });

  it('connects real sockets to endpoints, through changes, the switch and a restart, and then no more', async () => {
    using namespace: NetworkNamespace = createNamespace('socklb');
    const socket = () => within(namespace.name, () => new RawSocket('TCP'));
    const connect = (address: string) => {
      using client = socket();
      return client.connect(address);
    };
    using one = socket().bind(A, true);
    using two = socket().bind(B, true);
    const reached = () => acceptedBy(one, two);
    const frontend = '10.96.0.50:80';

    const first = open();
    expect(
      await syncOnce(dataplaneOf(first), wantedOf([`${WEB} random ${A}`, 'TCP 10.96.0.51:80 random'])),
    ).toEqual(['addSocketService', 'addSocketService', 'setSocketMode', 'addSocketPrograms']);
    using opened = socket();
    expect([opened.connect(frontend), opened.peer(), ...reached()]).toEqual(['', frontend, true, false]);
    expect(connect('10.96.0.51:80')).toBe('ECONNREFUSED');
    expect(connect('10.96.0.52:80')).toBe('ENETUNREACH');
    first[Symbol.dispose]();
    // Without a process nothing changes.
    expect([connect(frontend), ...reached()]).toEqual(['', true, false]);

    using second = open();
    let nowMs = 0;
    const dataplane = dataplaneOf(second, () => nowMs);
    expect(sortedServices(await dataplane.observe(NEVER)).map(serviceText)).toEqual([
      `${WEB} random ${A}`,
      'TCP 10.96.0.51:80 random',
    ]);
    const maglev = wantedOf([`${WEB} maglev ${B}`]);
    expect(await syncOnce(dataplane, maglev)).toEqual(['setSocketService', 'deleteSocketService']);
    expect([connect(frontend), ...reached()]).toEqual(['', false, true]);
    expect(connect('10.96.0.51:80')).toBe('ENETUNREACH');
    nowMs = 50;
    expect(await syncOnce(dataplane, maglev)).toEqual(['deleteSocketSlots', 'deleteSocketBackend']);
    expect(await syncOnce(dataplane, maglev)).toEqual([]);
    expect((await second.readAll('lb_slot', NEVER)).values).toHaveLength(4);

    expect(await syncOnce(dataplane, wantedOf([`${WEB} maglev ${A} ${B}`]))).toEqual(['setSocketService']);
    expect(connect(frontend)).toBe('');
    reached();
    expect(await syncOnce(dataplane, wantedOf([], 'off'))).toContain('setSocketMode');
    expect(connect(frontend)).toBe('ENETUNREACH');
    expect(opened.send('still there')).toBe('');

    const { break: teardown } = dataplane.teardown(await dataplane.observe(NEVER));
    await dataplane.apply(teardown, NEVER);
    expect(existsSync(dirname(place.directory))).toBe(false);
    expect((await dataplane.observe(NEVER)).programs).toBe('absent');
  });

  it('puts its programs in the place of those of another version', async () => {
    using older = open('socklb-no-retval');
    await syncOnce(dataplaneOf(older), wantedOf([`${WEB} random`]));
    const before = readdirSync(join(place.directory, 'links'));
    using newer = open();
    expect(await newer.programs(NEVER)).toBe('partly');
    expect(await syncOnce(dataplaneOf(newer), wantedOf([`${WEB} random`]))).toEqual(['addSocketPrograms']);
    const after = readdirSync(join(place.directory, 'links'));
    expect([before.length, after.length, after.filter((name) => before.includes(name))]).toEqual([8, 8, []]);
    expect(await newer.programs(NEVER)).toBe('attached');
    using namespace = createNamespace('socklb');
    using client = within(namespace.name, () => new RawSocket('TCP'));
    // The older programs can't say so: a client hears EPERM of them.
    expect(client.connect('10.96.0.50:80')).toBe('ECONNREFUSED');
    await newer.remove(NEVER);
  });

  it('attaches anew what was attached to a cgroup that is gone', async () => {
    const gone = join(place.cgroup, `gone-${number}`);
    mkdirSync(gone);
    using before = openKernel({ ...place, cgroup: gone });
    expect(await before.attach(NEVER)).toEqual({ outcome: 'ok' });
    rmdirSync(gone);
    using kernel = open();
    expect(await kernel.programs(NEVER)).toBe('partly');
    expect(await kernel.attach(NEVER)).toEqual({ outcome: 'ok' });
    expect(await kernel.programs(NEVER)).toBe('attached');
    await kernel.remove(NEVER);
  });

  it.each([
    { lost: 'lb_svc', mode: 'on', hears: ['ENETUNREACH', ''], reached: [false, true] },
    { lost: 'lb_cfg', mode: 'off', hears: ['ENETUNREACH', 'ENETUNREACH'], reached: [false, false] },
  ] as const)('has its programs use what it makes in the place of $lost that somebody took away', async (row) => {
    using namespace = createNamespace('socklb');
    const socket = () => within(namespace.name, () => new RawSocket('TCP'));
    using one = socket().bind(A, true);
    using two = socket().bind(B, true);
    const before = open();
    await syncOnce(dataplaneOf(before), wantedOf([`${WEB} random ${A}`]));
    before[Symbol.dispose]();
    rmSync(join(place.directory, 'maps', row.lost));
    using kernel = open();
    const wanted = row.mode === 'on' ? [`TCP 10.96.0.51:80 random ${B}`] : [];
    await syncOnce(dataplaneOf(kernel), wantedOf(wanted, row.mode));
    const heard = ['10.96.0.50:80', '10.96.0.51:80'].map((frontend) => {
      using client = socket();
      return client.connect(frontend);
    });
    expect([heard, acceptedBy(one, two)]).toEqual([row.hears, row.reached]);
    expect(await kernel.programs(NEVER)).toBe('attached');
    expect(readdirSync(join(place.directory, 'links'))).toHaveLength(8);
    await kernel.remove(NEVER);
  });

  it('refuses what a bpffs that is read-only does not take, and makes it once it is not', async () => {
    const bpffs = dirname(dirname(place.directory));
    const remount = (how: 'ro' | 'rw') => run(['mount', '-o', `remount,bind,${how}`, bpffs]);
    using kernel = open();
    const dataplane = dataplaneOf(kernel);
    const wanted = wantedOf([`${WEB} random`]);
    remount('ro');
    try {
      const { make } = dataplane.plan(await dataplane.observe(NEVER), wanted);
      const { refused, acknowledged } = await dataplane.apply(make, NEVER);
      expect([new Set(refused.map(({ code }) => code)), acknowledged]).toEqual([new Set(['EROFS']), []]);
      expect(refused).toHaveLength(3);
    } finally {
      remount('rw');
    }
    expect(await syncOnce(dataplane, wanted)).toHaveLength(3);
    await kernel.remove(NEVER);
  });

  it('stands aside where a map is another than it makes, or something else is pinned in its place', async () => {
    using kernel = open();
    const dataplane = dataplaneOf(kernel);
    const [maps, links] = ['maps', 'links'].map((name) => join(place.directory, name)) as [string, string];
    const obstacle = async () => (await dataplane.observe(NEVER)).obstacle;
    await kernel.attach(NEVER);
    kernel[Symbol.dispose]();
    renameSync(join(maps, 'lb_cfg'), join(maps, 'other'));
    {
      using other = BpfMap.create('lb_cfg', { type: 1, keyBytes: 4, valueBytes: 4, maxEntries: 1, flags: 0 });
      other.pin(join(maps, 'lb_cfg'));
    }
    expect(await obstacle()).toMatch(/another version of svcplane has made it: run svcplane cleanup/);
    renameSync(join(maps, 'other'), join(maps, 'lb_cfg'));
    expect(await obstacle()).toBeNull();
    kernel[Symbol.dispose]();
    const [link = ''] = readdirSync(links);
    renameSync(join(links, link), join(maps, 'lb_cfg'));
    expect(await obstacle()).toMatch(/it is no map but .*bpf.link/);
    await dataplane.apply(dataplane.teardown(await dataplane.observe(NEVER)).break, NEVER);
    expect(existsSync(place.directory)).toBe(false);
  });

  it('fills a table in place, and gives it up', async () => {
    using kernel = open();
    const table = (backendId: number) => {
      return [{ serviceId: 3, backendIds: new Uint32Array(MAGLEV_SIZE).fill(backendId) }];
    };
    expect(await kernel.setTables(table(7), NEVER)).toEqual({ done: 1, code: null });
    expect(await kernel.setTables(table(8), NEVER)).toEqual({ done: 1, code: null });
    using again = open();
    expect(await again.tables(NEVER)).toEqual([3]);
    expect(await again.setTables(table(9), NEVER)).toEqual({ done: 1, code: null });
    expect(await again.deleteTables([3, 4], NEVER)).toEqual({ done: 2, code: null });
    expect(await kernel.tables(NEVER)).toEqual([]);
    await again.remove(NEVER);
  });

  it('counts what the programs did, by the numbers of the header', async () => {
    using namespace = createNamespace('socklb');
    using kernel = open();
    await syncOnce(dataplaneOf(kernel), wantedOf([`${WEB} random`]));
    using client = within(namespace.name, () => new RawSocket('TCP'));
    client.connect('10.96.0.50:80');
    const counters = await kernel.statistics(NEVER);
    expect(counters[readSocklbObject('socklb').constants.STAT_REFUSED ?? -1]).toBe(1n);
    await kernel.remove(NEVER);
  });

  it('has room for as many elements as the layout says, and then refuses', async () => {
    using kernel = open();
    const entries = 65_537;
    const keys = new Uint8Array(Uint32Array.from({ length: entries }, (_, i) => i + 1).buffer);
    const values = new Uint8Array(28 * entries);
    expect(await kernel.update('lb_backend', { keys, values }, NEVER)).toEqual({
      done: 65_536,
      code: 'E2BIG',
    });
    await kernel.remove(NEVER);
  });
});
