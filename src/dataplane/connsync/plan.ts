import type { Rejected } from '../../model/rejected.ts';
import type { Plan } from '../dataplane.ts';
import { addSyncDaemon, deleteSyncDaemon, type SyncOp, subjectOf } from './ops.ts';
import { describe, equalConfig, NO_ROWS, type SyncDaemonRow, type SyncRows, sortedRows } from './rows.ts';

/** One that is to change its link or id ends first: the kernel has room for one of each role. */
export function plan(observed: SyncRows, wanted: SyncRows): Plan<SyncOp> {
  const make: SyncOp[] = [];
  const conflicts: Rejected[] = [];
  for (const want of sortedRows(wanted)) {
    const have = observed.get(want.role);
    if (have?.owner === 'foreign') conflicts.push(foreignConflict(have));
    else if (!have) make.push(addSyncDaemon(want));
    else if (!equalConfig(have, want))
      make.push(...replaced(have, want, `${describe(want)} is to be in its place`));
    else if (have.isCutOff && !want.isCutOff) make.push(...replaced(have, want, 'its link was replaced'));
  }
  const unwanted = sortedRows(observed).filter(
    ({ role, owner }) => owner === 'svcplane' && !wanted.has(role),
  );
  const ended = unwanted.toReversed().map((have) => deleteSyncDaemon(have, 'connectionSync is off'));
  return { make, break: ended, conflicts };
}

/** All that is ours. The connections that were received stay until they time out. */
export function teardown(observed: SyncRows): Plan<SyncOp> {
  return plan(observed, NO_ROWS);
}

function replaced(have: SyncDaemonRow, want: SyncDaemonRow, reason: string): readonly SyncOp[] {
  return [deleteSyncDaemon(have, reason), addSyncDaemon(want)];
}

function foreignConflict(have: SyncDaemonRow): Rejected {
  return {
    subject: subjectOf(have),
    reason: `somebody else has started one, on ${describe(have)}; left alone. Stop it, or set connectionSync to off`,
  };
}
