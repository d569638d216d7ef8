import { beforeEach, describe, expect, it } from 'vitest';
import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { CONNECTIONS, packElements } from '../../../src/dataplane/socklb/layout.ts';
import type { SocklbOp } from '../../../src/dataplane/socklb/ops.ts';
import type { SocklbRows } from '../../../src/dataplane/socklb/rows.ts';
import { NEVER, OPTIONS, SocklbWorld, wantedOf } from './build.ts';

const DNS = 'UDP 10.96.0.10:53';
const BOTH = wantedOf([`${DNS} random 10.0.0.3:53 10.0.0.4:53`]);
const ONE = wantedOf([`${DNS} random 10.0.0.4:53`]);

let world: SocklbWorld;

beforeEach(async () => {
  world = new SocklbWorld();
  await world.settle(BOTH);
  // Backend 1 is 10.0.0.3, 2 is 10.0.0.4.
  connect(7n, '10.0.0.3 53', 1);
  connect(8n, '10.0.0.4 53', 2);
  // It was connected to the first, and has been closed since.
  connect(9n, undefined, 1);
  // Another program connected it to the same endpoint, by no Service.
  world.kernel.sockets.set(10n, '10.0.0.3 53');
  // It was connected to the first, and is now to somebody else.
  connect(11n, '192.0.2.1 53', 1);
});

/** As the programs and the kernel note it. */
function connect(cookie: bigint, to: string | undefined, backendId: number): void {
  const { keys, values } = packElements(CONNECTIONS, [[cookie, { backendId, serviceId: 1 }]]);
  world.kernel.put('lb_udp_conn', Buffer.from(keys).toString('hex'), Buffer.from(values).toString('hex'));
  if (to !== undefined) world.kernel.sockets.set(cookie, to);
}

const open = () => [...world.kernel.sockets.keys()];
const noted = () => world.kernel.elements('lb_udp_conn').size;
const names = (ops: readonly SocklbOp[]) => ops.map(({ op }) => op);

/** Takes the first endpoint away, and lets the time pass after which it goes. */
async function leave(wanted: SocklbRows = ONE): Promise<void> {
  await world.sync(wanted);
  world.nowMs += 50;
}

describe('endSockets', () => {
  it('ends the sockets that were connected to an endpoint that goes, and no others', async () => {
    await leave();
    // Until the endpoint goes all are left alone.
    expect(open()).toHaveLength(4);
    expect(names(await world.sync(ONE))).toEqual(['deleteSocketSlots', 'endSockets']);
    expect(open()).toEqual([8n, 10n, 11n]);
    expect([noted(), world.kernel.elements('lb_backend').size]).toEqual([1, 1]);
    expect(await world.sync(ONE)).toEqual([]);
  });

  it('is what finish() does, for a process that makes no further sync', async () => {
    const realTime = createSocklbDataplane({ kernel: world.kernel, nowMs: Date.now }, OPTIONS);
    const { make } = realTime.plan(await realTime.observe(NEVER), ONE);
    await realTime.apply(make, NEVER);
    await realTime.finish(NEVER);
    expect(open()).toEqual([8n, 10n, 11n]);
  });

  it('asks nobody where no socket is noted', async () => {
    for (const key of world.kernel.elements('lb_udp_conn').keys()) world.kernel.damage('lb_udp_conn', key);
    await leave();
    world.kernel.endSockets = () => Promise.reject(new Error('asked'));
    expect(names(await world.sync(ONE))).toEqual(['deleteSocketSlots', 'endSockets']);
    expect(world.kernel.elements('lb_backend').size).toBe(1);
  });

  it('lets no socket come to the endpoint while it looks for them', async () => {
    await leave();
    const { kernel } = world;
    const seen: (string | undefined)[] = [];
    const end = kernel.endSockets.bind(kernel);
    kernel.endSockets = (...request) => {
      seen.push(kernel.elements('lb_backend').get('01000000'));
      return end(...request);
    };
    await world.sync(ONE);
    // Its address is there still, the id of its Service is nobody's.
    expect(seen).toEqual(['00000000000000000000ffff0a0000030035' + '1100' + '00000000' + '01000000']);
  });

  it('keeps the note of a socket that has connected anew meanwhile', async () => {
    await leave();
    const { kernel } = world;
    const end = kernel.endSockets.bind(kernel);
    kernel.endSockets = async (...request) => {
      const answer = await end(...request);
      connect(7n, '10.0.0.4 53', 2);
      return answer;
    };
    await world.sync(ONE);
    expect(noted()).toBe(2);
    kernel.endSockets = end;
    await leave(wantedOf([`${DNS} random`]));
    await world.sync(wantedOf([`${DNS} random`]));
    expect(open()).toEqual([10n, 11n]);
  });

  it.each(['refused', 'cut off'])('is planned again after it was %s, and by another process', async (how) => {
    await leave();
    const { kernel } = world;
    const end = kernel.endSockets.bind(kernel);
    kernel.endSockets = async () => {
      if (how === 'cut off') throw new DOMException('aborted', 'AbortError');
      return { outcome: 'refused', code: 'EPERM' };
    };
    const { break: ops } = world.dataplane.plan(await world.observe(), ONE);
    const report = await world.dataplane.apply(ops, NEVER).catch((error: unknown) => error);
    expect(report).toMatchObject(
      how === 'cut off'
        ? { name: 'AbortError' }
        : {
            refused: [
              {
                code: 'EPERM',
                message:
                  'Cannot end sockets of backend 1: EPERM: run as root or with CAP_NET_ADMIN and CAP_SYS_ADMIN',
              },
            ],
          },
    );
    expect(open()).toHaveLength(4);
    kernel.endSockets = end;
    world.restart();
    await world.sync(ONE);
    world.nowMs += 50;
    expect(names(await world.sync(ONE))).toEqual(['endSockets']);
    expect(open()).toEqual([8n, 10n, 11n]);
    expect(await world.sync(ONE)).toEqual([]);
  });

  it('is not planned where nobody can do it', async () => {
    world.kernel.ending = { outcome: 'unsupported', reason: 'this kernel has no INET_DIAG_DESTROY' };
    world.restart();
    await world.sync(ONE);
    await world.observe();
    world.nowMs += 50;
    expect(names(await world.sync(ONE))).toEqual(['deleteSocketSlots', 'deleteSocketBackend']);
    expect(open()).toHaveLength(4);
  });
});
