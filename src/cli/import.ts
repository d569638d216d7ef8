import { Option } from 'commander';
import type { Config } from '../config.ts';
import type { Operation } from '../dataplane/dataplane.ts';
import type { KubeProxyHost, KubeProxyTraces } from '../kube-proxy/leftovers.ts';
import { adoptionsOf } from '../kube-proxy/operations.ts';
import { planTakeover, type TakeoverClass, type TakeoverRow } from '../kube-proxy/takeover.ts';
import type { DesiredState } from '../model/desired-state.ts';
import { compareRejected } from '../model/rejected.ts';
import { reviewGuard, UNGUARDED } from '../sync/guard.ts';
import type { StageState } from '../sync/stage.ts';
import {
  countDeletions,
  isComplete,
  observeStages,
  operationsOf,
  planSync,
  type SyncReport,
  syncOnce,
} from '../sync/sync-once.ts';
import { type CliContext, EXIT, type ExitCode, type NodeAccess, UsageError } from './context.ts';
import { loadDesired, nodeNameOf, reportRejected, requireSource, warnOfExposure } from './load-desired.ts';
import { plannedRelease, type Release, release } from './release.ts';
import { renderOperations } from './render-plan.ts';
import { renderReport } from './render-report.ts';
import { configOf, type Invocation, textOption, type Verb } from './verb.ts';

export const importVerb: Verb = {
  name: 'import',
  arguments: '',
  summary: 'take over what kube-proxy in ipvs mode has made on this node, without cutting a connection',
  exitCodes:
    '0 done, or nothing to do; 1 error; 2 something failed or has to wait, and is listed (with --dry-run: there is something to do)',
  options: [
    new Option('--from <proxy>', 'who has served the node: kube-proxy').env('SVCPLANE_FROM'),
    new Option('--release', "then remove kube-proxy's rules, ipsets and link, and nothing else").env(
      'SVCPLANE_RELEASE',
    ),
    new Option('--dry-run', 'show what would be done'),
  ],
  run: importNode,
};

/** What an import finds. */
interface Findings {
  readonly traces: KubeProxyTraces;
  readonly rows: readonly TakeoverRow[];
  /** As it is once kube-proxy's virtual servers are entered in the ledger. */
  readonly adopted: readonly StageState[];
  readonly adoptions: readonly Operation[];
  readonly desired: DesiredState;
}

async function importNode(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const from = textOption(given, 'from');
  if (from !== 'kube-proxy') {
    throw new UsageError(`Cannot import ${from ? `from ${from}` : 'from nobody'}: give --from kube-proxy`);
  }
  const isDryRun = given.dryRun === true;
  const releases = given.release === true;
  const config = await configOf(invocation);
  requireSource(context, config);
  await using host = context.openKubeProxy();
  const running = await host.whyRunning(context.signal);
  if (running !== null && releases && !isDryRun) {
    const wayOut = 'stop it on this node, or leave out --release';
    throw new UsageError(
      `Cannot release what kube-proxy has made while it runs here (${running}): ${wayOut}`,
    );
  }
  await using node = await context.openNode(config, isDryRun ? 'read' : 'write');
  for (const note of node.notes) context.err(`note: ${note}\n`);
  const found = await find(context, config, host, node);
  await context.out(renderTakeover(found.rows));
  if (isDryRun) return await showPlan(context, found, running, releases);
  if (running !== null) return await enterEqual(context, node, found, running);
  refuseWholesale(context, config, found);
  return await takeOver(context, { config, host, node, releases }, found);
}

/** As the guard of the daemon: if most of what kube-proxy serves is in no Service, too little was read. */
function refuseWholesale(context: CliContext, config: Config, { adopted, desired }: Findings): void {
  const entered = operationsOf(planSync(adopted, desired)).filter(({ op }) => op === 'adoptVirtualServer');
  const counts = countDeletions(
    adopted.map((state) => state.after(entered)),
    desired,
  );
  if (reviewGuard(UNGUARDED, counts, context.nowMs(), config.guard).verdict === 'pass') return;
  const share = `${counts.unwanted} of its ${counts.ours} virtual servers are of no Service that was read`;
  const wayOut = 'give all manifests of the cluster, or raise --guard-max-delete-share';
  throw new UsageError(`Cannot take over from kube-proxy: ${share}, and would be deleted: ${wayOut}`);
}

/** Reads files or API server, the node, and what kube-proxy has left on it. */
async function find(
  context: CliContext,
  config: Config,
  host: KubeProxyHost,
  node: NodeAccess,
): Promise<Findings> {
  const { signal } = context;
  // As kube-proxy does, and the daemon will: NodePorts are on the addresses that the host has.
  const { facts, derivation } = await loadDesired(context, config, await node.hostAddresses(signal), true);
  const { desired } = derivation;
  warnOfExposure(context, config, facts);
  const traces = await host.observe(signal);
  for (const note of traces.notes) context.err(`note: ${note}\n`);
  const observed = await node.snapshot(nodeNameOf(config, context), signal);
  const wanted = context.projectSnapshot(config, desired);
  const rows = planTakeover({ observed, wanted, traces, excludeCIDRs: config.excludeCIDRs });
  const adoptions = adoptionsOf(rows);
  const states = await observeStages(node.stages, signal);
  return { traces, rows, adoptions, adopted: states.map((state) => state.after(adoptions)), desired };
}

async function showPlan(
  context: CliContext,
  { adopted, adoptions, desired, traces }: Findings,
  running: string | null,
  releases: boolean,
): Promise<ExitCode> {
  const plan = planSync(adopted, desired);
  reportRejected(context, [...desired.rejected, ...plan.rejected].sort(compareRejected));
  if (running !== null) sayRunning(context, running);
  // Everything is bound by then, but what only drains.
  const removed = releases ? plannedRelease(context, traces, new Map()) : [];
  const ops = [...adoptions, ...operationsOf(plan), ...removed];
  await context.out(renderOperations(ops, context.colour));
  return ops.length > 0 ? EXIT.changes : EXIT.done;
}

/** What is there exactly as wanted becomes ours: in the ledger, and nowhere else. */
async function enterEqual(
  context: CliContext,
  node: NodeAccess,
  { adopted, adoptions, desired, traces }: Findings,
  running: string,
): Promise<ExitCode> {
  const plan = planSync(adopted, desired);
  const taken = new Set(adoptions.map(({ subject }) => subject));
  const ops = operationsOf(plan);
  const equal = ops.filter(({ op, subject }) => op === 'adoptVirtualServer' && !taken.has(subject));
  const report = await adopt(context, node, equal);
  reportRejected(context, [...desired.rejected, ...plan.rejected].sort(compareRejected));
  sayRunning(context, running);
  await context.out(renderReport([report], context.colour));
  const waits = ops.length + adoptions.length > equal.length || traces.link !== null;
  return waits ? EXIT.changes : EXIT.done;
}

function sayRunning(context: CliContext, running: string): void {
  const waits = 'only the ledger is written while it does; stop it on this node, and import again';
  context.err(`note: kube-proxy runs here (${running}): ${waits}\n`);
}

interface Takeover {
  readonly config: Config;
  readonly host: KubeProxyHost;
  readonly node: NodeAccess;
  readonly releases: boolean;
}

async function takeOver(
  context: CliContext,
  { config, host, node, releases }: Takeover,
  { adoptions, desired }: Findings,
): Promise<ExitCode> {
  const adopted = await adopt(context, node, adoptions);
  const { rounds, last } = await syncOnce(node.stages, desired, context.signal);
  const synced = rounds.at(-1);
  const isSynced = isComplete(adopted) && isComplete(synced);
  // It may have come back meanwhile, as a DaemonSet's pod does.
  const back = releases && isSynced ? await host.whyRunning(context.signal) : null;
  const released: Release | undefined =
    releases && isSynced && back === null
      ? await release(context, host, await node.snapshot(nodeNameOf(config, context), context.signal))
      : undefined;
  reportRejected(context, [...desired.rejected, ...last.rejected].sort(compareRejected));
  const reports = [adopted, ...rounds, ...(released ? [released.report] : [])];
  context.err((reports.at(-1)?.refused ?? []).map(({ message }) => `failed: ${message}\n`).join(''));
  if (releases && !released) {
    const why = back === null ? 'until all is taken over' : `for it runs again (${back})`;
    context.err(`note: kube-proxy's rules and link stay ${why}\n`);
  }
  await context.out(renderReport(reports, context.colour));
  return isSynced && (released?.isComplete ?? !releases) ? EXIT.done : EXIT.changes;
}

async function adopt(context: CliContext, node: NodeAccess, ops: readonly Operation[]): Promise<SyncReport> {
  const reports = await Promise.all(
    node.stages.map((stage) => stage.parse(ops).apply(() => true, context.signal)),
  );
  return {
    acknowledged: reports.flatMap(({ acknowledged }) => acknowledged),
    refused: reports.flatMap(({ refused }) => refused),
    notAttempted: reports.flatMap(({ notAttempted }) => notAttempted),
  };
}

const CLASSES = ['equal', 'altered', 'theirs', 'ours', 'foreign'] as const satisfies readonly TakeoverClass[];

/** One line per virtual server, then how many there are of each class. */
export function renderTakeover(rows: readonly TakeoverRow[]): string {
  const lines = rows.map(({ class: name, key, detail, reason }) => {
    const what = detail === '' ? key : `${key}  ${detail}`;
    return `${name.padEnd(7)} ${what}  (${reason})\n`;
  });
  const counts = CLASSES.map((name) => `${rows.filter((row) => row.class === name).length} ${name}`);
  return `${lines.join('')}Import: ${counts.join(', ')}.\n`;
}
