import { unreachable } from '../../model/brand.ts';
import type { ApplyReport, RefusedOp } from '../dataplane.ts';
import type { Ledger, LedgerAccess, LedgerSyncDaemon, SyncRole } from '../ledger.ts';
import type { SyncAnswer, SyncKernel } from './kernel.ts';
import type { SyncOp } from './ops.ts';

/**
 * Executes in order. A daemon is in the ledger before it runs.
 * @throws what the ledger throws, then nothing is changed; what the kernel throws if its socket is broken
 */
export async function apply(
  kernel: SyncKernel,
  ledger: LedgerAccess,
  ops: readonly SyncOp[],
  signal: AbortSignal,
): Promise<ApplyReport<SyncOp>> {
  const acknowledged: SyncOp[] = [];
  const refused: RefusedOp<SyncOp>[] = [];
  const notAttempted: SyncOp[] = [];
  for (const op of ops) {
    const answer: SyncAnswer = signal.aborted ? { outcome: 'unknown' } : await execute(kernel, ledger, op);
    if (answer.outcome === 'ok') acknowledged.push(op);
    else if (answer.outcome === 'unknown') notAttempted.push(op);
    else refused.push({ op, code: answer.code, message: refusalMessage(op, answer.code) });
  }
  return { acknowledged, refused, notAttempted };
}

async function execute(kernel: SyncKernel, ledger: LedgerAccess, op: SyncOp): Promise<SyncAnswer> {
  switch (op.op) {
    case 'addSyncDaemon': {
      const { role, interface: link, id } = op;
      const linkIndex = kernel.linkIndex(link);
      ledger.update((before) => entered(before, role, { interface: link, id, linkIndex }));
      const answer = await kernel.start({ role, interface: link, id });
      if (answer.outcome === 'refused') ledger.update((before) => entered(before, role, null));
      return answer;
    }
    case 'deleteSyncDaemon': {
      ledger.check();
      const answer = await kernel.stop(op.role);
      const isGone = answer.outcome === 'ok' || (answer.outcome === 'refused' && answer.code === 'ESRCH');
      if (!isGone) return answer;
      ledger.update((before) => entered(before, op.role, null));
      return { outcome: 'ok' };
    }
    default:
      return unreachable(op);
  }
}

function entered(ledger: Ledger, role: SyncRole, daemon: LedgerSyncDaemon | null): Ledger {
  const syncDaemons = new Map(ledger.syncDaemons);
  if (daemon) syncDaemons.set(role, daemon);
  else if (!syncDaemons.delete(role)) return ledger;
  return { ...ledger, syncDaemons };
}

function refusalMessage(op: SyncOp, code: string): string {
  const action = op.op === 'addSyncDaemon' ? 'start' : 'stop';
  const hint = hintFor(op, code);
  return `Cannot ${action} ${op.subject}: ${code}${hint === '' ? '' : `; ${hint}`}`;
}

function hintFor(op: SyncOp, code: string): string {
  if (code === 'EPERM') return 'this needs CAP_NET_ADMIN in the initial user namespace';
  if (op.op !== 'addSyncDaemon') return '';
  if (code === 'ENODEV') return `there is no link ${op.interface}: set connectionSync.interface`;
  return code === 'EEXIST' ? 'somebody else has started one meanwhile' : '';
}
