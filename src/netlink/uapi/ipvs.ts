import type { Schema } from '../attributes.ts';

/** Constants of include/uapi/linux/ip_vs.h and include/uapi/linux/in.h, read from Linux 6.1. */

export const IPVS_GENL_NAME = 'IPVS';
export const IPVS_GENL_VERSION = 1;

/** IPVS_CMD_*. */
export const IPVS_COMMAND = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
  newDaemon: 9,
  deleteDaemon: 10,
  getDaemon: 11,
  setConfig: 12,
  getConfig: 13,
  setInfo: 14,
  getInfo: 15,
  zero: 16,
  flush: 17,
} as const;

/** IP_VS_SVC_F_*. What the scheduler flags mean depends on the scheduler: fallback and port for `sh` and `mh`. */
export const SERVICE_FLAG = {
  persistent: 0x01,
  hashed: 0x02,
  onePacket: 0x04,
  scheduler1: 0x08,
  scheduler2: 0x10,
  scheduler3: 0x20,
} as const;

/** IP_VS_CONN_F_*, the forwarding methods. */
export const FORWARDING_METHOD = { masquerade: 0, local: 1, tunnel: 2, directRoute: 3, bypass: 4 } as const;

/** IP_VS_CONN_F_TUNNEL_TYPE_*. */
export const TUNNEL_TYPE = { ipip: 0, gue: 1, gre: 2 } as const;

/** IP_VS_TUNNEL_ENCAP_FLAG_*. */
export const TUNNEL_FLAG = { noChecksum: 0, checksum: 1, remoteChecksum: 2 } as const;

/** IPVS_STATS_ATTR_* in the 64-bit form. Rates are per second, an exponential average. */
const statistics64Schema = {
  connections: { type: 1, kind: 'u64' },
  inPackets: { type: 2, kind: 'u64' },
  outPackets: { type: 3, kind: 'u64' },
  inBytes: { type: 4, kind: 'u64' },
  outBytes: { type: 5, kind: 'u64' },
  connectionsPerSecond: { type: 6, kind: 'u64' },
  inPacketsPerSecond: { type: 7, kind: 'u64' },
  outPacketsPerSecond: { type: 8, kind: 'u64' },
  inBytesPerSecond: { type: 9, kind: 'u64' },
  outBytesPerSecond: { type: 10, kind: 'u64' },
} as const satisfies Schema;

/** IPVS_SVC_ATTR_* without statistics, in the order in which `ipvsadm` writes them. */
export const serviceSchema = {
  family: { type: 1, kind: 'u16' },
  fwmark: { type: 5, kind: 'u32' },
  protocol: { type: 2, kind: 'u16' },
  address: { type: 3, kind: 'address16' },
  port: { type: 4, kind: 'be16' },
  scheduler: { type: 6, kind: 'string' },
  persistenceEngine: { type: 11, kind: 'string' },
  flags: { type: 7, kind: 'flagsWithMask' },
  timeoutSeconds: { type: 8, kind: 'u32' },
  netmask: { type: 9, kind: 'u32' },
} as const satisfies Schema;

/** IPVS_DEST_ATTR_* without statistics, in the order in which `ipvsadm` writes them. */
export const destinationSchema = {
  family: { type: 11, kind: 'u16' },
  address: { type: 1, kind: 'address16' },
  port: { type: 2, kind: 'be16' },
  forwardingMethod: { type: 3, kind: 'u32' },
  weight: { type: 4, kind: 'u32' },
  tunnelType: { type: 13, kind: 'u8' },
  tunnelPort: { type: 14, kind: 'be16' },
  tunnelFlags: { type: 15, kind: 'u16' },
  upperThreshold: { type: 5, kind: 'u32' },
  lowerThreshold: { type: 6, kind: 'u32' },
  activeConnections: { type: 7, kind: 'u32' },
  inactiveConnections: { type: 8, kind: 'u32' },
  persistentConnections: { type: 9, kind: 'u32' },
} as const satisfies Schema;

/** IPVS_CMD_ATTR_*: what requests carry, and what replies to dumps are read with when statistics are not wanted. */
export const ipvsSchema = {
  service: { type: 1, kind: 'nested', schema: serviceSchema },
  destination: { type: 2, kind: 'nested', schema: destinationSchema },
  tcpTimeoutSeconds: { type: 4, kind: 'u32' },
  tcpFinTimeoutSeconds: { type: 5, kind: 'u32' },
  udpTimeoutSeconds: { type: 6, kind: 'u32' },
} as const satisfies Schema;

/** As `ipvsSchema`, with IPVS_SVC_ATTR_STATS64 and IPVS_DEST_ATTR_STATS64: twice the decoding work of a dump. */
export const ipvsStatisticsSchema = {
  ...ipvsSchema,
  service: {
    type: 1,
    kind: 'nested',
    schema: { ...serviceSchema, statistics: { type: 12, kind: 'nested', schema: statistics64Schema } },
  },
  destination: {
    type: 2,
    kind: 'nested',
    schema: { ...destinationSchema, statistics: { type: 12, kind: 'nested', schema: statistics64Schema } },
  },
} as const satisfies Schema;

/** IP_VS_STATE_*: whether a daemon sends connections or receives them. */
export const DAEMON_STATE = { master: 1, backup: 2 } as const;

/** IPVS_DAEMON_ATTR_*, but for those that have a default and no key of ours. */
const daemonSchema = {
  state: { type: 1, kind: 'u32' },
  interface: { type: 2, kind: 'string' },
  id: { type: 3, kind: 'u32' },
} as const satisfies Schema;

/** IPVS_CMD_ATTR_DAEMON, both ways. */
export const ipvsDaemonSchema = {
  daemon: { type: 3, kind: 'nested', schema: daemonSchema },
} as const satisfies Schema;

/** IPVS_INFO_ATTR_*, the reply to `getInfo`. */
export const ipvsInfoSchema = {
  version: { type: 1, kind: 'u32' },
  connectionTableSize: { type: 2, kind: 'u32' },
} as const satisfies Schema;
