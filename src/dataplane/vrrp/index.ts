import type { Announcement } from '../../model/announcement.ts';
import type { DesiredState } from '../../model/desired-state.ts';
import type { Dataplane } from '../dataplane.ts';
import { announcementsOf } from './announcements.ts';
import { apply } from './apply.ts';
import type { Keepalived } from './kernel.ts';
import { observe } from './observe.ts';
import { parseOp, type VrrpOp } from './ops.ts';
import { plan, teardown } from './plan.ts';
import { announcedIn, project, type VrrpOptions } from './project.ts';
import { reduce } from './reduce.ts';
import { retainAddresses } from './retain.ts';
import { canonical, type VrrpRows } from './rows.ts';

export interface VrrpDataplane extends Dataplane<VrrpRows, VrrpOp> {
  /** Who answers for what, as far as keepalived has said. */
  announcements(desired: DesiredState): readonly Announcement[];
  /** Ends keepalived in order: others are told, and take over at once. Its files stay. @throws Error if it does not end */
  stop(): Promise<void>;
}

/** What makes one node answer for the addresses of load balancers, and another one when it dies: VRRP by keepalived. */
export function vrrpDataplane(keepalived: Keepalived, options: VrrpOptions): VrrpDataplane {
  return {
    announcements: (desired) => announcementsOf(desired, options, keepalived.states()),
    stop: () => keepalived.stop(),
    name: 'vrrp',
    project: (desired) => project(desired, options),
    observe: (signal) => observe(keepalived, signal),
    plan,
    teardown,
    apply: (ops, signal) => apply(keepalived, ops, signal),
    reduce,
    canonical,
    // The directory is ours, and a keepalived of others is not looked at.
    foreign: () => [],
    parseOp,
    retainAddresses,
    holdUnwanted: (observed, wanted, { frontends }) =>
      retainAddresses(observed, wanted, new Set(frontends.map(({ address }) => address))),
    scoped: {
      needs: ({ key, ...server }, desired) => {
        const alone = { ...desired, virtualServers: new Map([[key, { key, ...server }]]) };
        return announcedIn(alone, options).size > 0 ? ['keepalived'] : [];
      },
      // A group of which some Services are looked at is not to be told from them: but that they change nothing in it.
      observe: async ({ before, wanted }) => (canonical(before) === canonical(wanted) ? wanted : null),
    },
  };
}
