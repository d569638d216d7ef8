import type { Operation, RefusedOp } from '../dataplane/dataplane.ts';
import {
  describeRelease,
  type HeldAddresses,
  type KubeProxyHost,
  type KubeProxyTraces,
  planRelease,
} from '../kube-proxy/leftovers.ts';
import { operationOf } from '../kube-proxy/operations.ts';
import { heldAddresses } from '../kube-proxy/takeover.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { SyncReport } from '../sync/sync-once.ts';
import type { CliContext } from './context.ts';

/** What became of what kube-proxy had made. */
export interface Release {
  readonly report: SyncReport;
  /** False where something failed, could not be looked at, or is needed for a while yet. */
  readonly isComplete: boolean;
}

/** What a release would remove; what stays, and why, is said on standard error. */
export function plannedRelease(
  context: CliContext,
  traces: KubeProxyTraces,
  held: HeldAddresses,
): readonly Operation[] {
  return reportKept(context, planRelease(traces, held)).map(operationOf);
}

/**
 * Removes kube-proxy's rules, sets and link, one by one; a failure stops none of the others.
 * @param observed the node after the take-over
 */
export async function release(
  context: CliContext,
  host: KubeProxyHost,
  observed: Snapshot,
): Promise<Release> {
  const traces = await host.observe(context.signal);
  const held = heldAddresses(observed, traces);
  const acknowledged: Operation[] = [];
  const refused: RefusedOp<Operation>[] = [];
  const notAttempted: Operation[] = [];
  for (const change of reportKept(context, planRelease(traces, held))) {
    const op = operationOf(change);
    const why = context.signal.aborted ? undefined : await host.release(change, context.signal);
    if (why === undefined) notAttempted.push(op);
    else if (why === null) acknowledged.push(op);
    else refused.push({ op, code: '', message: `Cannot remove ${describeRelease(change)}: ${why}` });
  }
  const isComplete = [refused, notAttempted, traces.notes, [...held]].every(({ length }) => length === 0);
  return { report: { acknowledged, refused, notAttempted }, isComplete };
}

function reportKept(context: CliContext, { ops, kept }: ReturnType<typeof planRelease>) {
  context.err(kept.map(({ subject, reason }) => `kept: ${subject}: ${reason}\n`).join(''));
  return ops;
}
