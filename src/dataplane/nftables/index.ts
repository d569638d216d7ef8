import { type Dataplane, lookAtAll } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import { applyNftables } from './apply.ts';
import type { NftablesKernel } from './kernel.ts';
import { observeNftables } from './observe.ts';
import type { NftablesOp } from './ops.ts';
import { parseNftablesOp } from './parse-op.ts';
import { planNftables, teardownNftables } from './plan.ts';
import { detectionOf, isServed, type NftablesOptions, project, projecting } from './project.ts';
import { reduceNftables } from './reduce.ts';
import { holdUnwantedElements, retainNftablesAddresses } from './retain.ts';
import { canonical, type NftablesRows } from './rows.ts';
import { Untouched } from './untouched.ts';

export interface NftablesResources {
  readonly kernel: NftablesKernel;
  /** Nothing is entered, for the table is ours by name; but what comes after it must be. */
  readonly ledger?: Pick<LedgerAccess, 'check'>;
}

/**
 * What IPVS does not do: masquerading, closed ports, source ranges, and marks for inside clients.
 * @throws RangeError if pods are to be told by a link that has no possible name
 */
export function createNftablesDataplane(
  { kernel, ledger }: NftablesResources,
  options: NftablesOptions,
): Dataplane<NftablesRows, NftablesOp> {
  detectionOf(options.detectLocal);
  const untouched = new Untouched(kernel);
  const whole: Parameters<typeof lookAtAll<NftablesRows, NftablesOp>>[0] = {
    project: (desired) => project(desired, options),
    projecting: (desired) => projecting(desired, options),
    observe: (signal) => observeNftables(kernel, options.table, signal),
    plan: planNftables,
  };
  return {
    name: 'nftables',
    isGate: true,
    ...whole,
    isAsWanted: async (desired, look) =>
      untouched.isSo() || untouched.look(async () => (await lookAtAll(whole, desired, look)).isAsWanted),
    teardown: (observed) => teardownNftables(observed),
    apply: async (ops, signal) => {
      if (ops.length > 0) ledger?.check();
      const isWhole = ops.some(({ op }) => op === 'addTable' || op === 'setTable');
      const run: NftablesKernel['run'] = (...asked) => untouched.write(isWhole, () => kernel.run(...asked));
      return applyNftables({ run }, ops, signal);
    },
    reduce: reduceNftables,
    canonical,
    // The table is ours by name, and nothing else is read.
    foreign: () => [],
    parseOp: parseNftablesOp,
    retainAddresses: retainNftablesAddresses,
    holdUnwanted: holdUnwantedElements,
    scoped: {
      needs: (server) => [
        ...(isServed(server, options) ? ['nftables table'] : []),
        ...(server.insideRealServers === null ? [] : ['nftables marks']),
      ],
      // Elements come and go with their Services, and somebody else's hand in them is found by an audit.
      observe: async ({ before }) => before,
    },
  };
}
