/**
 * Loaded into svcplane before its own code (`node --import`): stops the process at one exact point of its work, named
 * by STOP_AT as `POINT:K`, K from 1. The signal is STOP_SIGNAL, by default SIGKILL, from which nothing can be cleaned
 * up. Exact where strace's injection is not, and as fast as without it.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { NetlinkSocket as LinkSocket } from 'netlink';
import { NetlinkSocket } from '../../native-bindings/netlink-socket.ts';

/** `ipvs`, `link`: before the K-th change goes to the kernel. `ledger`, `recorded`: before, after its K-th writing. */
export type StopPoint = `${'ipvs' | 'link' | 'sysctl' | 'ledger' | 'recorded'}:${number}`;

// include/uapi/linux/netlink.h, genetlink.h, netfilter/nf_tables.h: types of messages that only ask
const GENL_ID_CTRL = 0x10;
const NFT_MSG_GETGEN = 0xa10;
const QUESTIONS = [GENL_ID_CTRL, NFT_MSG_GETGEN];
const NLM_F_DUMP = 0x300;

const [point = '', occurrence = ''] = (process.env.STOP_AT ?? '').split(':');
let left = Number(occurrence);

function reach(reached: string): void {
  if (reached !== point) return;
  left -= 1;
  if (left === 0) process.kill(process.pid, process.env.STOP_SIGNAL ?? 'SIGKILL');
}

const { send } = NetlinkSocket.prototype;
NetlinkSocket.prototype.send = function (bytes) {
  const header = new DataView(bytes.buffer, bytes.byteOffset);
  const asks =
    QUESTIONS.includes(header.getUint16(4, true)) || (header.getUint16(6, true) & NLM_F_DUMP) !== 0;
  if (!asks) reach('ipvs');
  send.call(this, bytes);
};

const { request } = LinkSocket.prototype;
LinkSocket.prototype.request = function (type, ...rest) {
  // Of each four message types of rtnetlink the third is a question.
  if (type % 4 !== 2) reach('link');
  return request.call(this, type, ...rest);
};

const { renameSync, writeFileSync } = fs;
fs.renameSync = (from, to) => {
  reach('ledger');
  renameSync(from, to);
  reach('recorded');
};
fs.writeFileSync = (file, ...rest) => {
  if (String(file).startsWith('/proc/sys/')) reach('sysctl');
  writeFileSync(file, ...rest);
};
syncBuiltinESMExports();
