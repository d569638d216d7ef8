import { writeFileSync } from 'node:fs';
import { unreachable } from '../../model/brand.ts';
import { type VirtualServerKey, virtualServerKey } from '../../model/virtual-server.ts';
import type { ApplyReport, Executors, RefusedOp } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import type { FlowKernel, IpvsKernel, KernelAnswer, KernelRequest, StaleFlows } from './kernel.ts';
import type { IpvsOp, IpvsOpNamed, IpvsOps } from './ops.ts';
import { type StaleEntries, settle, writeAhead } from './ownership.ts';
import { refusalMessage } from './refusals.ts';

/** Writes one sysctl by its name with dots. @returns the errno name of a refusal, undefined when written */
export type WriteSysctl = (name: string, value: string) => string | undefined;

export interface ApplyContext {
  readonly kernel: IpvsKernel;
  readonly flows: FlowKernel;
  readonly ledger: LedgerAccess;
  readonly writeSysctl: WriteSysctl;
  readonly nowMs: () => number;
}

/** What an operation asks of whom. */
type Step =
  | { readonly kind: 'request'; readonly request: KernelRequest }
  | { readonly kind: 'flows'; readonly flows: StaleFlows }
  | { readonly kind: 'sysctl'; readonly name: string; readonly value: string }
  /** Done with the ledger entry that is written ahead. */
  | { readonly kind: 'ledger' };

/** A request, and the operation it is for. */
interface Pending {
  readonly index: number;
  readonly request: KernelRequest;
}

interface PendingFlows {
  readonly index: number;
  readonly flows: StaleFlows;
}

interface Correction extends Pending {
  /** What the operation's answer becomes, whatever that of the correction is. */
  readonly answer?: KernelAnswer;
}

const LEDGER_ONLY: Step = { kind: 'ledger' };
const OK: KernelAnswer = { outcome: 'ok' };
const UNKNOWN: KernelAnswer = { outcome: 'unknown' };
const EXISTS: KernelAnswer = { outcome: 'refused', code: 'EEXIST' };
const NEVER_ABORTED = new AbortController().signal;

const STEPS: Executors<IpvsOps, Step> = {
  setSysctl: ({ name, value }) => ({ kind: 'sysctl', name, value }),
  restoreSysctl: ({ name, value }) => ({ kind: 'sysctl', name, value }),
  addVirtualServer: ({ identity, config }) => request({ command: 'newService', identity, config }),
  setVirtualServer: ({ identity, config }) => request({ command: 'setService', identity, config }),
  adoptVirtualServer: () => LEDGER_ONLY,
  deleteVirtualServer: ({ identity }) => request({ command: 'delService', identity }),
  addRealServer: ({ identity, realServer }) => request({ command: 'newDest', identity, realServer }),
  setRealServer: ({ identity, realServer }) => request({ command: 'setDest', identity, realServer }),
  drainRealServer: ({ identity, realServer, weightBefore }) =>
    weightBefore === 0 ? LEDGER_ONLY : request({ command: 'setDest', identity, realServer }),
  deleteRealServer: ({ identity, realServer }) => request({ command: 'delDest', identity, realServer }),
  deleteFlows: ({ protocol, address, port, keep }) => ({
    kind: 'flows',
    flows: { protocol, address, port, keep },
  }),
};

/**
 * Executes `ops` in order. The ledger is written twice at most: before the first change, with all that will be ours,
 * and after the last, with what became of it.
 * @throws what the ledger throws, then nothing is changed; what the kernel throws if its socket is broken
 */
export async function applyIpvs(
  ops: readonly IpvsOp[],
  stale: StaleEntries,
  context: ApplyContext,
  signal: AbortSignal,
): Promise<ApplyReport<IpvsOp>> {
  const startedAtMs = context.nowMs();
  context.ledger.update((ledger) => writeAhead(ledger, ops, stale, startedAtMs));
  const answers = ops.map((): KernelAnswer => ({ outcome: 'notAttempted' }));
  try {
    await executeAll(ops, answers, context, signal);
  } finally {
    context.ledger.update((ledger) => settle(ledger, ops, answers));
  }
  return reportOf(ops, answers);
}

async function executeAll(
  ops: readonly IpvsOp[],
  answers: KernelAnswer[],
  context: ApplyContext,
  signal: AbortSignal,
): Promise<void> {
  let requests: Pending[] = [];
  let flows: PendingFlows[] = [];
  const flush = async () => {
    // Flows are stale after what makes them so.
    await executeRequests(requests, answers, context.kernel, signal);
    await executeFlows(flows, answers, context.flows, signal);
    requests = [];
    flows = [];
  };
  for (const [index, op] of ops.entries()) {
    const step = stepOf(op);
    switch (step.kind) {
      case 'ledger':
        answers[index] = OK;
        break;
      case 'request':
        if (flows.length > 0) await flush();
        requests.push({ index, request: step.request });
        break;
      case 'flows':
        flows.push({ index, flows: step.flows });
        break;
      case 'sysctl':
        await flush();
        if (!signal.aborted) answers[index] = answerOf(context.writeSysctl(step.name, step.value));
        break;
      default:
        unreachable(step);
    }
  }
  await flush();
}

async function executeFlows(
  pending: readonly PendingFlows[],
  answers: KernelAnswer[],
  kernel: FlowKernel,
  signal: AbortSignal,
): Promise<void> {
  if (pending.length === 0 || signal.aborted) return;
  for (const { index } of pending) answers[index] = UNKNOWN;
  const results = await kernel.deleteFlows(
    pending.map(({ flows }) => flows),
    signal,
  );
  for (const [i, { index }] of pending.entries()) answers[index] = results[i] ?? UNKNOWN;
}

async function executeRequests(
  pending: readonly Pending[],
  answers: KernelAnswer[],
  kernel: IpvsKernel,
  signal: AbortSignal,
): Promise<void> {
  if (pending.length === 0) return;
  // If the socket breaks, this is what is known of them.
  for (const { index } of pending) answers[index] = UNKNOWN;
  const requests = pending.map(({ request }) => request);
  const results = await kernel.execute(requests, signal);
  for (const [i, { index, request }] of pending.entries()) {
    answers[index] = absenceIsDeletion(request, results[i] ?? UNKNOWN);
  }
  const corrections = correctionsFor(pending, answers);
  if (corrections.length === 0) return;
  // Even after an abort: what was begun must not stay in somebody else's virtual server.
  const corrected = await kernel.execute(
    corrections.map(({ request }) => request),
    NEVER_ABORTED,
  );
  for (const [i, { index, answer }] of corrections.entries()) {
    answers[index] = answer ?? corrected[i] ?? UNKNOWN;
  }
}

/** Deleting what is gone already is success: ESRCH says so of a virtual server, ENOENT of a real server. */
function absenceIsDeletion(request: KernelRequest, answer: KernelAnswer): KernelAnswer {
  if (request.command !== 'delService' && request.command !== 'delDest') return answer;
  return hasCode(answer, 'ESRCH') || hasCode(answer, 'ENOENT') ? OK : answer;
}

/**
 * Second requests that real servers need where something was there already (EEXIST). In a virtual server of ours, a
 * real server that exists is made as wanted. Of a virtual server that somebody else made since we looked, the real
 * servers that we have just added are withdrawn.
 */
function correctionsFor(pending: readonly Pending[], answers: readonly KernelAnswer[]): Correction[] {
  const foreign = new Set<VirtualServerKey>();
  const corrections: Correction[] = [];
  for (const { index, request } of pending) {
    const answer = answers[index] ?? UNKNOWN;
    const exists = hasCode(answer, 'EEXIST');
    if (request.command === 'newService' && exists) foreign.add(virtualServerKey(request.identity));
    if (request.command !== 'newDest') continue;
    const inForeign = foreign.size > 0 && foreign.has(virtualServerKey(request.identity));
    if (inForeign && answer.outcome === 'ok') {
      corrections.push({ index, request: { ...request, command: 'delDest' }, answer: EXISTS });
    } else if (exists && !inForeign) {
      corrections.push({ index, request: { ...request, command: 'setDest' } });
    }
  }
  return corrections;
}

function reportOf(ops: readonly IpvsOp[], answers: readonly KernelAnswer[]): ApplyReport<IpvsOp> {
  const acknowledged: IpvsOp[] = [];
  const refused: RefusedOp<IpvsOp>[] = [];
  const notAttempted: IpvsOp[] = [];
  const refusedServers = new Set<VirtualServerKey>();
  for (const [i, op] of ops.entries()) {
    const answer = answers[i] ?? UNKNOWN;
    if (answer.outcome === 'ok') acknowledged.push(op);
    else if (answer.outcome !== 'refused') notAttempted.push(op);
    else {
      const { code } = answer;
      if (op.op === 'addVirtualServer') refusedServers.add(virtualServerKey(op.identity));
      const consequence = op.op === 'addRealServer' && refusedServers.has(virtualServerKey(op.identity));
      refused.push({ op, code, message: refusalMessage(op, code, consequence) });
    }
  }
  return { acknowledged, refused, notAttempted };
}

function stepOf<Name extends keyof IpvsOps>(op: IpvsOpNamed<Name>): Step {
  return STEPS[op.op](op);
}

function request(kernelRequest: KernelRequest): Step {
  return { kind: 'request', request: kernelRequest };
}

function answerOf(code: string | undefined): KernelAnswer {
  return code === undefined ? OK : { outcome: 'refused', code };
}

function hasCode(answer: KernelAnswer, code: string): boolean {
  return answer.outcome === 'refused' && answer.code === code;
}

/** {@link WriteSysctl} through /proc/sys. */
export function writeSysctlFile(name: string, value: string): string | undefined {
  try {
    writeFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, value);
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
    throw error;
  }
}
