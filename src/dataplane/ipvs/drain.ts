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

/**
 * How long connections that are not established hold an unwanted real server: a client whose handshake is cut has been
 * told that it is connected. Long enough for one that loses two packets (they are sent again after 1 s and 2 s), for
 * those that close stay for two minutes.
 */
const HANDSHAKE_MS = 3000;

/** What becomes of an unwanted real server now. */
type Fate = 'drain' | 'wait' | 'delete';

/**
 * The operations for an unwanted real server of a virtual server that stays; none while it drains.
 * @param timeoutSeconds what its Service says; null for the configured default
 */
export function dropRealServer(
  row: VirtualServerRow,
  realServer: RealServerRow,
  timeoutSeconds: number | null,
  observedAtMs: number,
  options: DrainOptions,
  reason: string,
): IpvsOp[] {
  const fate = fateOf(row, realServer, timeoutSeconds, observedAtMs, options);
  switch (fate) {
    case 'drain': {
      const drain = { startedAtMs: observedAtMs, timeoutSeconds };
      return [drainRealServer(row, realServer, drain, reason)];
    }
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
    dropRealServer(row, realServer, timeoutOf(row), observedAtMs, options, reason),
  );
}

/** Whether an unwanted virtual server stays for now, because of its connections. */
export function mustDrain(row: VirtualServerRow, observedAtMs: number, options: DrainOptions): boolean {
  if (!options.drainDeletedServices) return false;
  for (const realServer of row.realServers.values()) {
    if (fateOf(row, realServer, timeoutOf(row), observedAtMs, options) !== 'delete') return true;
  }
  return false;
}

/** What the Service of a row says of its real servers' drains; null for the configured default. */
export function timeoutOf({ origin }: VirtualServerRow): number | null {
  return origin?.drainTimeoutSeconds ?? null;
}

function fateOf(
  row: VirtualServerRow,
  { activeConnections, inactiveConnections, config, drain }: RealServerRow,
  timeoutSeconds: number | null,
  observedAtMs: number,
  { drainTimeoutSeconds }: DrainOptions,
): Fate {
  // Only TCP says when a connection ends; a firewall mark of a frontend that is not known may carry it.
  if ((frontendOf(row)?.protocol ?? 'TCP') !== 'TCP') return 'delete';
  if (activeConnections === 0 && inactiveConnections === 0) return 'delete';
  if (config.weight !== 0 || drain === null) {
    return (timeoutSeconds ?? drainTimeoutSeconds) === 0 ? 'delete' : 'drain';
  }
  // A drain keeps the deadline it began with, whatever its Service says now.
  const timeoutMs = (drain.timeoutSeconds ?? drainTimeoutSeconds) * 1000;
  const lengthMs = activeConnections === 0 ? Math.min(HANDSHAKE_MS, timeoutMs) : timeoutMs;
  return observedAtMs - drain.startedAtMs < lengthMs ? 'wait' : 'delete';
}
