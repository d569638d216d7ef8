import type { Snapshot } from '../../snapshot/snapshot.ts';
import { type SyncRows, sortedRows } from './rows.ts';

/** What of a snapshot this dataplane has. */
export type SyncOfSnapshot = Pick<Snapshot, 'connectionSync'>;

/** @param kind an observed snapshot has owners, a desired one has not */
export function toSnapshot(rows: SyncRows, kind: 'desired' | 'observed'): SyncOfSnapshot {
  if (rows.size === 0) return {};
  return {
    connectionSync: sortedRows(rows).map(({ owner, isCutOff, ...daemon }) => ({
      ...daemon,
      ...(kind === 'observed' && { owner }),
      ...(isCutOff && { isCutOff }),
    })),
  };
}

/** The rows that a snapshot records. */
export function fromSnapshot({ connectionSync = [] }: SyncOfSnapshot): SyncRows {
  return new Map(
    connectionSync.map(
      ({ owner = 'svcplane', isCutOff = false, ...daemon }) =>
        [daemon.role, { ...daemon, owner, isCutOff }] as const,
    ),
  );
}
