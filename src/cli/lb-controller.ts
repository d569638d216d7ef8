import type { WatchState } from '../cluster/api-kind-watch.ts';
import type { RoundReport } from '../load-balancer/loop.ts';
import { occurrenceOf } from '../load-balancer/occurrence.ts';
import { poolUsage, verdictCounts } from '../load-balancer/usage.ts';
import type { LoadBalancerAccess } from '../load-balancer-host.ts';
import { parseBindAddress } from '../status/bind-address.ts';
import { LoadBalancerMetrics } from '../status/load-balancer-metrics.ts';
import type { DaemonLog } from '../status/log.ts';
import type { HttpAnswer, StatusServer } from '../status/status-http.ts';
import { watchConfig } from './config-watch.ts';
import { type CliContext, EXIT, type ExitCode } from './context.ts';
import type { ResolvedConfig } from './settings.ts';
import { type Invocation, readConfig, type Verb } from './verb.ts';

export const lbControllerVerb: Verb = {
  name: 'lb-controller',
  arguments: '',
  summary:
    'gives Services of type LoadBalancer addresses from the configured pools; of several only one is at work',
  exitCodes: '0 stopped by SIGTERM or SIGINT; 1 error',
  options: [],
  run: lbController,
};

/** An API server that has not answered for so long is told of; a Lease is renewed every two seconds. */
const SILENT_MS = 30_000;

async function lbController({ context, given }: Invocation): Promise<ExitCode> {
  const resolved = await readConfig(context, given);
  context.daemon.saveMemory();
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  await using resources = new AsyncDisposableStack();
  const status = resources.use(new ControllerStatus(context, resolved));
  const access = resources.use(
    await context.openLoadBalancer(resolved.config, context.env.POD_NAME ?? context.hostname, status),
  );
  await status.attach(access);
  const follow = async () => {
    for await (const news of watchConfig(context, given, signal)) await status.reconfigure(news, access);
  };
  const tasks = [access.controller.run(signal), access.events.run(signal), follow()];
  try {
    await Promise.all(tasks);
  } finally {
    ended.abort();
    await Promise.allSettled(tasks);
  }
  return EXIT.done;
}

/** What the controller tells of itself: in its log, as health and metrics, in Events. */
class ControllerStatus implements AsyncDisposable {
  readonly #context: CliContext;
  readonly #log: DaemonLog;
  readonly #metrics = new LoadBalancerMetrics();
  readonly #servers: Readonly<Record<'health' | 'metrics', StatusServer>>;
  #resolved: ResolvedConfig;
  #events: LoadBalancerAccess['events'] | undefined;
  #isLeading = false;
  #contactMs: number;

  constructor(context: CliContext, resolved: ResolvedConfig) {
    const { daemon } = context;
    this.#context = context;
    this.#resolved = resolved;
    this.#contactMs = daemon.monotonicMs();
    this.#log = daemon.openLog(resolved.config.log.level);
    const report = (line: string) => this.#log.report(line);
    const health = () => this.#health();
    this.#servers = {
      health: daemon.openServer(
        'health',
        { 'GET /healthz': health, 'GET /readyz': health, 'GET /livez': () => text(200, 'ok\n') },
        report,
      ),
      metrics: daemon.openServer('metrics', { 'GET /metrics': () => this.#metrics.answer() }, report),
    };
  }

  async attach(access: LoadBalancerAccess): Promise<void> {
    this.#events = access.events;
    this.#log.info(`lb-controller ${access.identity}: waits for the Lease at ${access.server}`);
    await this.#configure();
  }

  /** A file that is broken changes nothing. */
  async reconfigure(
    news: ResolvedConfig | { readonly error: Error },
    access: LoadBalancerAccess,
  ): Promise<void> {
    if ('error' in news) {
      this.#log.report(`failed: ${news.error.message}; what was read before stays in force`);
      return;
    }
    this.#resolved = news;
    await this.#configure();
    access.controller.look();
  }

  rules() {
    return this.#resolved.config.loadBalancer;
  }

  onLeading(isLeading: boolean): void {
    this.#isLeading = isLeading;
    this.#metrics.leads(isLeading);
    this.#log.info(
      isLeading ? 'leads: gives addresses from now on' : 'does not lead any more: writes nothing',
    );
  }

  onRound({ decisions, written, failures }: RoundReport): void {
    for (const { key, verdict, addresses, reason } of written) {
      const line = `Service ${key}: ${verdict}: ${reason || 'no address'}`;
      if (verdict === 'assign' || verdict === 'keep' || verdict === 'free') this.#log.info(line);
      else
        this.#log.warn(addresses.length > 0 || verdict === 'conflict' ? line : `${line}; it has no address`);
    }
    this.#log.failed(failures.filter((message) => !message.startsWith('outdated: ')));
    const counts = { written: written.length, failed: failures.length };
    // One that could not begin has decided nothing.
    if (decisions.size === 0 && failures.length > 0) return;
    const { pools } = this.rules();
    this.#metrics.decided(poolUsage(pools, decisions.values()), verdictCounts(decisions.values()), counts);
    if (this.#resolved.config.events)
      this.#events?.record(written.flatMap((each) => occurrenceOf(each) ?? []));
  }

  onWatch({ kind, state, error }: WatchState): void {
    if (state === 'failing') this.#log.watching(kind, error?.message ?? 'fails');
    else if (state === 'watching') this.#log.watching(kind, '');
  }

  onLeaseFailure(message: string): void {
    this.#metrics.leaseFailed();
    this.#log.watching('Lease', message);
  }

  onContact(): void {
    this.#contactMs = this.#context.daemon.monotonicMs();
    this.#log.watching('Lease', '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of Object.values(this.#servers)) await server[Symbol.asyncDispose]();
  }

  async #configure(): Promise<void> {
    const { healthzBindAddress, metricsBindAddress, loadBalancer, log } = this.#resolved.config;
    this.#log.level = log.level;
    const noPools = 'loadBalancer.pools is empty: there are no addresses to give';
    this.#log.told('pools', loadBalancer.pools.length === 0 ? [noPools] : []);
    await this.#servers.health.rebind(parseBindAddress(healthzBindAddress) ?? null);
    await this.#servers.metrics.rebind(parseBindAddress(metricsBindAddress) ?? null);
  }

  #health(): HttpAnswer {
    const silentMs = this.#context.daemon.monotonicMs() - this.#contactMs;
    if (silentMs > SILENT_MS) {
      return text(503, `the API server has not answered for ${Math.round(silentMs / 1000)} s\n`);
    }
    return text(200, this.#isLeading ? 'ok: leads\n' : 'ok: another one leads\n');
  }
}

function text(status: number, body: string): HttpAnswer {
  return { status, type: 'text/plain; charset=utf-8', body };
}
