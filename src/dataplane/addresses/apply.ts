import { type ApplyReport, type Executors, execute, type RefusedOp } from '../dataplane.ts';
import type { LedgerAccess } from '../ledger.ts';
import { type KernelAnswer, type LinkChange, type LinkKernel, MAX_CHANGES } from './kernel.ts';
import type { AddressOp, AddressOps } from './ops.ts';
import { enterInLedger, strikeFromLedger } from './ownership.ts';
import { isDoneAlready, refusalMessage, stopsTheRest } from './refusals.ts';

const OK: KernelAnswer = { outcome: 'ok' };
const NO_SUCH_LINK: KernelAnswer = { outcome: 'refused', code: 'ENODEV' };

/**
 * Executes in order, those of one kind in batches; the signal is checked before each. The ledger is written at most
 * twice: before the first change, with what is about to be made, and after the last, without what is gone.
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
  const indexOf = linkIndexes(kernel);
  let next = 0;
  let stopped = false;
  while (next < ops.length && !stopped && !signal.aborted) {
    const slice = sliceFrom(ops, next);
    next += slice.length;
    for (const [op, answer] of await executeSlice(kernel, indexOf, slice)) {
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

/**
 * Operations of one kind on one link. The first of all goes alone: what meets every operation, as a missing
 * privilege, is then reported once.
 */
function sliceFrom(ops: readonly AddressOp[], start: number): readonly AddressOp[] {
  const slice = ops.slice(start, start + (start === 0 ? 1 : MAX_CHANGES));
  const [first] = slice;
  const end = slice.findIndex((op) => first && (op.op !== first.op || linkOf(op) !== linkOf(first)));
  return end < 0 ? slice : slice.slice(0, end);
}

/** Of an existing link that the operation is about. */
function linkOf(op: AddressOp): string | undefined {
  return 'link' in op && op.op !== 'addLink' ? op.link : undefined;
}

/** Looks each link up until it is there, then no more: an index is never another link's. */
function linkIndexes(kernel: LinkKernel): (link: string) => Promise<number | undefined> {
  const known = new Map<string, number>();
  return async (link) => {
    const index = known.get(link) ?? (await kernel.link(link))?.index;
    if (index !== undefined) known.set(link, index);
    return index;
  };
}

/** @param slice operations of one kind on one link */
async function executeSlice(
  kernel: LinkKernel,
  indexOf: (link: string) => Promise<number | undefined>,
  slice: readonly AddressOp[],
): Promise<readonly (readonly [AddressOp, KernelAnswer])[]> {
  const link = slice[0] && linkOf(slice[0]);
  const linkIndex = link === undefined ? 0 : await indexOf(link);
  if (linkIndex === undefined) return slice.map((op) => [op, NO_SUCH_LINK]);
  const executors = changesOn(linkIndex);
  const changes = slice.map((op) =>
    execute<AddressOps, keyof AddressOps, LinkChange | undefined>(executors, op),
  );
  // What is in the ledger alone has no change, and no slice mixes the two.
  const answers = await kernel.change(changes.filter((change) => change !== undefined));
  return slice.map((op, i) => [op, changes[i] === undefined ? OK : answerTo(op, answers[i])]);
}

function answerTo(op: AddressOp, answer: KernelAnswer | undefined): KernelAnswer {
  if (answer === undefined) throw new Error(`The kernel gave no answer to ${op.op} ${op.subject}`);
  return answer;
}

/**
 * What each operation asks of the kernel; undefined if it changes the ledger alone.
 * @param linkIndex of the link that the operations are about
 */
function changesOn(linkIndex: number): Executors<AddressOps, LinkChange | undefined> {
  const ledgerOnly = (): undefined => undefined;
  return {
    addLink: ({ link }) => ({ change: 'addDummy', name: link }),
    setLinkUp: () => ({ change: 'setUp', linkIndex }),
    addRoute: ({ prefix, source }) => ({ change: 'addRoute', linkIndex, prefix, source }),
    setRouteSource: ({ prefix, source }) => ({ change: 'replaceRoute', linkIndex, prefix, source }),
    adoptRoute: ledgerOnly,
    addAddress: ({ address }) => ({ change: 'addAddress', linkIndex, address }),
    adoptAddress: ledgerOnly,
    deleteAddress: ({ address }) => ({ change: 'deleteAddress', linkIndex, address }),
    deleteRoute: ({ prefix }) => ({ change: 'deleteRoute', linkIndex, prefix }),
    deleteLink: () => ({ change: 'deleteLink', linkIndex }),
    forgetMissing: ledgerOnly,
  };
}
