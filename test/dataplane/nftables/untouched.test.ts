import { describe, expect, it } from 'vitest';
import { Untouched } from '../../../src/dataplane/nftables/untouched.ts';

const OK = { outcome: 'ok' } as const;
const REFUSED = { outcome: 'refused', code: 'EPERM', message: 'no' } as const;
const yes = async () => true;

/** An nftables with the generation of a kernel. */
function setup(generation: number | undefined = 7) {
  const kernel: { now: number | undefined; generation(): number | undefined } = {
    now: generation,
    generation: () => kernel.now,
  };
  /** A transaction; by default of one that changes something, and of nobody else. */
  const writes =
    (count = 1) =>
    async () => {
      kernel.now = (kernel.now ?? 0) + count;
      return OK;
    };
  return { kernel, writes, untouched: new Untouched(kernel) };
}

describe('Untouched', () => {
  it('is not so before a look, and so after one that says yes', async () => {
    const { untouched } = setup();
    expect(untouched.isSo()).toBe(false);
    expect(await untouched.look(async () => false)).toBe(false);
    expect(untouched.isSo()).toBe(false);
    expect(await untouched.look(yes)).toBe(true);
    expect(untouched.isSo()).toBe(true);
  });

  it('is not so once somebody has written, be it during the look', async () => {
    const { kernel, untouched } = setup();
    await untouched.look(yes);
    kernel.now = 8;
    expect(untouched.isSo()).toBe(false);
    await untouched.look(async () => {
      kernel.now = 9;
      return true;
    });
    expect(untouched.isSo()).toBe(false);
  });

  it('is not so after a look that has thrown', async () => {
    const { untouched } = setup();
    await untouched.look(yes);
    await expect(untouched.look(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(untouched.isSo()).toBe(false);
  });

  it.each([
    { name: 'a write of ours', by: 1, isSo: true },
    { name: 'a write of ours that said what was so already', by: 0, isSo: true },
    { name: 'a write of ours and one of others', by: 2, isSo: false },
  ])('after $name: $isSo', async ({ by, isSo }) => {
    const { untouched, writes } = setup();
    await untouched.look(yes);
    expect(await untouched.write(false, writes(by))).toBe(OK);
    expect(untouched.isSo()).toBe(isSo);
  });

  it('a write of ours does not hide one of others before it', async () => {
    const { kernel, untouched, writes } = setup();
    await untouched.look(yes);
    kernel.now = 8;
    await untouched.write(false, writes());
    expect(untouched.isSo()).toBe(false);
  });

  it('a write of ours does not hide one of others that comes while it asks', async () => {
    const { kernel, untouched, writes } = setup();
    await untouched.look(yes);
    const answer = kernel.generation;
    // Right behind the first question.
    kernel.generation = () => {
      kernel.generation = answer;
      kernel.now = 8;
      return 7;
    };
    await untouched.write(false, writes());
    expect(untouched.isSo()).toBe(false);
  });

  it('a write of ours alone says nothing', async () => {
    const { untouched, writes } = setup();
    await untouched.write(false, writes());
    expect(untouched.isSo()).toBe(false);
  });

  it('is so after a write that makes the table anew, if nobody else wrote meanwhile', async () => {
    const { kernel, untouched, writes } = setup();
    await untouched.write(true, writes());
    expect(untouched.isSo()).toBe(true);
    kernel.now = 20;
    await untouched.write(true, writes());
    expect(untouched.isSo()).toBe(true);
    await untouched.write(true, writes(2));
    expect(untouched.isSo()).toBe(false);
  });

  it('is not so after a refusal or a throw', async () => {
    for (const run of [async () => REFUSED, () => Promise.reject(new Error('broken'))]) {
      const { untouched } = setup();
      await untouched.look(yes);
      await untouched.write(false, run).catch(() => undefined);
      expect(untouched.isSo()).toBe(false);
    }
  });

  it('counts on past the largest number, without 0', async () => {
    const { kernel, untouched } = setup(2 ** 32 - 1);
    await untouched.look(yes);
    await untouched.write(false, async () => {
      kernel.now = 1;
      return OK;
    });
    expect(untouched.isSo()).toBe(true);
  });

  it('is never so where the kernel does not tell', async () => {
    const { kernel, untouched } = setup();
    kernel.now = undefined;
    expect(await untouched.look(yes)).toBe(true);
    expect(untouched.isSo()).toBe(false);
  });
});
