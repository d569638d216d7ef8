import type { ClusterFacts } from '../cluster/facts.ts';
import type { Config } from '../config.ts';
import type { Derivation } from '../desired/derive.ts';
import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { SyncOutcome } from '../sync/loop.ts';
import { isComplete, observeStages, operationsOf, planSync, syncOnce } from '../sync/sync-once.ts';
import type { Reason } from '../sync/trigger.ts';
import type { CliContext, HealthCheckAnswers, NodeAccess } from './context.ts';
import { deriveNode } from './load-desired.ts';
import type { RunJournal } from './run-journal.ts';

/** What a sync of `run` works with. */
export interface RunEnvironment {
  readonly context: CliContext;
  readonly config: Config;
  readonly node: NodeAccess;
  readonly healthChecks: HealthCheckAnswers;
  readonly journal: RunJournal;
}

/** Makes this node what the facts mean, whenever it is asked to. */
export class NodeSync {
  readonly #environment: RunEnvironment;
  #facts: ClusterFacts;
  #last: { facts: ClusterFacts; addresses: readonly IpAddress[]; derivation: Derivation } | undefined;
  #hasSynced = false;
  /** Whether the last sync that was free to change something has left nothing undone. */
  #isRight = false;

  constructor(environment: RunEnvironment, facts: ClusterFacts) {
    this.#environment = environment;
    this.#facts = facts;
  }

  /** From the next sync on. */
  set facts(facts: ClusterFacts) {
    this.#facts = facts;
  }

  /** What the node was, or is being made; undefined before the first sync. */
  get desired(): DesiredState | undefined {
    return this.#last?.derivation.desired;
  }

  /** Whether a sync has come to its end, though operations may have failed. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** @throws as the dataplanes, where the channel to the kernel is broken or the ledger can't be written */
  async sync(reasons: ReadonlySet<Reason>, signal: AbortSignal): Promise<SyncOutcome> {
    const { config, node } = this.#environment;
    const before = this.#isRight;
    this.#isRight = false;
    try {
      const { desired } = await this.#derive(signal);
      const isAudit = reasons.size === 1 && reasons.has('audit');
      if (isAudit && !config.audit.repair) {
        await this.#audit(desired, signal);
        this.#isRight = before;
      } else this.#isRight = await this.#repair(desired, reasons, signal);
      this.#hasSynced = true;
    } finally {
      if (!signal.aborted) this.#answer(this.#isRight);
    }
    return { isComplete: this.#isRight, drainCheckMs: node.drainCheckMs() };
  }

  /** Anew only where something has changed, so that the same desired state costs nothing. */
  async #derive(signal: AbortSignal): Promise<Derivation> {
    const { context, config, node } = this.#environment;
    const addresses = await node.hostAddresses(signal);
    const facts = this.#facts;
    if (this.#last?.facts === facts && this.#last.addresses.join() === addresses.join()) {
      return this.#last.derivation;
    }
    const derivation = deriveNode(context, config, facts, { hostAddresses: addresses, followHost: true });
    this.#last = { facts, addresses, derivation };
    return derivation;
  }

  async #repair(desired: DesiredState, reasons: ReadonlySet<Reason>, signal: AbortSignal): Promise<boolean> {
    const { node, journal } = this.#environment;
    const { rounds, last } = await syncOnce(node.stages, desired, signal);
    journal.synced(rounds, reasons);
    journal.rejected([...desired.rejected, ...last.rejected]);
    journal.drifted([]);
    return isComplete(rounds.at(-1));
  }

  /** Only looks. Drift that is left on purpose is no failure. */
  async #audit(desired: DesiredState, signal: AbortSignal): Promise<void> {
    const { node, journal } = this.#environment;
    journal.drifted(operationsOf(planSync(await observeStages(node.stages, signal), desired)));
  }

  #answer(isHealthy: boolean): void {
    const { config, healthChecks } = this.#environment;
    if (!this.#last) return;
    const { desired, context } = this.#last.derivation;
    const isEverywhere = config.nodePortAddresses !== 'primary' && config.nodePortAddresses.length === 0;
    const addresses = isEverywhere ? null : context.nodePortAddresses;
    healthChecks.update({ checks: desired.healthChecks, addresses, isHealthy });
  }
}
