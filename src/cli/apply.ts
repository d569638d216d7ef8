import { Option } from 'commander';
import * as v from 'valibot';
import type { Config } from '../config.ts';
import { compareRejected, type Rejected } from '../model/rejected.ts';
import type { StageOps } from '../sync/stage.ts';
import {
  applySync,
  digestOf,
  isComplete,
  observeStages,
  type Stages,
  type SyncReport,
  syncOnce,
} from '../sync/sync-once.ts';
import { type CliContext, EXIT, type ExitCode, type NodeAccess, UsageError } from './context.ts';
import { loadDesired, reportRejected, requireSource, warnOfExposure } from './load-desired.ts';
import { renderReport, renderReportJson } from './render-report.ts';
import { socketNotes } from './sockets.ts';
import { chosen, configOf, type Invocation, type Verb } from './verb.ts';

export const applyVerb: Verb = {
  name: 'apply',
  arguments: '[planfile]',
  summary: 'one sync, then exit; with a plan file: exactly that plan, refused if the kernel has moved since',
  exitCodes: '0 done, 1 error, 2 some operations failed and are listed',
  options: [new Option('-o, --output <format>', 'text or json')],
  run: apply,
};

interface Applied {
  /** The last is the one that counts; earlier ones were followed by another look. */
  readonly rounds: readonly SyncReport[];
  readonly rejected: readonly Rejected[];
}

async function apply(invocation: Invocation): Promise<ExitCode> {
  const { context, given, args } = invocation;
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const config = await configOf(invocation);
  const [planFile] = args;
  if (planFile !== undefined && config.manifests.length > 0) {
    throw new UsageError(`Cannot apply both the plan ${planFile} and manifests: give one of them`);
  }
  if (planFile === undefined) requireSource(context, config);
  await using node = await context.openNode(config, 'write');
  for (const note of node.notes) context.err(`note: ${note}\n`);
  for (const note of socketNotes(node.sockets(undefined))) context.err(note);
  const applied =
    planFile === undefined
      ? await applyManifests(context, config, node)
      : await applyPlan(context, node.stages, planFile);
  const last = applied.rounds.at(-1);
  if (format === 'json') await context.out(renderReportJson(applied.rounds, applied.rejected));
  else {
    reportRejected(context, applied.rejected);
    context.err((last?.refused ?? []).map(({ message }) => `failed: ${message}\n`).join(''));
    await context.out(renderReport(applied.rounds, context.colour));
  }
  return isComplete(last) ? EXIT.done : EXIT.changes;
}

async function applyManifests(context: CliContext, config: Config, node: NodeAccess): Promise<Applied> {
  const { facts, derivation } = await loadDesired(context, config, await node.hostAddresses(context.signal));
  warnOfExposure(context, config, facts);
  const { rounds, last } = await syncOnce(node.stages, derivation.desired, context.signal);
  return { rounds, rejected: [...derivation.desired.rejected, ...last.rejected].sort(compareRejected) };
}

const planSchema = v.object({
  version: v.literal(1),
  digest: v.string(),
  make: v.array(v.looseObject({ op: v.string() })),
  break: v.array(v.looseObject({ op: v.string() })),
});

async function applyPlan(context: CliContext, stages: Stages, file: string): Promise<Applied> {
  const saved = v.safeParse(planSchema, parseJson(await context.readText(file), file));
  if (!saved.success) {
    throw new UsageError(`Cannot apply ${file}: it is not a plan that svcplane plan -o json has written`);
  }
  const make = parsePhase(stages, saved.output.make, file);
  const broken = parsePhase(stages, saved.output.break, file).reverse();
  const now = digestOf(await observeStages(stages, context.signal));
  if (now !== saved.output.digest) {
    throw new UsageError(`Cannot apply ${file}: the kernel has changed since it was made: plan again`);
  }
  return { rounds: [await applySync({ make, break: broken }, context.signal)], rejected: [] };
}

function parsePhase(stages: Stages, ops: readonly { readonly op: string }[], file: string): StageOps[] {
  const phase = stages.map((stage) => stage.parse(ops));
  const understood = new Set(phase.flatMap(({ ops: parsed }) => parsed.map(({ op }) => op)));
  const unknown = ops.find(({ op }) => !understood.has(op));
  if (unknown) throw new UsageError(`Cannot apply ${file}: no operation is named ${unknown.op}`);
  return phase;
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
