import { attributeCodec, type Schema } from './attributes.ts';
import { decodeGenlAttributes } from './genl.ts';
import { decodeService, type ServiceIdentity } from './ipvs-messages.ts';
import type { NetlinkMessage } from './message.ts';

/** What has gone through a virtual service since it was made. @see struct ip_vs_kstats */
export interface ServiceStatistics {
  readonly connections: bigint;
  readonly inPackets: bigint;
  readonly outPackets: bigint;
  readonly inBytes: bigint;
  readonly outBytes: bigint;
}

/**
 * IPVS_STATS_ATTR_* without the rates, of IPVS_SVC_ATTR_STATS: three counters have 32 bits and wrap. Read from Linux 6.1.
 * @see include/uapi/linux/ip_vs.h
 */
const statisticsSchema = {
  connections: { type: 1, kind: 'u32' },
  inPackets: { type: 2, kind: 'u32' },
  outPackets: { type: 3, kind: 'u32' },
  inBytes: { type: 4, kind: 'u64' },
  outBytes: { type: 5, kind: 'u64' },
} as const satisfies Schema;

/** The same of IPVS_SVC_ATTR_STATS64, which kernels have from 4.1 on. */
const statistics64Schema = {
  ...statisticsSchema,
  connections: { type: 1, kind: 'u64' },
  inPackets: { type: 2, kind: 'u64' },
  outPackets: { type: 3, kind: 'u64' },
} as const satisfies Schema;

const codec = attributeCodec({
  service: {
    type: 1,
    kind: 'nested',
    schema: {
      statistics: { type: 10, kind: 'nested', schema: statisticsSchema },
      statistics64: { type: 12, kind: 'nested', schema: statistics64Schema },
    },
  },
});

/** Reads a row of `getServices` for its counters. @throws NetlinkDecodeError */
export function decodeServiceStatistics(message: NetlinkMessage): {
  readonly identity: ServiceIdentity;
  readonly statistics: ServiceStatistics;
} {
  const { service } = decodeGenlAttributes(message, codec);
  const counters = service?.statistics64 ?? service?.statistics;
  return {
    identity: decodeService(message),
    statistics: {
      connections: BigInt(counters?.connections ?? 0),
      inPackets: BigInt(counters?.inPackets ?? 0),
      outPackets: BigInt(counters?.outPackets ?? 0),
      inBytes: counters?.inBytes ?? 0n,
      outBytes: counters?.outBytes ?? 0n,
    },
  };
}
