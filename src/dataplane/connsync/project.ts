import type { Projection } from '../dataplane.ts';
import { SYNC_ROLES } from '../ledger.ts';
import { NO_ROWS, type SyncRows } from './rows.ts';

export interface SyncOptions {
  readonly mode: 'off' | 'on';
  readonly interface: string;
  /** Nodes with one id share connections. */
  readonly id: number;
}

/**
 * Both daemons, whatever Services there are: what they have to tell is the kernel's to know. Masters send what this node
 * handles, backups take what others do, and a node is both, for it holds some addresses only.
 */
export function project({ mode, interface: link, id }: SyncOptions): Projection<SyncRows> {
  if (mode === 'off') return { rows: NO_ROWS, refused: [] };
  const daemon = { interface: link, id, owner: 'svcplane', isCutOff: false } as const;
  return { rows: new Map(SYNC_ROLES.map((role) => [role, { role, ...daemon }])), refused: [] };
}
