import type { ClusterFacts } from '../cluster/facts.ts';
import type { Config } from '../config.ts';
import { SyncLoop } from '../sync/loop.ts';
import { type CliContext, EXIT, type ExitCode, UsageError } from './context.ts';
import { readFacts, requireManifests, warnOfExposure } from './load-desired.ts';
import { RunJournal } from './run-journal.ts';
import { NodeSync } from './run-sync.ts';
import { configOf, type Invocation, type Verb } from './verb.ts';

export const runVerb: Verb = {
  name: 'run',
  arguments: '',
  summary: 'the daemon: keeps this node in sync with the files and its own addresses, until it is stopped',
  exitCodes: '0 stopped by SIGTERM or SIGINT, the kernel is left as it is; 1 error',
  options: [],
  run: (invocation) => run(invocation),
};

async function run(invocation: Invocation): Promise<ExitCode> {
  const { context } = invocation;
  const config = await configOf(invocation);
  requireManifests(config);
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
  await using files = context.watchManifests(config.manifests, signal);
  // Both are listened to before anything is read, so that no change falls in between.
  await files.next();
  const facts = await readAnew(config, journal);
  await using node = await context.openNode(config, 'write');
  for (const note of node.notes) journal.line(`note: ${note}`);
  await using healthChecks = await context.openHealthChecks((line) => journal.line(line));
  const sync = new NodeSync({ context, config, node, healthChecks, journal }, facts);
  await using links = node.watchLinks(() => sync.desired, signal);
  await links.next();
  const loop = new SyncLoop((reasons, until) => sync.sync(reasons, until), {
    auditIntervalMs: config.audit.intervalSeconds * 1000,
    onError: (error) => {
      // What has never worked is not expected to by itself: whoever started it should know.
      if (!sync.hasSynced) throw error;
      journal.failed([messageOf(error)]);
    },
  });
  const followFiles = async () => {
    for await (const _ of files) {
      try {
        sync.facts = await readAnew(config, journal);
        loop.request('files changed');
      } catch (error) {
        if (!signal.aborted) journal.line(`failed: ${messageOf(error)}; what was read before stays in force`);
      }
    }
  };
  const followLinks = async () => {
    for await (const _ of links) loop.request('address notice');
  };
  const tasks = [loop.run(signal), followFiles(), followLinks()];
  try {
    await Promise.all(tasks);
  } finally {
    ended.abort();
    await Promise.allSettled(tasks);
  }
}

async function readAnew(config: Config, journal: RunJournal): Promise<ClusterFacts> {
  const facts = await journal.filtered('reading', (filtered) => readFacts(filtered, config));
  await journal.filtered('exposure', async (filtered) => warnOfExposure(filtered, config, facts));
  return facts;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
