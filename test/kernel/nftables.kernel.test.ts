import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NftablesContext } from '../../native-bindings/nftables-library.ts';
import { LibraryNftablesKernel } from '../../src/dataplane/nftables/client.ts';
import { createNftablesDataplane } from '../../src/dataplane/nftables/index.ts';
import { canonical } from '../../src/dataplane/nftables/rows.ts';
import { desiredStates, nftablesOptions } from '../dataplane/nftables/arbitraries.ts';

const never = new AbortController().signal;

function whyNoNftables(): string | undefined {
  const { error, status, stderr } = spawnSync('nft', ['list', 'tables'], { encoding: 'utf8' });
  if (error) return `cannot run nft: ${error.message}`;
  return status === 0 ? undefined : `no nf_tables in this kernel or network namespace: ${stderr.trim()}`;
}

const skipReason = whyNoNftables();

describe(
  'nftables in the kernel',
  skipReason === undefined ? {} : { skip: true, meta: { skipReason } },
  () => {
    let context: NftablesContext;
    let kernel: LibraryNftablesKernel;

    beforeEach(() => {
      context = NftablesContext.open();
      kernel = new LibraryNftablesKernel(context);
    });

    afterEach(async () => {
      await context.run('add table inet svcplane; delete table inet svcplane');
      context[Symbol.dispose]();
    });

    it('apply() makes what any desired state means, from what any other one meant', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(desiredStates, nftablesOptions), { minLength: 1, maxLength: 3 }),
          async (states) => {
            for (const [desired, options] of states) {
              const dataplane = createNftablesDataplane({ kernel }, options);
              const wanted = dataplane.project(desired).rows;
              const { make, break: unmake } = dataplane.plan(await dataplane.observe(never), wanted);
              for (const ops of [make, unmake]) {
                expect(await dataplane.apply(ops, never)).toMatchObject({ refused: [], notAttempted: [] });
              }
              const after = await dataplane.observe(never);
              expect(canonical(after)).toBe(canonical(wanted));
              expect(dataplane.plan(after, wanted)).toEqual({ make: [], break: [], conflicts: [] });
            }
          },
        ),
        { numRuns: 30 },
      );
    });
  },
);
