import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { DesiredState } from '../../src/model/desired-state.ts';
import { LOOK } from '../dataplane/look.ts';
import { desiredStates } from '../dataplane/nftables/arbitraries.ts';
import { SocklbWorld } from '../dataplane/socklb/build.ts';

const OF = 3;

/** Both looks, all parts of the closer one. */
async function isAllAsWanted({ dataplane }: SocklbWorld, desired: DesiredState): Promise<boolean> {
  const parts = Array.from({ length: OF }, (_, index) => ({ index, of: OF }));
  const looks = [
    await dataplane.isAsWanted?.(desired, LOOK),
    ...(await Promise.all(parts.map((part) => dataplane.isPartAsWanted?.(desired, part, LOOK)))),
  ];
  return looks.every((is) => is === true);
}

async function settle(world: SocklbWorld, desired: DesiredState): Promise<void> {
  await world.settle(world.dataplane.project(desired).rows);
}

describe('isAsWanted() and isPartAsWanted()', () => {
  it('are so once nothing is left to do, and no longer when somebody takes an element away', () =>
    fc.assert(
      fc.asyncProperty(desiredStates, desiredStates, fc.nat(), async (before, desired, choice) => {
        const world = new SocklbWorld();
        await settle(world, before);
        await settle(world, desired);
        expect(await isAllAsWanted(world, desired)).toBe(true);
        const elements = (['lb_svc', 'lb_slot', 'lb_backend'] as const).flatMap((map) =>
          [...world.kernel.elements(map).keys()].map((key) => ({ map, key })),
        );
        const element = elements[choice % elements.length];
        fc.pre(element !== undefined);
        world.kernel.damage(element.map, element.key);
        expect(await isAllAsWanted(world, desired)).toBe(false);
      }),
    ));

  it('are not so where a program is detached, or the switch is set otherwise', () =>
    fc.assert(
      fc.asyncProperty(desiredStates, async (desired) => {
        const world = new SocklbWorld();
        await settle(world, desired);
        fc.pre(world.kernel.state === 'attached');
        world.kernel.state = 'partly';
        expect(await isAllAsWanted(world, desired)).toBe(false);
        world.kernel.state = 'attached';
        const [[key, value] = ['', '']] = world.kernel.elements('lb_cfg');
        world.kernel.put('lb_cfg', key, `ff${value.slice(2)}`);
        expect(await isAllAsWanted(world, desired)).toBe(false);
      }),
    ));
});
