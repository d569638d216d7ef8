import type { Config } from '../config.ts';
import { type Sync, SyncLoop } from '../sync/loop.ts';
import { type ConfigNews, watchConfig } from './config-watch.ts';
import {
  type CliContext,
  type ClusterAccess,
  type DaemonAccess,
  EXIT,
  type ExitCode,
  type NodeAccess,
  UsageError,
} from './context.ts';
import { kubeProxyOptions } from './kube-proxy-options.ts';
import { nodeNameOf, requireSource } from './load-desired.ts';
import { RunReload } from './run-reload.ts';
import { ClusterFacts, type FactSource, FileFacts } from './run-sources.ts';
import { RunStatus } from './run-status.ts';
import { NodeSync } from './run-sync.ts';
import type { ResolvedConfig } from './settings.ts';
import { socketsLine } from './sockets.ts';
import { type Invocation, readConfig, type Verb } from './verb.ts';

export const runVerb: Verb = {
  name: 'run',
  arguments: '',
  summary: 'the daemon: keeps this node in sync with an API server, or with files, until it is stopped',
  exitCodes: '0 stopped by SIGTERM or SIGINT, the kernel is left as it is; 1 error',
  options: kubeProxyOptions(),
  run: (invocation) => run(invocation),
};

async function run(invocation: Invocation): Promise<ExitCode> {
  const { context, given } = invocation;
  const resolved = await readConfig(context, given);
  requireSource(context, resolved.config);
  if (resolved.config.manifests.includes('-')) {
    throw new UsageError('Cannot follow standard input: name files or directories with -f PATH');
  }
  try {
    await follow(invocation, resolved);
  } catch (error) {
    // What was being done when the end came, was cut off.
    if (!context.signal.aborted) throw error;
  }
  return EXIT.done;
}

async function follow({ context, given }: Invocation, resolved: ResolvedConfig): Promise<void> {
  const { config } = resolved;
  context.daemon.saveMemory();
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  await using resources = new AsyncDisposableStack();
  const status = resources.use(new RunStatus(context, resolved, nodeNameOf(config, context)));
  const { log } = status;
  log.told(
    'notes',
    resolved.notes.map((note) => `note: ${note}`),
  );
  const { source, cluster } = await openSource(context, config, status, resources);
  const updates = resources.use(source.updates(signal));
  const whole = updates.next();
  // Files are read before anything is opened, for what is wrong with them is said first; an API server may take long.
  if (config.manifests.length > 0) await whole;
  const node = resources.use(await context.openNode(config, 'write'));
  resources.defer(() => node.endAnnouncing().catch((error: Error) => log.report(`failed: ${error.message}`)));
  log.told(
    'ledger',
    node.notes.map((note) => `note: ${note}`),
  );
  log.info(socketsLine(node.sockets(undefined)));
  const healthChecks = resources.use(context.daemon.openHealthChecks((line) => log.report(line)));
  const sync = new NodeSync(config, { context, node, source, healthChecks, observer: status });
  const syncNode = collectingOnce((...request) => sync.sync(...request), context.daemon);
  const loop = new SyncLoop(syncNode, {
    auditIntervalMs: config.audit.intervalSeconds * 1000,
    onError: (error) => {
      // What has never worked is not expected to by itself: whoever started it should know.
      if (!sync.hasSynced) throw error;
      status.failed(error);
    },
  });
  status.attach({ node, sync, loop, source, healthChecks }, cluster?.events);
  await status.configure(resolved);
  const links = resources.use(node.watchLinks(() => sync.localAddresses, signal));
  // Listened to before the first sync, so that no change falls in between.
  await links.next();
  await whole;
  status.updated(source.ownNode);
  const tasks = [
    loop.run(signal),
    followFacts(updates, source, status, loop),
    followLinks(links, status, loop),
    followConfig(watchConfig(context, given, signal), new RunReload(resolved, { status, node, sync, loop })),
    cluster?.events.run(signal),
  ];
  try {
    await Promise.all(tasks);
  } finally {
    ended.abort();
    await Promise.allSettled(tasks);
  }
}

/** Else a node on which little changes keeps what the first look at everything has left: a quarter of its memory. */
function collectingOnce(sync: Sync, { collectGarbage }: Pick<DaemonAccess, 'collectGarbage'>): Sync {
  let isDue = true;
  return async (...request) => {
    const outcome = await sync(...request);
    if (isDue && outcome.isWhole && outcome.isComplete) {
      isDue = false;
      collectGarbage();
    }
    return outcome;
  };
}

async function followFacts(
  updates: AsyncGenerator<void>,
  source: FactSource,
  status: RunStatus,
  loop: SyncLoop,
): Promise<void> {
  for await (const _ of updates) {
    status.updated(source.ownNode);
    loop.request(source.reason);
  }
}

async function followLinks(
  links: ReturnType<NodeAccess['watchLinks']>,
  status: RunStatus,
  loop: SyncLoop,
): Promise<void> {
  for await (const news of links) {
    status.queued();
    loop.request(news === 'ours' ? 'link notice' : 'address notice');
  }
}

async function followConfig(news: AsyncGenerator<ConfigNews>, reload: RunReload): Promise<void> {
  for await (const each of news) await reload.take(each);
}

async function openSource(
  context: CliContext,
  config: Config,
  status: RunStatus,
  resources: AsyncDisposableStack,
): Promise<{ readonly source: FactSource; readonly cluster?: ClusterAccess }> {
  const { log } = status;
  if (config.manifests.length === 0) {
    const cluster = resources.use(await context.openCluster(config, nodeNameOf(config, context)));
    return { source: new ClusterFacts(cluster, status.watches), cluster };
  }
  const report = {
    failed: (message: string) => log.report(`failed: ${message}`),
    filtered: async <Result>(topic: string, body: (filtered: CliContext) => Promise<Result>) => {
      const texts: string[] = [];
      const result = await body({ ...context, err: (text) => void texts.push(text) });
      log.told(topic, texts);
      return result;
    },
  };
  return { source: new FileFacts(context, config, report) };
}
