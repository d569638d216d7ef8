import type { SocklbOp } from './ops.ts';
import { BPFFS } from './place.ts';

/** One line on why `op` was refused: action, subject, code and, where known, the way out. */
export function refusalMessage(op: SocklbOp, code: string): string {
  const hint = hintFor(op, code);
  return `Cannot ${verbOf(op)} ${op.subject}: ${code}${hint === '' ? '' : `: ${hint}`}`;
}

function verbOf({ op }: SocklbOp): string {
  return /^[a-z]+/.exec(op)?.[0] ?? op;
}

function hintFor({ op }: SocklbOp, code: string): string {
  if (code === 'E2BIG' && op !== 'addSocketPrograms') {
    return 'its map is full; IPVS serves it, and the next sync tries again when what remains is gone';
  }
  const hint = hintOf(code);
  if (hint !== '') return hint;
  if (op === 'endSockets') {
    return code === 'EPERM'
      ? 'run as root or with CAP_NET_ADMIN and CAP_SYS_ADMIN'
      : 'sockets stay connected to an endpoint that is gone; the next sync tries again';
  }
  if (code !== 'EPERM') return '';
  return op === 'addSocketPrograms'
    ? 'run as root or with CAP_BPF and CAP_NET_ADMIN; or somebody else has programs on this cgroup that stand alone'
    : 'run as root or with CAP_BPF and CAP_NET_ADMIN';
}

/** The way out of what can happen to anything in a bpffs, and to whatever takes memory; "" for all else. */
export function hintOf(code: string): string {
  switch (code) {
    case 'ENOMEM':
      return 'the kernel has no memory for it, or the container may take no more; IPVS serves it';
    case 'EACCES':
      return `something forbids it at ${BPFFS}, as AppArmor or SELinux may: the log of the kernel tells`;
    case 'EROFS':
      return `the bpffs at ${BPFFS} is read-only: mount it so that it can be written`;
    case 'EEXIST':
    case 'ENOTDIR':
      return 'run svcplane cleanup, which takes away what is in its place';
    default:
      return '';
  }
}
