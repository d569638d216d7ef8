import { unreachable } from '../../model/brand.ts';
import { deleteRealServer, deleteVirtualServer, drainRealServer, type IpvsOp } from './ops.ts';
import { frontendOf, type RealServerRow, sortedRealServers, type VirtualServerRow } from './rows.ts';

/** When connections are waited for, and how long. */
export interface DrainOptions {
  /** How long a draining real server may keep its connections. */
  readonly drainTimeoutSeconds: number;
  /** Whether a deleted virtual server waits for its connections, too. */
  readonly drainDeletedServices: boolean;
}

/** What becomes of an unwanted real server now. */
type Fate = 'drain' | 'wait' | 'delete';

/** The operations for an unwanted real server of a virtual server that stays; none while it drains. */
export function dropRealServer(
  row: VirtualServerRow,
  realServer: RealServerRow,
  observedAtMs: number,
  { drainTimeoutSeconds }: DrainOptions,
  reason: string,
): IpvsOp[] {
  const fate = fateOf(row, realServer, observedAtMs, drainTimeoutSeconds);
  switch (fate) {
    case 'drain':
      return [drainRealServer(row, realServer, observedAtMs, reason)];
    case 'delete':
      return [deleteRealServer(row, realServer, reason)];
    case 'wait':
      return [];
    default:
      return unreachable(fate);
  }
}

/** The operations for an unwanted virtual server: one, as soon as no connection is worth waiting for. */
export function dropVirtualServer(
  row: VirtualServerRow,
  observedAtMs: number,
  options: DrainOptions,
): IpvsOp[] {
  const reason = `no longer a frontend of ${row.reason}`;
  if (!mustDrain(row, observedAtMs, options)) return [deleteVirtualServer(row, reason)];
  // Those without connections go now, or they would be given new ones while the others drain.
  return sortedRealServers(row).flatMap((realServer) =>
    dropRealServer(row, realServer, observedAtMs, options, reason),
  );
}

/** Whether an unwanted virtual server stays for now, because of its connections. */
export function mustDrain(row: VirtualServerRow, observedAtMs: number, options: DrainOptions): boolean {
  if (!options.drainDeletedServices) return false;
  for (const realServer of row.realServers.values()) {
    if (fateOf(row, realServer, observedAtMs, options.drainTimeoutSeconds) !== 'delete') return true;
  }
  return false;
}

function fateOf(
  row: VirtualServerRow,
  realServer: RealServerRow,
  observedAtMs: number,
  drainTimeoutSeconds: number,
): Fate {
  // Only TCP says when a connection ends; a firewall mark of a frontend that is not known may carry it.
  if ((frontendOf(row)?.protocol ?? 'TCP') !== 'TCP') return 'delete';
  if (realServer.activeConnections === 0) return 'delete';
  if (realServer.config.weight !== 0 || realServer.drainStartedAtMs === null) return 'drain';
  return observedAtMs - realServer.drainStartedAtMs >= drainTimeoutSeconds * 1000 ? 'delete' : 'wait';
}
