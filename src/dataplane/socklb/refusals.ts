import type { SocklbOp } from './ops.ts';

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
  if (code === 'ENOMEM') return 'the kernel has no memory for it; IPVS serves it';
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
