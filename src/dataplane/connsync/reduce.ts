import { unreachable } from '../../model/brand.ts';
import type { SyncOp } from './ops.ts';
import type { SyncRows } from './rows.ts';

/** The rows after `ops` are done, in order. */
export function reduce(rows: SyncRows, ops: readonly SyncOp[]): SyncRows {
  const after = new Map(rows);
  for (const op of ops) {
    switch (op.op) {
      case 'addSyncDaemon': {
        const { role, interface: link, id } = op;
        after.set(role, { role, interface: link, id, owner: 'svcplane', isCutOff: false });
        break;
      }
      case 'deleteSyncDaemon':
        after.delete(op.role);
        break;
      default:
        unreachable(op);
    }
  }
  return after;
}
