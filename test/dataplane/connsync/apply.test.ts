import { describe, expect, it } from 'vitest';
import { syncDataplane } from '../../../src/dataplane/connsync/index.ts';
import { parseOp } from '../../../src/dataplane/connsync/ops.ts';
import type { SyncOptions } from '../../../src/dataplane/connsync/project.ts';
import { canonical } from '../../../src/dataplane/connsync/rows.ts';
import { fromSnapshot, toSnapshot } from '../../../src/dataplane/connsync/snapshot.ts';
import type { Operation } from '../../../src/dataplane/dataplane.ts';
import { desiredOf } from '../../derive.ts';
import { MemoryLedger } from '../../fakes/ledger.ts';
import { FakeSyncKernel } from '../../fakes/sync-kernel.ts';

const NEVER = new AbortController().signal;
const ON: SyncOptions = { mode: 'on', interface: 'eth0', id: 83 };
const OFF: SyncOptions = { ...ON, mode: 'off' };
const NOTHING = { done: [], refused: [], conflicts: [] };

class Bench {
  readonly kernel = new FakeSyncKernel();
  readonly ledger = new MemoryLedger();

  /** Makes it as `options` want it. */
  async sync(options: SyncOptions, signal = NEVER) {
    const dataplane = syncDataplane(this.kernel, this.ledger, options);
    const observed = await dataplane.observe(NEVER);
    const plan = dataplane.plan(observed, dataplane.project(desiredOf([])).rows);
    const reports = [];
    for (const ops of [plan.make, plan.break]) reports.push(await dataplane.apply(ops, signal));
    return {
      done: reports.flatMap(({ acknowledged }) => acknowledged).map(shown),
      refused: reports.flatMap(({ refused }) => refused).map(({ message }) => message),
      conflicts: plan.conflicts.map(({ subject, reason }) => `${subject}: ${reason}`),
    };
  }
}

function shown({ op, detail, ...rest }: Operation & { readonly role?: string }): string {
  return `${op} ${rest.role} ${detail}`;
}

describe('the dataplane of connection synchronisation', () => {
  it('starts both daemons, and ends them where it is switched off', async () => {
    const bench = new Bench();
    expect(await bench.sync(OFF)).toEqual(NOTHING);
    expect(await bench.sync(ON)).toEqual({
      ...NOTHING,
      done: ['addSyncDaemon backup eth0 id 83', 'addSyncDaemon master eth0 id 83'],
    });
    expect(await bench.sync(ON)).toEqual(NOTHING);
    expect(await bench.sync(OFF)).toEqual({
      ...NOTHING,
      done: ['deleteSyncDaemon master eth0 id 83', 'deleteSyncDaemon backup eth0 id 83'],
    });
    expect([bench.kernel.running.size, bench.ledger.read().syncDaemons.size]).toEqual([0, 0]);
  });

  it('ends one before it starts it with another link or id', async () => {
    const bench = new Bench();
    await bench.sync(ON);
    expect((await bench.sync({ ...ON, id: 84 })).done).toEqual([
      'deleteSyncDaemon backup eth0 id 83',
      'addSyncDaemon backup eth0 id 84',
      'deleteSyncDaemon master eth0 id 83',
      'addSyncDaemon master eth0 id 84',
    ]);
  });

  it('leaves those of others alone, and says so', async () => {
    const bench = new Bench();
    await bench.kernel.start({ role: 'master', interface: 'eth1', id: 3 });
    const { done, conflicts } = await bench.sync(ON);
    expect(done).toEqual(['addSyncDaemon backup eth0 id 83']);
    expect(conflicts).toEqual([
      'connection synchronisation, master: somebody else has started one, on eth1 id 3; left alone. ' +
        'Stop it, or set connectionSync to off',
    ]);
    expect((await bench.sync(OFF)).done).toEqual(['deleteSyncDaemon backup eth0 id 83']);
    expect([...bench.kernel.running.keys()]).toEqual(['master']);
  });

  it('takes the one that somebody put in the place of ours for somebody else’s', async () => {
    const bench = new Bench();
    await bench.sync(ON);
    await bench.kernel.stop('master');
    await bench.kernel.start({ role: 'master', interface: 'eth0', id: 3 });
    expect((await bench.sync(OFF)).done).toEqual(['deleteSyncDaemon backup eth0 id 83']);
  });

  it('replaces those whose link was, and no others', async () => {
    const bench = new Bench();
    await bench.sync(ON);
    bench.kernel.links.delete('eth0');
    const { done, refused } = await bench.sync(ON);
    expect([done.length, refused.length]).toEqual([2, 2]);
    bench.kernel.links.set('eth0', 7);
    await bench.sync(ON);
    expect([...bench.kernel.running.keys()]).toEqual(['backup', 'master']);
    expect(await bench.sync(ON)).toEqual(NOTHING);
    bench.kernel.links.set('eth0', 8);
    expect((await bench.sync(ON)).done).toEqual([
      'deleteSyncDaemon backup eth0 id 83',
      'addSyncDaemon backup eth0 id 83',
      'deleteSyncDaemon master eth0 id 83',
      'addSyncDaemon master eth0 id 83',
    ]);
  });

  it('reports a refusal, and owns nothing then', async () => {
    const bench = new Bench();
    const { refused } = await bench.sync({ ...ON, interface: 'bond0' });
    expect(refused[0]).toBe(
      'Cannot start connection synchronisation, backup: ENODEV; there is no link bond0: set connectionSync.interface',
    );
    expect(bench.ledger.read().syncDaemons.size).toBe(0);
  });

  it('owns what it has started without hearing an answer', async () => {
    const bench = new Bench();
    bench.kernel.silent = true;
    expect((await bench.sync(ON)).done).toEqual([]);
    expect(await bench.sync(ON)).toEqual(NOTHING);
    await bench.sync(OFF);
    expect(bench.kernel.running.size).toBe(0);
  });

  it('starts nothing that it can’t enter into the ledger, nor after an abort', async () => {
    const bench = new Bench();
    await bench.sync(ON, AbortSignal.abort());
    bench.ledger.full = true;
    await expect(bench.sync(ON)).rejects.toThrow('ENOSPC');
    expect(bench.kernel.running.size).toBe(0);
  });

  it('reads its operations and its rows back', async () => {
    const bench = new Bench();
    const dataplane = syncDataplane(bench.kernel, bench.ledger, ON);
    const wanted = dataplane.project(desiredOf([])).rows;
    const { make } = dataplane.plan(new Map(), wanted);
    const { break: ended } = dataplane.teardown(wanted);
    for (const op of [...make, ...ended]) expect(parseOp(JSON.parse(JSON.stringify(op)))).toEqual(op);
    expect(() => parseOp({ ...make[0], id: 256 })).toThrow(RangeError);
    expect(canonical(fromSnapshot(toSnapshot(wanted, 'desired')))).toBe(canonical(wanted));
    expect(
      dataplane.foreign(
        fromSnapshot({ connectionSync: [{ role: 'master', interface: 'eth1', id: 3, owner: 'foreign' }] }),
      ),
    ).toEqual(['master of connection synchronisation on eth1 id 3']);
  });
});
