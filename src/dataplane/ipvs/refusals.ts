import { unreachable } from '../../model/brand.ts';
import { realServerKey, virtualServerKey } from '../../model/virtual-server.ts';
import type { IpvsOp } from './ops.ts';

/**
 * One line on why `op` was refused: action, subject, code and, where known, the way out.
 * @param virtualServerRefused whether the virtual server that `op` needs was refused in the same apply
 */
export function refusalMessage(op: IpvsOp, code: string, virtualServerRefused: boolean): string {
  const hint = virtualServerRefused ? 'its virtual server was refused' : hintFor(op, code);
  return `Cannot ${action(op)}: ${code}${hint === '' ? '' : `; ${hint}`}`;
}

function action(op: IpvsOp): string {
  switch (op.op) {
    case 'setSysctl':
      return `set sysctl ${op.name} to ${op.value}`;
    case 'restoreSysctl':
      return `restore sysctl ${op.name} to ${op.value}`;
    case 'addVirtualServer':
      return `add virtual server ${virtualServerKey(op.identity)}`;
    case 'setVirtualServer':
      return `set virtual server ${virtualServerKey(op.identity)}`;
    case 'adoptVirtualServer':
      return `adopt virtual server ${virtualServerKey(op.identity)}`;
    case 'deleteVirtualServer':
      return `delete virtual server ${virtualServerKey(op.identity)}`;
    case 'addRealServer':
      return `add real server ${realServerKey(op.realServer)} to ${virtualServerKey(op.identity)}`;
    case 'setRealServer':
      return `set real server ${realServerKey(op.realServer)} of ${virtualServerKey(op.identity)}`;
    case 'drainRealServer':
      return `drain real server ${realServerKey(op.realServer)} of ${virtualServerKey(op.identity)}`;
    case 'deleteRealServer':
      return `delete real server ${realServerKey(op.realServer)} of ${virtualServerKey(op.identity)}`;
    case 'deleteFlows':
      return `delete flows of ${op.subject}`;
    default:
      return unreachable(op);
  }
}

function hintFor(op: IpvsOp, code: string): string {
  if (op.op === 'setSysctl' || op.op === 'restoreSysctl') {
    const fix = `run sysctl -w ${op.name}=${op.value} on the host, or give this container a writable /proc/sys`;
    return code === 'EROFS' || code === 'EACCES' || code === 'EPERM' ? fix : '';
  }
  if (op.op === 'deleteFlows' && (code === 'EINVAL' || code === 'EPROTONOSUPPORT')) {
    return 'this kernel does not show its flows: modprobe nf_conntrack_netlink';
  }
  if (code === 'EPERM') return 'this needs CAP_NET_ADMIN in the initial user namespace';
  if (op.op === 'addVirtualServer' && code === 'EEXIST') return 'somebody else has made it meanwhile';
  if ((op.op === 'addVirtualServer' || op.op === 'setVirtualServer') && code === 'ENOENT') {
    return `this kernel does not have scheduler ${op.config.scheduler} (module ip_vs_${op.config.scheduler})`;
  }
  if (op.op === 'addRealServer' && code === 'EINVAL') {
    return 'the address is not unicast here, or the network namespace has no local route (is lo up?)';
  }
  return '';
}
