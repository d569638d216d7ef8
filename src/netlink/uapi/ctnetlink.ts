import type { Schema } from '../attributes.ts';

/**
 * Constants of include/uapi/linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h and nf_conntrack_common.h, and of
 * include/linux/netfilter.h, read from Linux 6.1. Not in any header for user space: the bits of a filter.
 */

/** `sizeof(struct nfgenmsg)`: family u8, version u8, resource id be16. */
export const NFGENMSG_BYTES = 4;
export const NFNETLINK_V0 = 0;
const NFNL_SUBSYS_CTNETLINK = 1;

/** `nlmsg_type` of IPCTNL_MSG_CT_*: the subsystem in the upper byte. */
export const CONNTRACK_MESSAGE = {
  new: NFNL_SUBSYS_CTNETLINK << 8,
  get: (NFNL_SUBSYS_CTNETLINK << 8) | 1,
  delete: (NFNL_SUBSYS_CTNETLINK << 8) | 2,
} as const;

/** enum ctattr_type: the ones that tell a flow, for who reads them from the bytes. */
export const CTA_TUPLE_ORIG = 1;
export const CTA_TUPLE_REPLY = 2;
export const CTA_ID = 12;
export const CTA_ZONE = 18;
/** enum ctattr_tuple. */
export const CTA_TUPLE_IP = 1;
export const CTA_TUPLE_PROTO = 2;
/** enum ctattr_ip: of IPv4; each of IPv6 is two more. */
export const CTA_IP_V4_SRC = 1;
export const CTA_IP_V4_DST = 2;
/** enum ctattr_l4proto. */
export const CTA_PROTO_NUM = 1;
export const CTA_PROTO_SRC_PORT = 2;
export const CTA_PROTO_DST_PORT = 3;

/** What of a tuple a filter compares. @see include/linux/netfilter/nf_internals.h CTA_FILTER_F_* */
export const FILTER_FLAG = { destination: 1 << 1, protocol: 1 << 3, destinationPort: 1 << 5 } as const;

/** One direction of a flow. Addresses in network byte order, 4 bytes of IPv4 or 16 of IPv6. */
export const tupleSchema = {
  ip: {
    type: CTA_TUPLE_IP,
    kind: 'nested',
    schema: {
      ipv4Source: { type: 1, kind: 'bytes' },
      ipv4Destination: { type: 2, kind: 'bytes' },
      ipv6Source: { type: 3, kind: 'bytes' },
      ipv6Destination: { type: 4, kind: 'bytes' },
    },
  },
  protocol: {
    type: CTA_TUPLE_PROTO,
    kind: 'nested',
    schema: {
      number: { type: CTA_PROTO_NUM, kind: 'u8' },
      sourcePort: { type: CTA_PROTO_SRC_PORT, kind: 'be16' },
      destinationPort: { type: CTA_PROTO_DST_PORT, kind: 'be16' },
    },
  },
  zone: { type: 3, kind: 'be16' },
} as const satisfies Schema;

/** enum ctattr_type, as far as flows are found, deleted and, in tests, made; in the order the kernel writes them. */
export const flowSchema = {
  original: { type: CTA_TUPLE_ORIG, kind: 'nested', schema: tupleSchema },
  reply: { type: CTA_TUPLE_REPLY, kind: 'nested', schema: tupleSchema },
  zone: { type: CTA_ZONE, kind: 'be16' },
  /** IPS_* bits. */
  status: { type: 3, kind: 'be32' },
  mark: { type: 8, kind: 'be32' },
  id: { type: CTA_ID, kind: 'be32' },
  use: { type: 11, kind: 'be32' },
  timeoutSeconds: { type: 7, kind: 'be32' },
  /** Since Linux 5.8: which parts of the tuples above a dump compares. Older kernels pass over it. */
  filter: {
    type: 25,
    kind: 'nested',
    schema: { original: { type: 1, kind: 'u32' }, reply: { type: 2, kind: 'u32' } },
  },
} as const satisfies Schema;
