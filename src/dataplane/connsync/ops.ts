import * as v from 'valibot';
import type { OpOf } from '../dataplane.ts';
import type { SyncRole } from '../ledger.ts';
import { operationReader } from '../operation-reader.ts';
import { describe, type SyncDaemon, type SyncDaemonRow } from './rows.ts';

/** Every change this dataplane makes, by name, with its arguments. */
export interface SyncOps {
  addSyncDaemon: SyncDaemon;
  deleteSyncDaemon: { readonly role: SyncRole };
}

export type SyncOp = OpOf<SyncOps>;

export function addSyncDaemon(daemon: SyncDaemon): SyncOp {
  const { role, interface: link, id } = daemon;
  const shown = { subject: subjectOf(daemon), detail: describe(daemon), reason: 'connectionSync' };
  return { op: 'addSyncDaemon', ...shown, role, interface: link, id };
}

export function deleteSyncDaemon(row: SyncDaemonRow, reason: string): SyncOp {
  const shown = { subject: subjectOf(row), detail: describe(row), reason };
  return { op: 'deleteSyncDaemon', ...shown, role: row.role };
}

/** `connection synchronisation, master` */
export function subjectOf({ role }: { readonly role: SyncRole }): string {
  return `connection synchronisation, ${role}`;
}

const shown = { subject: v.string(), detail: v.string(), reason: v.string() };
const role = v.picklist(['master', 'backup']);
const id = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(255));

const SCHEMAS = {
  addSyncDaemon: v.object({ op: v.literal('addSyncDaemon'), ...shown, role, interface: v.string(), id }),
  deleteSyncDaemon: v.object({ op: v.literal('deleteSyncDaemon'), ...shown, role }),
} satisfies { [Name in keyof SyncOps]: unknown };

/** See {@link operationReader}. */
export const parseOp: (value: unknown) => SyncOp | undefined = operationReader(SCHEMAS);
