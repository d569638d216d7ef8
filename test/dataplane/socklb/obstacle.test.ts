import { beforeEach, describe, expect, it } from 'vitest';
import { desiredOf } from '../../derive.ts';
import { refusal } from '../../fakes/socket-programs.ts';
import { LOOK } from '../look.ts';
import { NEVER, SocklbWorld, wantedOf } from './build.ts';

const WEB = 'TCP 10.96.0.50:80';
const WANTED = wantedOf([`${WEB} random 10.0.0.1:80`]);

let world: SocklbWorld;

beforeEach(async () => {
  world = new SocklbWorld();
  await world.settle(WANTED);
  world.kernel.unreadable = refusal('EACCES');
});

const OTHER = wantedOf([`${WEB} random 10.0.0.2:80`]);
const observeChange = () =>
  world.dataplane.scoped?.observe({ before: WANTED, wanted: OTHER, isDrainCheck: false }, NEVER);

describe('a balancer whose maps can not be opened', () => {
  it('stands aside, and says why', async () => {
    const observed = await world.observe();
    expect(observed).toMatchObject({ obstacle: expect.stringContaining('EACCES'), programs: 'absent' });
    expect(world.dataplane.plan(observed, WANTED)).toEqual({
      make: [],
      break: [],
      conflicts: [{ subject: 'socket load balancer', reason: expect.stringContaining('bpf: EACCES') }],
    });
    expect(world.dataplane.clearanceMs()).toBeNull();
  });

  it('does so for a scope, too, until it can look at everything again', async () => {
    const scoped = await observeChange();
    expect(scoped).toMatchObject({ obstacle: expect.stringContaining('EACCES') });
    expect(await observeChange()).toMatchObject({ obstacle: expect.stringContaining('EACCES') });
    world.kernel.unreadable = undefined;
    expect(await observeChange()).toBeNull();
    expect(await world.sync(WANTED)).toEqual([]);
    expect((await world.observe()).obstacle).toBeNull();
    expect(await observeChange()).toMatchObject({ obstacle: null });
  });

  it('is as wanted for an audit while nothing changes about it', async () => {
    const desired = desiredOf([]);
    const part = { index: 0, of: 1 };
    const isAsWanted = () => world.dataplane.isAsWanted?.(desired, LOOK);
    const isPartAsWanted = () => world.dataplane.isPartAsWanted?.(desired, part, LOOK);
    // A whole sync is to say so.
    expect(await isAsWanted()).toBe(false);
    await world.observe();
    expect([await isAsWanted(), await isPartAsWanted()]).toEqual([true, true]);
    world.kernel.unreadable = undefined;
    expect([await isAsWanted(), await isPartAsWanted()]).toEqual([false, false]);
  });

  it('is taken away by a clean-up nevertheless', async () => {
    const { break: ops } = world.dataplane.teardown(await world.observe());
    expect(ops.map(({ op }) => op)).toEqual(['deleteSocketPrograms']);
    expect((await world.dataplane.apply(ops, NEVER)).refused).toEqual([]);
    expect(world.kernel.state).toBe('absent');
  });

  it('refuses what was planned before, and goes on with the rest', async () => {
    world.kernel.unreadable = undefined;
    const wanted = wantedOf([`${WEB} random 10.0.0.2:80`], 'hostOnly');
    const { make } = world.dataplane.plan(await world.observe(), wanted);
    world.kernel.unreadable = refusal('EACCES');
    const { refused, acknowledged, notAttempted } = await world.dataplane.apply(make, NEVER);
    expect([refused.map(({ op }) => op.op), acknowledged, notAttempted]).toEqual([
      ['setSocketService', 'setSocketMode'],
      [],
      [],
    ]);
    expect(refused[0]).toMatchObject({ code: 'EACCES', message: expect.stringMatching(/EACCES: something/) });
  });

  it('lets a process end', async () => {
    world.kernel.unreadable = undefined;
    await world.sync(wantedOf([]));
    world.kernel.unreadable = refusal('EACCES');
    await world.dataplane.finish(NEVER);
  });

  it.each([
    { name: 'a mistake of ours', error: new TypeError('undefined is not a function') },
    { name: 'a mistake of ours that Node names', error: refusal('ERR_INVALID_ARG_TYPE') },
    { name: 'an abort', error: new DOMException('aborted', 'AbortError') },
  ])('is no name for $name', async ({ error }) => {
    world.kernel.unreadable = error;
    await expect(world.observe()).rejects.toBe(error);
    await expect(observeChange()).rejects.toBe(error);
    world.kernel.unreadable = undefined;
    const { make } = world.dataplane.plan(await world.observe(), wantedOf([`${WEB} random 10.0.0.2:80`]));
    world.kernel.unreadable = error;
    await expect(world.dataplane.apply(make, NEVER)).rejects.toBe(error);
  });
});
