import type { Schema } from '../attributes.ts';

/** Constants of include/uapi/linux/genetlink.h, read from Linux 6.1. */

/** The fixed id of the family "nlctrl", which knows the ids of the others. */
export const GENL_ID_CTRL = 0x10;
/** `sizeof(struct genlmsghdr)`. */
export const GENL_HDRLEN = 4;
export const CTRL_CMD_NEWFAMILY = 1;
export const CTRL_CMD_GETFAMILY = 3;
export const CTRL_VERSION = 2;

/** CTRL_ATTR_*, without the lists of operations and multicast groups. */
export const controlSchema = {
  familyId: { type: 1, kind: 'u16' },
  familyName: { type: 2, kind: 'string' },
  version: { type: 3, kind: 'u32' },
  headerBytes: { type: 4, kind: 'u32' },
  maxAttribute: { type: 5, kind: 'u32' },
} as const satisfies Schema;
