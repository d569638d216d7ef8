import { readFileSync } from 'node:fs';

/** The command that traces the one behind it, and all that it starts, into `file`. */
export function straceTo(file: string): readonly string[] {
  const trace = ['-e', 'trace=sendto,sendmsg,sendmmsg', '-e', 'signal=none'];
  return ['strace', '-f', '-qq', '--seccomp-bpf', ...trace, '-o', file];
}

/** Datagrams sent to the kernel over netlink. @param file of {@link straceTo} */
export function countDatagrams(file: string): number {
  // strace decodes a message so only where it goes to a netlink socket.
  return readFileSync(file, 'latin1').match(/\bnlmsg_len=.*$/gm)?.length ?? 0;
}
