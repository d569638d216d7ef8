import type { Config } from '../config.ts';
import { SyncLoop } from '../sync/loop.ts';
import { type CliContext, EXIT, type ExitCode, UsageError } from './context.ts';
import { nodeNameOf, requireSource } from './load-desired.ts';
import { RunJournal } from './run-journal.ts';
import { ClusterFacts, type FactSource, FileFacts } from './run-sources.ts';
import { NodeSync, type SyncObserver } from './run-sync.ts';
import { configOf, type Invocation, type Verb } from './verb.ts';

export const runVerb: Verb = {
  name: 'run',
  arguments: '',
  summary: 'the daemon: keeps this node in sync with an API server, or with files, until it is stopped',
  exitCodes: '0 stopped by SIGTERM or SIGINT, the kernel is left as it is; 1 error',
  options: [],
  run: (invocation) => run(invocation),
};

async function run(invocation: Invocation): Promise<ExitCode> {
  const { context } = invocation;
  const config = await configOf(invocation);
  requireSource(context, config);
  if (config.manifests.includes('-')) {
    throw new UsageError('Cannot follow standard input: name files or directories with -f PATH');
  }
  try {
    await follow(context, config);
  } catch (error) {
    // What was being done when the end came, was cut off.
    if (!context.signal.aborted) throw error;
  }
  return EXIT.done;
}

async function follow(context: CliContext, config: Config): Promise<void> {
  const journal = new RunJournal(context);
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  await using resources = new AsyncDisposableStack();
  const source = await openSource(context, config, journal, resources);
  const updates = resources.use(source.updates(signal));
  const whole = updates.next();
  // Files are read before anything is opened, for what is wrong with them is said first; an API server may take long.
  if (config.manifests.length > 0) await whole;
  const node = resources.use(await context.openNode(config, 'write'));
  for (const note of node.notes) journal.line(`note: ${note}`);
  const healthChecks = resources.use(await context.openHealthChecks((line) => journal.line(line)));
  const observer = observerOf(journal);
  const sync = new NodeSync(config, { context, node, source, healthChecks, observer });
  const links = resources.use(node.watchLinks(() => sync.localAddresses, signal));
  // Listened to before the first sync, so that no change falls in between.
  await links.next();
  await whole;
  const loop = new SyncLoop((reasons, until) => sync.sync(reasons, until), {
    auditIntervalMs: config.audit.intervalSeconds * 1000,
    onError: (error) => {
      // What has never worked is not expected to by itself: whoever started it should know.
      if (!sync.hasSynced) throw error;
      journal.failed([messageOf(error)]);
    },
  });
  const followFacts = async () => {
    for await (const _ of updates) loop.request(source.reason);
  };
  const followLinks = async () => {
    for await (const news of links) loop.request(news === 'ours' ? 'link notice' : 'address notice');
  };
  const tasks = [loop.run(signal), followFacts(), followLinks()];
  try {
    await Promise.all(tasks);
  } finally {
    ended.abort();
    await Promise.allSettled(tasks);
  }
}

async function openSource(
  context: CliContext,
  config: Config,
  journal: RunJournal,
  resources: AsyncDisposableStack,
): Promise<FactSource> {
  const report = {
    failed: (message: string) => journal.line(`failed: ${message}`),
    filtered: journal.filtered.bind(journal),
  };
  if (config.manifests.length > 0) return new FileFacts(context, config, report);
  return new ClusterFacts(resources.use(await context.openCluster(config, nodeNameOf(config, context))), {});
}

function observerOf(journal: RunJournal): SyncObserver {
  return {
    begun: () => undefined,
    synced: ({ rounds, reasons }) => journal.synced(rounds, reasons),
    audited: ({ ops, isRepaired }) => journal.drifted(isRepaired ? [] : ops),
    rejected: (rejected) => journal.rejected(rejected),
    guarded: (guard) => journal.failed(guard ? [guard.reason] : []),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
