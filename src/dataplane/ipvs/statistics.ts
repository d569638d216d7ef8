import {
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { GenlClient } from '../../netlink/client.ts';
import { getServices } from '../../netlink/ipvs-messages.ts';
import { decodeServiceStatistics } from '../../netlink/ipvs-statistics.ts';
import { NetlinkRequestError } from '../../netlink/results.ts';
import { decodeIdentity } from './wire.ts';

/** What has gone through a virtual server since it was made; as numbers, exact up to 2^53. */
export interface VirtualServerTraffic {
  readonly key: VirtualServerKey;
  readonly identity: VirtualServerIdentity;
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
}

/**
 * Reads the counters of every virtual server, foreign ones too: one dump, without the real servers.
 * @param client opened for the family "IPVS"
 * @throws NetlinkRequestError if refused (EPERM), or if the table would not stand still to be read
 */
export async function readTraffic(
  client: Pick<GenlClient, 'dump'>,
  signal: AbortSignal,
): Promise<readonly VirtualServerTraffic[]> {
  const result = await client.dump(getServices(), decodeServiceStatistics, signal);
  if (result.outcome !== 'ok') {
    const refusal = result.outcome === 'refused' ? result : undefined;
    throw new NetlinkRequestError('read the counters of IPVS', refusal);
  }
  return result.rows.flatMap(({ identity: onWire, statistics }) => {
    const identity = decodeIdentity(onWire);
    // Nothing that svcplane makes can be on a protocol that it has no name for.
    if (identity === undefined) return [];
    return {
      key: virtualServerKey(identity),
      identity,
      connections: Number(statistics.connections),
      inPackets: Number(statistics.inPackets),
      outPackets: Number(statistics.outPackets),
      inBytes: Number(statistics.inBytes),
      outBytes: Number(statistics.outBytes),
    };
  });
}
