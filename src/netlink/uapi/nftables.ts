import type { Schema } from '../attributes.ts';

/** Constants of include/uapi/linux/netfilter/nfnetlink.h and nf_tables.h, read from Linux 6.1. */

const NFNL_SUBSYS_NFTABLES = 10;

/** `nlmsg_type` of NFT_MSG_*: the subsystem in the upper byte. */
export const NFTABLES_MESSAGE = {
  newGeneration: (NFNL_SUBSYS_NFTABLES << 8) | 15,
  getGeneration: (NFNL_SUBSYS_NFTABLES << 8) | 16,
} as const;

/** enum nft_gen_attributes, without whose process made it. */
export const generationSchema = {
  id: { type: 1, kind: 'be32' },
} as const satisfies Schema;
