import type { Dataplane } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import { apply } from './apply.ts';
import type { LinkKernel } from './kernel.ts';
import { observe } from './observe.ts';
import { type AddressOp, parseOp } from './ops.ts';
import { holdUnwantedAddresses, plan, retainAddresses, teardown } from './plan.ts';
import { type AddressesOptions, project } from './project.ts';
import { reduce } from './reduce.ts';
import { type AddressRows, canonical, foreign } from './rows.ts';

/** What makes Service addresses local: a dummy link with an address each, or with a route per range. */
export function addressesDataplane(
  kernel: LinkKernel,
  ledger: LedgerAccess,
  options: AddressesOptions,
): Dataplane<AddressRows, AddressOp> {
  return {
    name: 'addresses',
    project: (desired) => project(desired, options),
    observe: (signal) => observe(kernel, ledger.read(), options.interface, signal),
    plan,
    teardown,
    apply: (ops, signal) => apply(kernel, ledger, ops, signal),
    reduce,
    canonical,
    foreign,
    parseOp,
    retainAddresses,
    holdUnwanted: holdUnwantedAddresses,
  };
}
