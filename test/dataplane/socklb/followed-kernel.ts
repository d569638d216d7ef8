import { createSocklbDataplane } from '../../../src/dataplane/socklb/index.ts';
import { MAP_SHAPES, type PackedElements, type SocketMap } from '../../../src/dataplane/socklb/layout.ts';
import { FakeSocklbKernel } from '../../fakes/socklb-kernel.ts';
import { NEVER, OPTIONS } from './build.ts';

/** One whose every frontend is followed, as a program would, after each write. */
export class FollowedKernel extends FakeSocklbKernel {
  isFollowed = false;
  readonly astray: string[] = [];

  override async update(map: SocketMap, { keys, values }: PackedElements, signal: AbortSignal) {
    const { keySize, valueSize } = MAP_SHAPES[map];
    for (let i = 0; i * keySize < keys.length; i++) {
      const one = {
        keys: keys.subarray(i * keySize, (i + 1) * keySize),
        values: values.subarray(i * valueSize, (i + 1) * valueSize),
      };
      const { code } = await super.update(map, one, signal);
      if (code !== null) return { done: i, code };
      await this.#follow();
    }
    return { done: keys.length / keySize, code: null };
  }

  override async delete(...request: Parameters<FakeSocklbKernel['delete']>) {
    const outcome = await super.delete(...request);
    await this.#follow();
    return outcome;
  }

  async #follow(): Promise<void> {
    if (!this.isFollowed) return;
    const dataplane = createSocklbDataplane({ kernel: this, nowMs: () => 0 }, OPTIONS);
    const { services } = await dataplane.observe(NEVER);
    for (const { key, fault } of services.values()) if (fault !== null) this.astray.push(`${key}: ${fault}`);
  }
}
