import { keyOf, modeOf, type SocklbRows, sortedBackends } from '../dataplane/socklb/rows.ts';
import { type RealServerKey, realServerKey, type VirtualServerKey } from '../model/virtual-server.ts';
import type { Connection } from './trace.ts';

/** What becomes of a socket of this node that connects, before any packet is sent. */
export interface SocketTrace {
  /** balanced: it is connected to one of the candidates. refused: at once. passed: it is left alone. */
  readonly verdict: 'balanced' | 'refused' | 'passed';
  /** The frontend that it met; null if none. */
  readonly frontend: VirtualServerKey | null;
  /** By address, then port. */
  readonly candidates: readonly RealServerKey[];
}

const PASSED: SocketTrace = { verdict: 'passed', frontend: null, candidates: [] };

/**
 * Follows a socket through the programs, from wanted rows. A connection from outside the node has no socket here.
 * @param isPod whether its network namespace is another than the node's
 */
export function traceSocket(
  rows: SocklbRows,
  { destination, port, protocol }: Pick<Connection, 'destination' | 'port' | 'protocol'>,
  isPod: boolean,
): SocketTrace {
  const row =
    protocol === 'SCTP' ? undefined : rows.services.get(keyOf({ address: destination, port, protocol }));
  const mode = modeOf(rows.config.flags);
  const isAsked = rows.programs === 'attached' && (mode === 'on' || (mode === 'hostOnly' && !isPod));
  if (!row || !isAsked) return PASSED;
  const candidates = sortedBackends(row.backends)
    .filter(({ weight }) => weight > 0)
    .map(realServerKey);
  return { verdict: candidates.length > 0 ? 'balanced' : 'refused', frontend: row.key, candidates };
}
