import { readFileSync } from 'node:fs';

/** What a process and its children asked of the kernel, as counted by strace from outside. */
export interface Syscalls {
  /** Datagrams with changes of the IPVS table. */
  readonly ipvsWrites: number;
  /** Datagrams with changes of links, addresses and routes. */
  readonly linkWrites: number;
  /** Programs started, svcplane's own process not counted. */
  readonly programs: readonly string[];
}

/** The command that traces the one behind it into `file`. */
export function straceTo(file: string): readonly string[] {
  // Raw numbers, for strace can't name message types where it can't find out a socket's protocol.
  const trace = ['-e', 'trace=sendto,sendmsg,sendmmsg,execve', '-e', 'signal=none', '-X', 'raw'];
  return ['strace', '-f', '-qq', '--seccomp-bpf', ...trace, '-o', file];
}

// include/uapi/linux/netlink.h, genetlink.h
const GENL_ID_CTRL = 0x10;
const NLM_F_DUMP = 0x300;
// include/uapi/linux/netfilter/nfnetlink.h: the subsystem is the upper byte, and generic families have none.
const NETFILTER_TYPES = 0x100;

/** Reads what {@link straceTo} wrote. svcplane speaks to IPVS by `sendto`, as libnftables asks
 * the kernel; the library for links uses `sendmsg`. */
export function readSyscalls(file: string): Syscalls {
  const lines = readFileSync(file, 'utf8').split('\n');
  const started = lines.filter((line) => / execve\(.* = 0$/.test(line));
  // The last program of the start-up scripts is node itself.
  const node = started.findIndex((line) => /execve\("[^"]*\/node"/.test(line));
  return {
    ipvsWrites: lines.filter((line) => {
      const header = headerOf(line, 'sendto');
      if (!header || header.type >= NETFILTER_TYPES) return false;
      return header.type !== GENL_ID_CTRL && (header.flags & NLM_F_DUMP) === 0;
    }).length,
    linkWrites: lines.filter((line) => {
      const header = headerOf(line, 'sendmsg');
      // Of each four message types of rtnetlink the third is a question.
      return header && header.type % 4 !== 2;
    }).length,
    programs: started.slice(node + 1),
  };
}

function headerOf(line: string, syscall: string): { type: number; flags: number } | undefined {
  if (!line.includes(` ${syscall}(`)) return undefined;
  const [, type, flags] = /nlmsg_type=(\w+).*?, nlmsg_flags=(\w+)/.exec(line) ?? [];
  return type === undefined ? undefined : { type: Number(type), flags: Number(flags) };
}
