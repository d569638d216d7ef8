import type { ApplyReport } from '../dataplane.ts';
import type { NftablesKernel } from './kernel.ts';
import type { NftablesOp } from './ops.ts';
import { transactionText } from './transaction.ts';

/**
 * Executes all operations in one transaction: all of them or none. If the kernel refuses it, the first is reported as
 * refused, in the name of all.
 * @throws if the channel to the kernel is broken
 */
export async function applyNftables(
  kernel: Pick<NftablesKernel, 'run'>,
  ops: readonly NftablesOp[],
  signal: AbortSignal,
): Promise<ApplyReport<NftablesOp>> {
  const [first, ...rest] = ops;
  if (!first) return { acknowledged: [], refused: [], notAttempted: [] };
  if (signal.aborted) return { acknowledged: [], refused: [], notAttempted: ops };
  const answer = await kernel.run(transactionText(ops), signal);
  if (answer.outcome === 'ok') return { acknowledged: ops, refused: [], notAttempted: [] };
  const { code } = answer;
  const what = rest.length === 0 ? first.subject : `${first.subject} and ${rest.length} more`;
  const fix = FIXES[code];
  const message = `Cannot ${verbOf(first)} ${what} in one transaction: ${code}: ${answer.message}${fix ? `: ${fix}` : ''}`;
  return { acknowledged: [], refused: [{ op: first, code, message }], notAttempted: rest };
}

function verbOf({ op }: NftablesOp): string {
  return /^[a-z]+/.exec(op)?.[0] ?? op;
}

const CHANGED_MEANWHILE = 'somebody changed the table meanwhile; the next sync looks again';

/** The way out. */
const FIXES: { readonly [code: string]: string } = {
  EPERM:
    'run as root or with CAP_NET_ADMIN; or another process owns the table (nft list table shows "flags owner"): end it',
  ENOENT: `${CHANGED_MEANWHILE}, unless this kernel lacks nft_reject_inet, nft_masq, nft_nat or nft_ct`,
  EEXIST: CHANGED_MEANWHILE,
  EINVAL: 'the installed libnftables may be older than 1.0.6',
  EOPNOTSUPP: 'this kernel lacks a part of nf_tables: see what it says of CONFIG_NFT_*',
};
