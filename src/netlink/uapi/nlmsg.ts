/** Constants of include/uapi/linux/netlink.h and net/netlink, read from Linux 6.1. */

/** `sizeof(struct nlmsghdr)`. */
export const NLMSG_HDRLEN = 16;

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
/** The table changed while it was dumped: what was read is no snapshot. */
export const NLM_F_DUMP_INTR = 0x10;
/** NLM_F_ROOT | NLM_F_MATCH. */
export const NLM_F_DUMP = 0x300;
/** On NLMSG_ERROR: the refused message is not echoed beyond its header. */
export const NLM_F_CAPPED = 0x100;
/** On NLMSG_ERROR: extended acknowledgement attributes follow. */
export const NLM_F_ACK_TLVS = 0x200;

/** enum nlmsgerr_attrs. */
export const NLMSGERR_ATTR_MSG = 1;
export const NLMSGERR_ATTR_OFFS = 2;
