import type { Dataplane } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import { apply } from './apply.ts';
import type { LinkKernel } from './kernel.ts';
import { observe } from './observe.ts';
import { type AddressOp, parseOp } from './ops.ts';
import { holdUnwantedAddresses, plan, retainAddresses, teardown } from './plan.ts';
import { type AddressesOptions, project, projecting } from './project.ts';
import { reduce } from './reduce.ts';
import { type AddressRows, canonical, emptyRows, foreign } from './rows.ts';
import { believedRows, foreignRows, withoutOurs } from './scoped.ts';

/** What makes Service addresses local: a dummy link with an address each, or with a route per range. */
export function addressesDataplane(
  kernel: LinkKernel,
  ledger: LedgerAccess,
  options: AddressesOptions,
): Dataplane<AddressRows, AddressOp> {
  let others = foreignRows(emptyRows(options.interface));
  return {
    name: 'addresses',
    project: (desired) => project(desired, options),
    projecting: (desired) => projecting(desired, options),
    observe: async (signal) => {
      const rows = await observe(kernel, ledger.read(), options.interface, signal, options.announcingLink);
      others = foreignRows(rows);
      return rows;
    },
    plan,
    teardown,
    apply: async (ops, signal) => {
      const report = await apply(kernel, ledger, ops, signal);
      others = withoutOurs(others, report.acknowledged);
      return report;
    },
    reduce,
    canonical,
    foreign,
    parseOp,
    retainAddresses,
    holdUnwanted: holdUnwantedAddresses,
    scoped: {
      needs: (server, desired) => {
        const alone = { ...desired, virtualServers: new Map([[server.key, server]]) };
        return project(alone, options).rows.link.exists ? ['addresses link'] : [];
      },
      // Whenever somebody else changes an address there is a notice, and everything is looked at.
      observe: async (change) => believedRows(change, others),
      localAddresses: ({ addresses }) => addresses.keys(),
    },
  };
}
