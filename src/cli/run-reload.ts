import type { SyncLoop } from '../sync/loop.ts';
import type { ConfigNews } from './config-watch.ts';
import type { NodeAccess } from './context.ts';
import { reloadPlan, withValueOf } from './reload.ts';
import type { RunStatus } from './run-status.ts';
import type { NodeSync } from './run-sync.ts';
import type { ResolvedConfig } from './settings.ts';
import { socketsLine } from './sockets.ts';

/** What a changed configuration reaches. */
export interface ReloadTargets {
  readonly status: RunStatus;
  readonly node: NodeAccess;
  readonly sync: NodeSync;
  readonly loop: SyncLoop;
}

/** Puts into force what can change while the daemon runs, and says what has to wait for a restart. */
export class RunReload {
  readonly #targets: ReloadTargets;
  #inForce: ResolvedConfig;

  constructor(inForce: ResolvedConfig, targets: ReloadTargets) {
    this.#inForce = inForce;
    this.#targets = targets;
  }

  async take(news: ConfigNews): Promise<void> {
    const { status, node, sync, loop } = this.#targets;
    const problem = 'error' in news ? [`${news.error.message}; what was read before stays in force`] : [];
    status.log.told('configuration', problem);
    if ('error' in news) return;
    const { immediate, restart, config } = reloadPlan(this.#inForce.config, news.config);
    status.log.told(
      'notes',
      news.notes.map((note) => `note: ${note}`),
    );
    status.log.told(
      'restart',
      restart.map(({ key, reason }) => `configuration: ${key} counts after a restart: ${reason}`),
    );
    if (immediate.length === 0) return;
    status.log.info(`configuration: in force: ${immediate.join(', ')}`);
    const kept = restart.map(({ key }) => key);
    const written = kept.reduce((all, key) => withValueOf(all, key, this.#inForce.written), news.written);
    this.#inForce = { ...news, config, written };
    await status.configure(this.#inForce);
    loop.auditIntervalMs = config.audit.intervalSeconds * 1000;
    await sync.between(async () => {
      await node.configure(config);
      sync.configure(config);
    });
    if (immediate.includes('socketLoadBalancer.mode')) status.log.info(socketsLine(node.sockets(undefined)));
    loop.request('configuration changed');
  }
}
