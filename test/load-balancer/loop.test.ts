import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { AddressController, type RoundReport } from '../../src/load-balancer/loop.ts';
import { pool, rules, type Shape } from './build.ts';
import { ServiceApi } from './service-api.ts';

const MAIN = rules([pool('main', ['10.10.0.0/29'])]);

/** A controller that leads until it is stopped, or until `lease.isHeld` is made false. */
function controllerOver(api: ServiceApi) {
  const ended = new AbortController();
  const reports: RoundReport[] = [];
  const lease = {
    isHeld: true,
    acquire: async () => undefined,
    keep: (signal: AbortSignal) => sleep(1_000_000, undefined, { signal }),
    release: async () => undefined,
  };
  const controller = new AddressController({
    connection: api.connection,
    lease,
    rules: () => MAIN,
    times: { watchMs: 1_000_000, marginMs: 1000, shortMs: 0, notServedMs: 1000 },
    delayAfter: () => 5,
    onLeading: () => undefined,
    onRound: (report) => void reports.push(report),
    onWatch: () => undefined,
  });
  const done = controller.run(ended.signal);
  const stop = async () => {
    ended.abort();
    await done;
  };
  return { lease, reports, [Symbol.asyncDispose]: stop };
}

const service = (name: string, age: number): Shape => ({ name, age });
const has = (api: ServiceApi, name: string, ...addresses: string[]) =>
  vi.waitFor(() => expect(api.addressesOf(name)).toEqual(addresses), { timeout: 5000 });

describe('AddressController', () => {
  it('gives addresses, and those of deleted Services again', async () => {
    const api = new ServiceApi();
    api.put(service('a', 9));
    await using _ = controllerOver(api);
    await has(api, 'a', '10.10.0.1');
    api.put(service('b', 8));
    await has(api, 'b', '10.10.0.2');
    api.delete('a');
    api.put(service('c', 7));
    await has(api, 'c', '10.10.0.1');
    expect(api.twice).toEqual([]);
  });

  it('reads again what was not answered, before it decides anything else', async () => {
    const api = new ServiceApi();
    let lost = 0;
    api.loses = () => ++lost <= 2;
    api.put(service('a', 9));
    await using running = controllerOver(api);
    await vi.waitFor(() => expect(running.reports.some(({ failures }) => failures.length > 0)).toBe(true));
    // The watch tells of nothing: who has asked again knows all the same.
    api.isSilent = true;
    await has(api, 'a', '10.10.0.1');
    api.speak();
    api.put(service('b', 8));
    await has(api, 'b', '10.10.0.2');
    expect(api.twice).toEqual([]);
  });

  it('writes nothing once the Lease may be another one’s', async () => {
    const api = new ServiceApi();
    await using running = controllerOver(api);
    api.put(service('a', 9));
    await has(api, 'a', '10.10.0.1');
    running.lease.isHeld = false;
    const rounds = running.reports.length;
    api.put(service('b', 8));
    await vi.waitFor(() => expect(running.reports.length).toBeGreaterThan(rounds));
    expect(api.addressesOf('b')).toEqual([]);
  });

  it('gives no address twice where many answers are lost and Services come and go', async () => {
    const api = new ServiceApi();
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    api.loses = () => random(3) === 0;
    await using _ = controllerOver(api);
    for (let i = 0; i < 200; i++) {
      const name = `s${random(9)}`;
      if (random(3) === 0) api.delete(name);
      else api.put({ name, age: -i });
      api.isSilent = random(4) === 0;
      if (!api.isSilent) api.speak();
      if (i % 5 === 0) await sleep(10);
    }
    api.loses = () => false;
    api.speak();
    for (let i = 0; i < 9; i++) api.delete(`s${i}`);
    for (let i = 0; i < 6; i++) api.put({ name: `end-${i}`, age: -i });
    await has(api, 'end-5', '10.10.0.6');
    expect(api.twice).toEqual([]);
  });
});
