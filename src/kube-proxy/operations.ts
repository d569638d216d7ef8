import type { Operation } from '../dataplane/dataplane.ts';
import { unreachable } from '../model/brand.ts';
import { identityOf } from '../snapshot/canonical.ts';
import { count, describeChains, type ReleaseOp } from './leftovers.ts';
import { KUBE_PROXY_LINK } from './names.ts';
import type { TakeoverRow } from './takeover.ts';

/** What enters kube-proxy's virtual servers in the ledger that a sync alone would leave to it; writes no kernel. */
export function adoptionsOf(rows: readonly TakeoverRow[]): readonly Operation[] {
  return rows.flatMap(({ adopt, key, reason }) => {
    if (adopt === null) return [];
    const { virtualServer, service, servicePort, exposure } = adopt;
    const adoption = {
      op: 'adoptVirtualServer',
      subject: key,
      detail: 'owner kube-proxy → svcplane',
      reason,
      identity: identityOf(virtualServer),
      origin: { service, servicePort, exposure, frontend: null },
    };
    return [adoption];
  });
}

/** A change of a release, as it is shown. */
export function operationOf(op: ReleaseOp): Operation {
  const reason = 'of kube-proxy';
  switch (op.op) {
    case 'restoreIptables':
      return { op: 'deleteRules', subject: op.program, detail: describeChains(op), reason };
    case 'destroySet':
      return { op: 'deleteSet', subject: `ipset ${op.name}`, detail: '', reason };
    case 'deleteAddresses':
      return {
        op: 'deleteAddresses',
        subject: `link ${KUBE_PROXY_LINK}`,
        detail: count(op.addresses.length, 'address'),
        reason,
      };
    case 'deleteLink':
      return { op: 'deleteLink', subject: `link ${KUBE_PROXY_LINK}`, detail: '', reason };
    default:
      return unreachable(op);
  }
}
