import type { ApplyReport, Executors, RefusedOp } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import type { KernelAnswer, LinkKernel } from './kernel.ts';
import type { AddressOp, AddressOps } from './ops.ts';
import { enterInLedger, strikeFromLedger } from './ownership.ts';
import { isDoneAlready, refusalMessage, stopsTheRest } from './refusals.ts';

/**
 * Requests in flight at once: enough to hide the round trip; few enough that their answers, about 1 KiB of receive
 * buffer each, fit into the 416 KiB that an unprivileged socket may have.
 */
const MAX_IN_FLIGHT = 256;

/**
 * Executes in order, those of one kind in slices. The ledger is written at most twice: before the first change, with
 * what is about to be made, and after the last, without what is gone.
 * @throws if the ledger can't be written, then nothing was changed; or if the channel to the kernel broke
 */
export async function apply(
  kernel: LinkKernel,
  ledger: LedgerAccess,
  ops: readonly AddressOp[],
  signal: AbortSignal,
): Promise<ApplyReport<AddressOp>> {
  if (ops.length === 0) return { acknowledged: [], refused: [], notAttempted: [] };
  ledger.update((before) => enterInLedger(before, ops));
  const report = await executeAll(kernel, ops, signal);
  ledger.update((before) => strikeFromLedger(before, report));
  return report;
}

async function executeAll(
  kernel: LinkKernel,
  ops: readonly AddressOp[],
  signal: AbortSignal,
): Promise<ApplyReport<AddressOp>> {
  const acknowledged: AddressOp[] = [];
  const refused: RefusedOp<AddressOp>[] = [];
  let next = 0;
  let stopped = false;
  while (next < ops.length && !stopped && !signal.aborted) {
    const slice = sliceFrom(ops, next);
    next += slice.length;
    for (const [op, answer] of await executeSlice(kernel, slice)) {
      if (answer.outcome === 'ok' || isDoneAlready(op, answer.code)) {
        acknowledged.push(op);
        continue;
      }
      const { code } = answer;
      refused.push({ op, code, message: refusalMessage(op, code) });
      stopped ||= stopsTheRest(op, code);
    }
  }
  return { acknowledged, refused, notAttempted: ops.slice(next) };
}

/** The first goes alone: what meets every operation, as a missing privilege, is then reported once. */
function sliceFrom(ops: readonly AddressOp[], start: number): readonly AddressOp[] {
  const name = ops[start]?.op;
  const limit = start === 0 ? 1 : start + MAX_IN_FLIGHT;
  let end = start + 1;
  while (end < limit && ops[end]?.op === name) end++;
  return ops.slice(start, end);
}

/** @param slice operations of one kind, so that one look-up of the link serves all */
async function executeSlice(
  kernel: LinkKernel,
  slice: readonly AddressOp[],
): Promise<readonly (readonly [AddressOp, KernelAnswer])[]> {
  const name = slice.find((op): op is Extract<AddressOp, { link: string }> => 'link' in op)?.link;
  const index = name === undefined ? undefined : (await kernel.link(name))?.index;
  const executors = executorsOn(kernel, index);
  return await Promise.all(slice.map(async (op) => [op, await execute(executors, op)] as const));
}

/** Generic, so that the compiler sees that an operation and its executor have the same name. */
function execute<Name extends keyof AddressOps>(
  executors: { readonly [N in Name]: (op: Extract<AddressOp, { op: N }>) => Promise<KernelAnswer> },
  op: Extract<AddressOp, { op: Name }>,
): Promise<KernelAnswer> {
  return executors[op.op](op);
}

/** @param index of the link that the operations name; undefined if there is none */
function executorsOn(
  kernel: LinkKernel,
  index: number | undefined,
): Executors<AddressOps, Promise<KernelAnswer>> {
  const onLink = (change: (linkIndex: number) => Promise<KernelAnswer>): Promise<KernelAnswer> =>
    index === undefined ? Promise.resolve({ outcome: 'refused', code: 'ENODEV' }) : change(index);
  const ledgerOnly = async (): Promise<KernelAnswer> => ({ outcome: 'ok' });
  return {
    addLink: ({ link }) => kernel.addDummy(link),
    setLinkUp: () => onLink((linkIndex) => kernel.setUp(linkIndex)),
    addRoute: ({ prefix, source }) => onLink((linkIndex) => kernel.addRoute({ linkIndex, prefix, source })),
    setRouteSource: ({ prefix, source }) =>
      onLink((linkIndex) => kernel.replaceRoute({ linkIndex, prefix, source })),
    adoptRoute: ledgerOnly,
    addAddress: ({ address }) => onLink((linkIndex) => kernel.addAddress(linkIndex, address)),
    adoptAddress: ledgerOnly,
    deleteAddress: ({ address }) => onLink((linkIndex) => kernel.deleteAddress(linkIndex, address)),
    deleteRoute: ({ prefix }) => onLink((linkIndex) => kernel.deleteRoute(linkIndex, prefix)),
    deleteLink: () => onLink((linkIndex) => kernel.deleteLink(linkIndex)),
    forgetMissing: ledgerOnly,
  };
}
