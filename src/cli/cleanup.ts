import { Option } from 'commander';
import { applySync, isComplete, observeStages, planTeardown } from '../sync/sync-once.ts';
import { EXIT, type ExitCode } from './context.ts';
import { handBack } from './hand-back.ts';
import { renderPlan } from './render-plan.ts';
import { renderReport } from './render-report.ts';
import { configOf, type Invocation, type Verb } from './verb.ts';

export const cleanupVerb: Verb = {
  name: 'cleanup',
  arguments: '',
  summary: 'remove exactly what is ours, in break order, and restore the sysctls we changed',
  exitCodes:
    '0 done, 1 error, 2 some operations failed and are listed (with --dry-run: there is something to remove)',
  options: [
    new Option(
      '--hand-back-to <proxy>',
      'leave the virtual servers to one that runs here again: kube-proxy',
    ).env('SVCPLANE_HAND_BACK_TO'),
    new Option('--dry-run', 'show what would be removed'),
  ],
  run: cleanup,
};

async function cleanup(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  if (given.handBackTo !== undefined) return handBack(invocation);
  const config = await configOf(invocation);
  await using node = await context.openNode(config, given.dryRun === true ? 'read' : 'write');
  for (const note of node.notes) context.err(`note: ${note}\n`);
  if (given.dryRun === true) {
    const plan = planTeardown(await observeStages(node.stages, context.signal));
    await context.out(renderPlan(plan, context.colour));
    return plan.break.some(({ ops }) => ops.length > 0) ? EXIT.changes : EXIT.done;
  }
  const plan = planTeardown(await observeStages(node.stages, context.signal));
  const report = await applySync(plan, context.signal);
  const left = plan.rejected.map(({ subject, reason }) => `${subject}: ${reason}`);
  const failures = [...report.refused.map(({ message }) => message), ...left];
  context.err(failures.map((message) => `failed: ${message}\n`).join(''));
  await context.out(renderReport([report], context.colour));
  return isComplete(report) && left.length === 0 ? EXIT.done : EXIT.changes;
}
