import type { NodeState } from '../cluster/decode-node.ts';
import type { FactChanges } from '../cluster/fact-store.ts';
import type { ClusterFacts as Facts } from '../cluster/facts.ts';
import type { Config } from '../config.ts';
import type { Reason } from '../sync/trigger.ts';
import type { CliContext, ClusterAccess } from './context.ts';
import { readFacts } from './load-desired.ts';

/** Where `run` has its facts from. */
export interface FactSource {
  /** Whole after the first of {@link updates}. */
  readonly facts: Facts;
  /** What {@link updates} are called in the log. */
  readonly reason: Reason;
  /** What the own Node says about its end; null where there is none. */
  readonly ownNode: NodeState | null;
  /** What has changed in `facts` since the last call. */
  takeChanges(): FactChanges;
  /** Yields when the facts are whole for the first time, and whenever they have changed, until aborted. */
  updates(signal: AbortSignal): AsyncGenerator<void>;
}

/** What a source says about itself: what it passes over, and what it can't read. */
export interface SourceReport {
  failed(message: string): void;
  /** Lets through what `body` says, as far as it did not say it the last time. */
  filtered<Result>(topic: string, body: (context: CliContext) => Promise<Result>): Promise<Result>;
}

/** The manifests of the configuration, read again whenever they have changed. */
export class FileFacts implements FactSource {
  readonly reason = 'files changed';
  readonly ownNode = null;
  readonly #context: CliContext;
  readonly #config: Config;
  readonly #report: SourceReport;
  #facts: Facts | undefined;
  #isNew = false;

  constructor(context: CliContext, config: Config, report: SourceReport) {
    this.#context = context;
    this.#config = config;
    this.#report = report;
  }

  get facts(): Facts {
    if (!this.#facts) throw new Error('Cannot tell facts before the files have been read');
    return this.#facts;
  }

  /** Objects of files have no identity that outlasts a reading: all of them are new. */
  takeChanges(): FactChanges {
    const isWhole = this.#isNew;
    this.#isNew = false;
    return { services: new Set(), isWhole, triggers: [] };
  }

  /** @throws as readManifests, for the first reading alone */
  async *updates(signal: AbortSignal): AsyncGenerator<void> {
    await using files = this.#context.watchManifests(this.#config.manifests, signal);
    // They are listened to before anything is read, so that no change falls in between.
    for await (const _ of files) {
      try {
        this.#facts = await this.#read();
        this.#isNew = true;
      } catch (error) {
        if (!this.#facts || signal.aborted) throw error;
        const message = error instanceof Error ? error.message : String(error);
        this.#report.failed(`${message}; what was read before stays in force`);
        continue;
      }
      yield;
    }
  }

  #read(): Promise<Facts> {
    return this.#report.filtered('reading', (filtered) => readFacts(filtered, this.#config));
  }
}

/** An API server, watched. */
export class ClusterFacts implements FactSource {
  readonly reason = 'cluster changed';
  readonly #cluster: ClusterAccess;
  readonly #told: Parameters<ClusterAccess['watch']>[0];

  /** @param told of what becomes of the watches */
  constructor(cluster: ClusterAccess, told: Parameters<ClusterAccess['watch']>[0]) {
    this.#cluster = cluster;
    this.#told = told;
  }

  get facts(): Facts {
    return this.#cluster.store.facts;
  }

  get ownNode(): NodeState | null {
    return this.#cluster.store.ownNode;
  }

  takeChanges(): FactChanges {
    return this.#cluster.store.takeChanges();
  }

  updates(signal: AbortSignal): AsyncGenerator<void> {
    return this.#cluster.watch(this.#told, signal);
  }
}
