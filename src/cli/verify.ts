import { Option } from 'commander';
import type { Operation } from '../dataplane/dataplane.ts';
import { compareRejected } from '../model/rejected.ts';
import { observeStages, operationsOf, planSync } from '../sync/sync-once.ts';
import { EXIT, type ExitCode } from './context.ts';
import { loadDesired, reportRejected, requireSource } from './load-desired.ts';
import { chosen, configOf, type Invocation, type Verb } from './verb.ts';

export const verifyVerb: Verb = {
  name: 'verify',
  arguments: '',
  summary: 'kernel against desired: what is missing, altered, stale or foreign; changes nothing',
  exitCodes: '0 the kernel is as desired, 1 error, 2 it has drifted (foreign objects alone are no drift)',
  options: [new Option('-o, --output <format>', 'text or json')],
  run: verify,
};

/** How a row of the kernel stands to what it should be. */
export type DriftClass = 'missing' | 'altered' | 'stale' | 'foreign';

export interface Drift {
  readonly class: DriftClass;
  readonly subject: string;
  readonly detail: string;
  readonly reason: string;
}

/** What an operation of the repairing plan says about the row it acts on. */
export function driftOf(op: Operation): Drift {
  const { subject, detail, reason } = op;
  const leaving = op.op.startsWith('delete') || op.op.startsWith('drain');
  return {
    class: op.op.startsWith('add') ? 'missing' : leaving ? 'stale' : 'altered',
    subject,
    detail,
    reason,
  };
}

async function verify(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const config = await configOf(invocation);
  requireSource(context, config);
  await using node = await context.openNode(config, 'read');
  for (const note of node.notes) context.err(`note: ${note}\n`);
  const { derivation } = await loadDesired(context, config, await node.hostAddresses(context.signal));
  const states = await observeStages(node.stages, context.signal);
  const plan = planSync(states, derivation.desired);
  const rejected = [...derivation.desired.rejected, ...plan.rejected].sort(compareRejected);
  const foreign = states.flatMap((state) => state.foreign());
  const drift = [
    ...operationsOf(plan).map(driftOf),
    ...foreign.map(
      (subject) => ({ class: 'foreign', subject, detail: '', reason: 'not made by svcplane' }) as const,
    ),
  ].sort((a, b) => ORDER[a.class] - ORDER[b.class] || BY_NUMBER.compare(a.subject, b.subject));
  if (format === 'json') await context.out(`${JSON.stringify({ version: 1, drift, rejected }, null, 2)}\n`);
  else {
    reportRejected(context, rejected);
    await context.out(renderDrift(drift));
  }
  return drift.every((row) => row.class === 'foreign') ? EXIT.done : EXIT.changes;
}

/** 10.96.0.20 before 10.96.0.100, in any locale. */
const BY_NUMBER = new Intl.Collator('en', { numeric: true });

const ORDER = { missing: 0, altered: 1, stale: 2, foreign: 3 } as const satisfies Record<DriftClass, number>;

/** One line per drifted row, then the sum. */
export function renderDrift(drift: readonly Drift[]): string {
  const lines = drift.map(({ class: name, subject, detail, reason }) => {
    const what = detail === '' ? subject : `${subject}  ${detail}`;
    return `${name.padEnd(7)} ${what}  (${reason})\n`;
  });
  const count = (name: DriftClass): number => drift.filter((row) => row.class === name).length;
  const sum = `${count('missing')} missing, ${count('altered')} altered, ${count('stale')} stale, ${count('foreign')} foreign`;
  return `${lines.join('')}Verify: ${sum}.\n`;
}
