import type { Dataplane } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import { apply } from './apply.ts';
import type { SyncKernel } from './kernel.ts';
import { observe } from './observe.ts';
import { parseOp, type SyncOp } from './ops.ts';
import { plan, teardown } from './plan.ts';
import { project, type SyncOptions } from './project.ts';
import { reduce } from './reduce.ts';
import { canonical, foreignDaemons, type SyncRows } from './rows.ts';

/** What tells the IPVS of other nodes of the connections of this one, and this one of theirs. */
export function syncDataplane(
  kernel: SyncKernel,
  ledger: LedgerAccess,
  options: SyncOptions,
): Dataplane<SyncRows, SyncOp> {
  return {
    name: 'connsync',
    project: () => project(options),
    observe: (signal) => observe(kernel, ledger, signal),
    plan,
    teardown,
    apply: (ops, signal) => apply(kernel, ledger, ops, signal),
    reduce,
    canonical,
    foreign: foreignDaemons,
    parseOp,
    // No Service asks for anything here.
    scoped: { needs: () => [], observe: async ({ wanted }) => wanted },
  };
}
