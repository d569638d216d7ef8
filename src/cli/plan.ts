import { Option } from 'commander';
import type { Config } from '../config.ts';
import { compareRejected } from '../model/rejected.ts';
import { parseSnapshot } from '../snapshot/parse.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import type { StageState } from '../sync/stage.ts';
import { observeStages, operationsOf, planSync } from '../sync/sync-once.ts';
import { type CliContext, EXIT, type ExitCode } from './context.ts';
import {
  type LoadedDesired,
  loadDesired,
  nodeNameOf,
  reportRejected,
  requireSource,
  warnOfExposure,
} from './load-desired.ts';
import { planDocument, renderPlan, renderPlanJson } from './render-plan.ts';
import { socketNotes } from './sockets.ts';
import { chosen, configOf, type Invocation, textOption, type Verb } from './verb.ts';

export const planVerb: Verb = {
  name: 'plan',
  arguments: '',
  summary: 'what an apply would change, and why; changes nothing',
  exitCodes: '0 nothing to change, 1 error, 2 there are changes',
  options: [
    new Option('-o, --output <format>', 'text or json'),
    new Option('--observed <what>', 'instead of the kernel: empty, or a snapshot file').env(
      'SVCPLANE_OBSERVED',
    ),
  ],
  run: plan,
};

async function plan(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const format = chosen(given, 'output', ['text', 'json'], 'text');
  const config = await configOf(invocation);
  const { states, loaded } = await observe(context, config, textOption(given, 'observed'));
  const { facts, derivation } = loaded;
  const planned = planSync(states, derivation.desired);
  const rejected = [...derivation.desired.rejected, ...planned.rejected].sort(compareRejected);
  warnOfExposure(context, config, facts);
  if (format === 'json') await context.out(renderPlanJson(planDocument(planned, rejected)));
  else {
    reportRejected(context, rejected);
    await context.out(renderPlan(planned, context.colour));
  }
  return operationsOf(planned).length > 0 ? EXIT.changes : EXIT.done;
}

async function observe(
  context: CliContext,
  config: Config,
  recorded: string | undefined,
): Promise<{ states: readonly StageState[]; loaded: LoadedDesired }> {
  if (recorded !== undefined) {
    const snapshot = await recordedSnapshot(context, config, recorded);
    const loaded = await loadDesired(context, config, []);
    return { states: context.recordedStates(config, snapshot, loaded.derivation.desired), loaded };
  }
  requireSource(context, config);
  await using node = await context.openNode(config, 'read');
  for (const note of node.notes) context.err(`note: ${note}\n`);
  for (const note of socketNotes(node.sockets(undefined))) context.err(note);
  const loaded = await loadDesired(context, config, await node.hostAddresses(context.signal));
  return { states: await observeStages(node.stages, context.signal), loaded };
}

async function recordedSnapshot(context: CliContext, config: Config, recorded: string): Promise<Snapshot> {
  if (recorded !== 'empty') return parseSnapshot(await context.readText(recorded), recorded);
  return {
    version: 1,
    node: nodeNameOf(config, context),
    addresses: [],
    virtualServers: [],
    nftables: { table: config.nftablesTable, chains: [], sets: [] },
    rejected: [],
  };
}
