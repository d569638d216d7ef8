import { SYNC_ROLES, type SyncRole } from '../ledger.ts';

/** A kernel thread of connection synchronisation; the kernel has at most one of each role. */
export interface SyncDaemon {
  readonly role: SyncRole;
  readonly interface: string;
  readonly id: number;
}

export interface SyncDaemonRow extends SyncDaemon {
  readonly owner: 'svcplane' | 'foreign';
  /** The link it was started on is gone, whatever has its name now: it goes on, and reaches nobody. */
  readonly isCutOff: boolean;
}

/** The daemons of one network namespace, observed or wanted. */
export type SyncRows = ReadonlyMap<SyncRole, SyncDaemonRow>;

export const NO_ROWS: SyncRows = new Map();

type SyncConfig = Omit<SyncDaemon, 'role'>;

/** Whether two daemons of one role are to do the same. */
export function equalConfig(a: SyncConfig, b: SyncConfig): boolean {
  return a.interface === b.interface && a.id === b.id;
}

/** In the order of SYNC_ROLES. */
export function sortedRows(rows: SyncRows): readonly SyncDaemonRow[] {
  return SYNC_ROLES.flatMap((role) => rows.get(role) ?? []);
}

/** Equal text, equal configuration. */
export function canonical(rows: SyncRows): string {
  return sortedRows(rows)
    .map((row) => `${row.role} ${describe(row)} ${row.owner}${row.isCutOff ? ' cut off' : ''}\n`)
    .join('');
}

/** `eth0 id 83` */
export function describe({ interface: link, id }: SyncConfig): string {
  return `${link} id ${id}`;
}

/** `backup of connection synchronisation on eth0 id 83` */
export function foreignDaemons(rows: SyncRows): readonly string[] {
  return sortedRows(rows)
    .filter(({ owner }) => owner === 'foreign')
    .map((row) => `${row.role} of connection synchronisation on ${describe(row)}`);
}
