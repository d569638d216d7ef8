import { type LedgerSyncDaemon, SYNC_ROLES, type SyncRole } from '../ledger.ts';

/** A kernel thread of connection synchronisation; the kernel has at most one of each role. */
export interface SyncDaemon extends LedgerSyncDaemon {
  readonly role: SyncRole;
}

export interface SyncDaemonRow extends SyncDaemon {
  readonly owner: 'svcplane' | 'foreign';
}

/** The daemons of one network namespace, observed or wanted. */
export type SyncRows = ReadonlyMap<SyncRole, SyncDaemonRow>;

export const NO_ROWS: SyncRows = new Map();

/** Whether two daemons of one role do the same. */
export function equalConfig(a: LedgerSyncDaemon, b: LedgerSyncDaemon): boolean {
  return a.interface === b.interface && a.id === b.id;
}

/** In the order of SYNC_ROLES. */
export function sortedRows(rows: SyncRows): readonly SyncDaemonRow[] {
  return SYNC_ROLES.flatMap((role) => rows.get(role) ?? []);
}

/** Equal text, equal configuration. */
export function canonical(rows: SyncRows): string {
  return sortedRows(rows)
    .map((row) => `${row.role} ${describe(row)} ${row.owner}\n`)
    .join('');
}

/** `eth0 id 83` */
export function describe({ interface: link, id }: LedgerSyncDaemon): string {
  return `${link} id ${id}`;
}

/** `backup of connection synchronisation on eth0 id 83` */
export function foreignDaemons(rows: SyncRows): readonly string[] {
  return sortedRows(rows)
    .filter(({ owner }) => owner === 'foreign')
    .map((row) => `${row.role} of connection synchronisation on ${describe(row)}`);
}
