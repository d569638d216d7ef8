import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import * as links from '../../../native-bindings/bpf-links.ts';
import * as maps from '../../../native-bindings/bpf-maps.ts';
import * as objects from '../../../native-bindings/bpf-object.ts';
import * as programs from '../../../native-bindings/bpf-programs.ts';
import { mountFileSystem, unmountFileSystem } from '../../../native-bindings/mounts.ts';
import { socketPrograms } from '../../../src/dataplane/socklb/bindings.ts';
import { BpfSocklbKernel } from '../../../src/dataplane/socklb/client.ts';
import { createSocklbDataplane, type SocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { MAGLEV_SIZE } from '../../../src/dataplane/socklb/layout.ts';
import { type SocklbRows, serviceText, sortedServices } from '../../../src/dataplane/socklb/rows.ts';
import { createNamespace, type NetworkNamespace } from '../../kernel/probe.ts';
import { within } from '../../kernel/traffic/raw-socket.ts';
import { needsBpf } from '../../native-bindings/bpf-environment.ts';
import { RawSocket } from '../../native-bindings/raw-sockets.ts';
import { type JoinedCgroup, joinNewCgroup, temporaryDirectory } from '../../native-bindings/socklb-lab.ts';
import { NEVER, OPTIONS, wantedOf } from './build.ts';

const MODULES = { ...links, ...maps, ...objects, ...programs };
const [A, B] = ['127.0.0.1:18081', '127.0.0.2:18082'];
const WEB = 'TCP 10.96.0.50:80';

describe('BpfSocklbKernel', needsBpf(), () => {
  let cgroup: JoinedCgroup | undefined;
  let bpffs = '';
  let number = 0;
  let place = { directory: '', cgroup: '' };

  beforeAll(() => {
    cgroup = joinNewCgroup();
    bpffs = temporaryDirectory();
    mountFileSystem('bpf', bpffs);
  });

  afterAll(() => {
    // What is pinned, and with it what is attached, goes with its file system.
    unmountFileSystem(bpffs);
    rmdirSync(bpffs);
    cgroup?.[Symbol.dispose]();
  });

  beforeEach(() => {
    number += 1;
    place = { directory: join(bpffs, `t${number}`, 'v1'), cgroup: cgroup?.path ?? '' };
  });

  const open = (build: objects.SocklbBuild = 'socklb') =>
    new BpfSocklbKernel(socketPrograms(MODULES, objects.readSocklbObject(build)), place);

  async function sync(dataplane: SocklbDataplane, wanted: SocklbRows): Promise<readonly string[]> {
    const { make, break: unmake } = dataplane.plan(await dataplane.observe(NEVER), wanted);
    const reports = [await dataplane.apply(make, NEVER), await dataplane.apply(unmake, NEVER)];
    expect(reports.flatMap(({ refused }) => refused.map(({ message }) => message))).toEqual([]);
    return [...make, ...unmake].map(({ op }) => op);
  }

  const dataplaneOf = (kernel: BpfSocklbKernel, nowMs = Date.now) =>
    createSocklbDataplane({ kernel, nowMs }, OPTIONS);

  it('has nothing, and makes nothing, before the first write', async () => {
    using kernel = open();
    const rows = await dataplaneOf(kernel).observe(NEVER);
    expect([rows.programs, rows.services.size, rows.lastServiceId]).toEqual(['absent', 0, 0]);
    expect(readdirSync(bpffs)).not.toContain(`t${number}`);
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
    const reached = () => [one.accept(), two.accept()];
    const frontend = '10.96.0.50:80';

    const first = open();
    expect(
      await sync(dataplaneOf(first), wantedOf([`${WEB} random ${A}`, 'TCP 10.96.0.51:80 random'])),
    ).toEqual(['addSocketService', 'addSocketService', 'addSocketPrograms', 'setSocketMode']);
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
    expect(await sync(dataplane, maglev)).toEqual(['setSocketService', 'deleteSocketService']);
    expect([connect(frontend), ...reached()]).toEqual(['', false, true]);
    expect(connect('10.96.0.51:80')).toBe('ENETUNREACH');
    nowMs = 50;
    expect(await sync(dataplane, maglev)).toEqual(['deleteSocketSlots', 'deleteSocketBackend']);
    expect(await sync(dataplane, maglev)).toEqual([]);
    expect((await second.readAll('lb_slot', NEVER)).values).toHaveLength(4);

    expect(await sync(dataplane, wantedOf([`${WEB} maglev ${A} ${B}`]))).toEqual(['setSocketService']);
    expect(connect(frontend)).toBe('');
    reached();
    expect(await sync(dataplane, wantedOf([], 'off'))).toContain('setSocketMode');
    expect(connect(frontend)).toBe('ENETUNREACH');
    expect(opened.send('still there')).toBe('');

    const { break: teardown } = dataplane.teardown(await dataplane.observe(NEVER));
    await dataplane.apply(teardown, NEVER);
    expect(readdirSync(bpffs)).not.toContain(`t${number}`);
    expect((await dataplane.observe(NEVER)).programs).toBe('absent');
  });

  it('puts its programs in the place of those of another version', async () => {
    using older = open('socklb-no-retval');
    await sync(dataplaneOf(older), wantedOf([`${WEB} random`]));
    const before = readdirSync(join(place.directory, 'links'));
    using newer = open();
    expect(await newer.programs(NEVER)).toBe('partly');
    expect(await sync(dataplaneOf(newer), wantedOf([`${WEB} random`]))).toEqual(['addSocketPrograms']);
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
    const object = socketPrograms(MODULES, objects.readSocklbObject('socklb'));
    using before = new BpfSocklbKernel(object, { ...place, cgroup: gone });
    expect(await before.attach(NEVER)).toEqual({ outcome: 'ok' });
    rmdirSync(gone);
    using kernel = open();
    expect(await kernel.programs(NEVER)).toBe('partly');
    expect(await kernel.attach(NEVER)).toEqual({ outcome: 'ok' });
    expect(await kernel.programs(NEVER)).toBe('attached');
    await kernel.remove(NEVER);
  });

  it('fills a table in place, and gives it up', async () => {
    using kernel = open();
    const table = new Uint32Array(MAGLEV_SIZE).fill(7);
    expect(await kernel.setTable(3, table, NEVER)).toEqual({ outcome: 'ok' });
    expect(await kernel.setTable(3, table.fill(8), NEVER)).toEqual({ outcome: 'ok' });
    using again = open();
    expect(await again.tables(NEVER)).toEqual([3]);
    expect(await again.setTable(3, table.fill(9), NEVER)).toEqual({ outcome: 'ok' });
    expect(await again.deleteTable(3, NEVER)).toEqual({ outcome: 'ok' });
    expect(await kernel.tables(NEVER)).toEqual([]);
    await again.remove(NEVER);
  });

  it('counts what the programs did, by the numbers of the header', async () => {
    using namespace = createNamespace('socklb');
    using kernel = open();
    await sync(dataplaneOf(kernel), wantedOf([`${WEB} random`]));
    using client = within(namespace.name, () => new RawSocket('TCP'));
    client.connect('10.96.0.50:80');
    const counters = await kernel.statistics(NEVER);
    expect(counters[objects.readSocklbObject('socklb').constants.STAT_REFUSED ?? -1]).toBe(1n);
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
