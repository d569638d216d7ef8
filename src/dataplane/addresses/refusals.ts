import { familyOf } from '../../model/address.ts';
import type { AddressOp } from './ops.ts';

/** Answers that leave the kernel as the operation wanted it. */
const DONE_ALREADY: { readonly [Name in AddressOp['op']]?: readonly string[] } = {
  // The kernel says so only of this very link: another link may have the same address.
  addAddress: ['EEXIST'],
  deleteAddress: ['EADDRNOTAVAIL', 'ENODEV'],
  deleteRoute: ['ESRCH', 'ENODEV'],
  deleteLink: ['ENODEV'],
};

/** Whether a refusal means that the kernel is already as it should be. */
export function isDoneAlready(op: AddressOp, code: string): boolean {
  return DONE_ALREADY[op.op]?.includes(code) ?? false;
}

/** Whether a refusal would meet all operations behind it too: then they are not attempted. */
export function stopsTheRest(op: AddressOp, code: string): boolean {
  return op.op === 'addLink' || code === 'EPERM';
}

/** One line: action, subject, code, and the way out where there is one. */
export function refusalMessage(op: AddressOp, code: string): string {
  const fix = fixFor(op, code);
  return `Cannot ${actionOf(op)}: ${code}${fix === undefined ? '' : `: ${fix}`}`;
}

function actionOf(op: AddressOp): string {
  const verb = /^[a-z]+/.exec(op.op)?.[0] ?? op.op;
  switch (op.op) {
    case 'addAddress':
    case 'addRoute':
      return `${verb} ${op.subject} to ${op.link}`;
    case 'deleteAddress':
    case 'deleteRoute':
      return `${verb} ${op.subject} from ${op.link}`;
    case 'setLinkUp':
      return `set ${op.subject} up`;
    case 'setRouteSource':
      return `set the source of ${op.subject} to ${op.source ?? 'none'}`;
    default:
      return `${verb} ${op.subject}`;
  }
}

function fixFor(op: AddressOp, code: string): string | undefined {
  if (code === 'EPERM') return 'run as root or with CAP_NET_ADMIN';
  if (code === 'ENODEV') return 'the link is gone; the next sync makes it again';
  if (op.op === 'addLink') return code === 'EOPNOTSUPP' ? NO_DUMMY : undefined;
  if (op.op === 'addAddress' && familyOf(op.address) === 'IPv6') return IPV6_FIXES[code];
  if (op.op !== 'addRoute') return undefined;
  if (code === 'EEXIST') return 'somebody else made this range local (ip route show table local shows who)';
  return IPV6_FIXES[code];
}

const NO_DUMMY =
  'this kernel has no dummy links loaded: run modprobe dummy, or choose a kernel that has them';

const IPV6_OFF =
  'IPv6 is off here: allow it (sysctl net.ipv6.conf.all.disable_ipv6=0), or use IPv4 Services only';

const IPV6_FIXES: { readonly [code: string]: string } = {
  EACCES: IPV6_OFF,
  EAFNOSUPPORT: IPV6_OFF,
  EOPNOTSUPP: IPV6_OFF,
};
