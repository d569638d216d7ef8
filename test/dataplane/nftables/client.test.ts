import { describe, expect, it } from 'vitest';
import {
  LibraryNftablesKernel,
  NftablesError,
  type NftLibrary,
  type NftLibraryResult,
} from '../../../src/dataplane/nftables/client.ts';

const never = new AbortController().signal;
const aborted = AbortSignal.abort(new Error('stopped'));
const refused = (code: string) => ({ outcome: 'refused', code, message: 'the reason' }) as const;
const listing = { nftables: [{ table: { family: 'inet', name: 't', handle: 1 } }] };

/** A library that has the table `t`, and answers every transaction with `answer`. */
function library(answer: NftLibraryResult): NftLibrary {
  return {
    run: () => Promise.resolve(answer),
    listJson: (command) => {
      const { name, family } = JSON.parse(command).nftables[0].list.table;
      const isKnown = family === 'inet' && name === 't';
      const found = { outcome: 'ok', output: JSON.stringify(listing) } as const;
      return Promise.resolve(isKnown ? found : refused('ENOENT'));
    },
  };
}

describe('LibraryNftablesKernel', () => {
  const kernel = new LibraryNftablesKernel(library({ outcome: 'ok', output: 'noise' }));
  const refusing = new LibraryNftablesKernel(library(refused('EBUSY')));

  it('list() gives the parsed table', async () => {
    expect(await kernel.list('t', never)).toEqual(listing);
  });

  it('list() of a table that is not there gives undefined, whatever its name', async () => {
    expect(await kernel.list('t"; delete table inet t', never)).toBeUndefined();
  });

  it('list() throws what else the kernel says', async () => {
    const broken: NftLibrary = { ...library(refused('EPERM')), listJson: async () => refused('EPERM') };
    const error = await new LibraryNftablesKernel(broken).list('t', never).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(NftablesError);
    expect(error).toMatchObject({
      code: 'EPERM',
      message: 'Cannot list nftables table inet t: EPERM: the reason',
    });
  });

  it('list() throws if what the library gives breaks off', async () => {
    const output = JSON.stringify(listing).slice(0, -4);
    const broken: NftLibrary = {
      ...library(refused('EPERM')),
      listJson: async () => ({ outcome: 'ok', output }),
    };
    const error = await new LibraryNftablesKernel(broken).list('t', never).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(NftablesError);
    expect(error).toMatchObject({ code: 'unknown', cause: expect.any(SyntaxError) });
  });

  it('run() tells the outcome, without what was printed', async () => {
    expect(await kernel.run('add table inet t', never)).toEqual({ outcome: 'ok' });
    expect(await refusing.run('add table inet t', never)).toEqual(refused('EBUSY'));
  });

  it('generation() is what is told beside the library, if anything', () => {
    const told = new LibraryNftablesKernel(library({ outcome: 'ok', output: '' }), () => 7);
    expect([told.generation(), kernel.generation()]).toEqual([7, undefined]);
  });

  it('both stop at an aborted signal', async () => {
    await expect(kernel.list('t', aborted)).rejects.toThrow('stopped');
    await expect(kernel.run('add table inet t', aborted)).rejects.toThrow('stopped');
  });
});
