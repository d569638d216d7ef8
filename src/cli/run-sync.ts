import type { FactChanges } from '../cluster/fact-store.ts';
import type { Config } from '../config.ts';
import { nodeContext } from '../desired/derive.ts';
import type { NodeContext } from '../desired/frontends.ts';
import { type DerivationInput, ServiceIndex } from '../desired/service-index.ts';
import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { Rejected } from '../model/rejected.ts';
import type { AuditRecord, GuardRecord, SyncRecord } from '../status/records.ts';
import { Exclusive } from '../sync/exclusive.ts';
import { IncrementalSync, type Seen } from '../sync/incremental.ts';
import type { SyncOutcome } from '../sync/loop.ts';
import { PacedAudit } from '../sync/paced-audit.ts';
import { needsOf } from '../sync/scoped-stage.ts';
import { observeStages, operationsOf, planSync } from '../sync/sync-once.ts';
import type { Reason } from '../sync/trigger.ts';
import type { CliContext, HealthCheckAnswers, NodeAccess } from './context.ts';
import { deriveOptionsOf } from './load-desired.ts';
import { NodeGuard } from './run-guard.ts';
import type { FactSource } from './run-sources.ts';

/** Whom syncs are told to. */
export interface SyncObserver {
  /** @param changes that it takes up */
  begun(changes: FactChanges): void;
  synced(record: SyncRecord): void;
  audited(record: AuditRecord): void;
  /** After each look at everything. @param rows of somebody else, by name */
  foreign(rows: readonly string[]): void;
  /** All that is not served; the same list again while it says the same. */
  rejected(rejected: readonly Rejected[]): void;
  /** @param guard null while nothing is held back */
  guarded(guard: GuardRecord | null): void;
}

/** What a sync of `run` works with. */
export interface RunEnvironment {
  readonly context: CliContext;
  readonly node: NodeAccess;
  readonly source: Pick<FactSource, 'facts' | 'takeChanges'>;
  readonly healthChecks: HealthCheckAnswers;
  readonly observer: SyncObserver;
}

/** For these reasons everything is looked at, whatever has changed. */
const WHOLE: readonly Reason[] = ['start', 'retry', 'audit', 'link notice', 'configuration changed', 'guard'];

/** What is found to be done for these reasons alone, is what somebody else has changed. */
const OF_DRIFT: readonly Reason[] = ['audit', 'link notice'];

const AUDIT: ReadonlySet<Reason> = new Set(['audit']);

/** Between the looks at two dataplanes: what changes meanwhile need not wait for all of them. */
const AUDIT_STEP_MS = 100;

/** For these reasons the host's own addresses are read again. */
const OF_HOST: readonly Reason[] = [...WHOLE, 'address notice'];

/** Makes this node what the facts mean, whenever it is asked to. */
export class NodeSync {
  readonly #environment: RunEnvironment;
  readonly #guard: NodeGuard;
  readonly #exclusive = new Exclusive();
  #index: ServiceIndex;
  #sync: IncrementalSync<DerivationInput>;
  #config: Config;
  #hostAddresses: readonly IpAddress[] = [];
  #context: { readonly value: NodeContext; readonly text: string } | undefined;
  #foreign: readonly string[] = [];
  #rejected: { readonly of: readonly (readonly Rejected[])[]; readonly all: readonly Rejected[] } | undefined;
  #hasSynced = false;
  readonly #audit = new PacedAudit();
  /** Whether the last sync that was free to change something has left nothing undone. */
  #isRight = false;

  constructor(config: Config, environment: RunEnvironment) {
    this.#environment = environment;
    this.#config = config;
    this.#guard = new NodeGuard(config.guard, environment.context.nowMs);
    [this.#index, this.#sync] = this.#anew();
  }

  /** Nothing is known of the kernel then: the next sync is a whole one. */
  #anew(): [ServiceIndex, IncrementalSync<DerivationInput>] {
    const { stages, scopedStages } = this.#environment.node;
    const index = new ServiceIndex({ needsOf: needsOf(scopedStages) });
    const source = {
      derive: (input: DerivationInput) => index.derive(input),
      change: (input: DerivationInput, services: Iterable<string>) => index.change(input, services),
      get desired() {
        return index.desired;
      },
    };
    const { minDeletes } = this.#config.guard;
    const guarded = { guard: this.#guard, maxUnjudgedDeletes: minDeletes };
    return [index, new IncrementalSync({ stages, scopedStages, source, ...guarded })];
  }

  /** What the node was, or is being made; undefined before the first sync. Derived anew where that is needed. */
  get desired(): DesiredState | undefined {
    return this.#index.desired;
  }

  /** Addresses that are, or will be, local on this node for Services; live. */
  get localAddresses(): ReadonlySet<IpAddress> {
    return this.#sync.localAddresses;
  }

  /** All that is not served, of the input and by the dataplanes. */
  get rejected(): readonly Rejected[] {
    const of = [this.#index.rejected, this.#sync.rejected];
    if (!this.#rejected?.of.every((list, i) => list === of[i])) this.#rejected = { of, all: of.flat() };
    return this.#rejected?.all ?? [];
  }

  /** What of somebody else the last look at everything has seen, by name. */
  get foreign(): readonly string[] {
    return this.#foreign;
  }

  /** Whether a sync has come to its end, though operations may have failed. */
  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** From the next sync on, which is a whole one. The node has to be configured before. */
  configure(config: Config): void {
    this.#config = config;
    this.#guard.options = config.guard;
    this.#context = undefined;
    [this.#index, this.#sync] = this.#anew();
  }

  /** Does something while no sync runs: a channel to the kernel has one user at a time. */
  between<Result>(body: () => Promise<Result>): Promise<Result> {
    return this.#exclusive.run(body);
  }

  /** What is held back may go with the next sync. @returns whether anything was */
  releaseGuard(): boolean {
    return this.#guard.release();
  }

  /** @throws as the dataplanes, where the channel to the kernel is broken or the ledger can't be written */
  sync(reasons: ReadonlySet<Reason>, signal: AbortSignal, asked: AbortSignal): Promise<SyncOutcome> {
    return this.#exclusive.run(() => this.#syncPaced(reasons, signal, asked));
  }

  /** In an audit what has changed is made alone first: else a stream of changes would have each look at everything. */
  async #syncPaced(
    reasons: ReadonlySet<Reason>,
    signal: AbortSignal,
    asked: AbortSignal,
  ): Promise<SyncOutcome> {
    const needsAll = WHOLE.some((reason) => reason !== 'audit' && reasons.has(reason));
    if (!reasons.has('audit') || needsAll || !this.#isRight) return this.#syncAlone(reasons, signal);
    const others = new Set(reasons);
    others.delete('audit');
    const outcome = others.size > 0 ? await this.#syncAlone(others, signal) : this.#outcome('scoped');
    if (outcome.isWhole || !outcome.isComplete) return outcome;
    const seen = await this.#auditCheaply(signal, asked);
    if (seen === 'unknown') return this.#syncAlone(AUDIT, signal);
    return seen === 'asLeft' ? { ...outcome, auditStepMs: AUDIT_STEP_MS } : outcome;
  }

  async #syncAlone(reasons: ReadonlySet<Reason>, signal: AbortSignal): Promise<SyncOutcome> {
    const { source, observer } = this.#environment;
    const before = this.#isRight;
    this.#isRight = false;
    const changes = source.takeChanges();
    const { services, isWhole } = changes;
    observer.begun(changes);
    let kind: SyncRecord['kind'] = 'whole';
    try {
      const isUnchanged = services.size === 0 && !isWhole;
      const isDrift = isUnchanged && [...reasons].every((reason) => OF_DRIFT.includes(reason));
      const isAudit = isUnchanged && reasons.size === 1 && reasons.has('audit');
      const input = { facts: source.facts, context: await this.#contextOf(isWhole, reasons, signal) };
      if (isAudit && !this.#config.audit.repair) {
        await this.#auditWhole(this.#index.derive(input), signal);
        this.#isRight = before;
      } else {
        const request = {
          input,
          changed: services,
          isWhole: isWhole || WHOLE.some((reason) => reasons.has(reason)),
          isDrainCheck: reasons.has('drain'),
        };
        kind = await this.#repair(request, reasons, isDrift && before, signal);
      }
      this.#hasSynced = true;
    } finally {
      if (!signal.aborted) this.#answer(this.#isRight);
    }
    return this.#outcome(kind);
  }

  #outcome(kind: SyncRecord['kind']): SyncOutcome {
    return {
      isComplete: this.#isRight,
      isWhole: kind === 'whole',
      drainCheckMs: this.#environment.node.drainCheckMs(),
      guardCheckMs: this.#guard.checkMs(),
      auditStepMs: null,
    };
  }

  /** The same object again while nothing in it changes: all that was derived in it stays valid. */
  async #contextOf(
    isWhole: boolean,
    reasons: ReadonlySet<Reason>,
    signal: AbortSignal,
  ): Promise<NodeContext> {
    const { context, node, source } = this.#environment;
    const looksAtHost = OF_HOST.some((reason) => reasons.has(reason));
    if (this.#context && !isWhole && !looksAtHost) return this.#context.value;
    if (looksAtHost) this.#hostAddresses = await node.hostAddresses(signal);
    const host = { hostAddresses: this.#hostAddresses, followHost: true };
    const { otherNodes, ...rest } = nodeContext(source.facts, deriveOptionsOf(context, this.#config, host));
    // The facts change in place, and a context must not.
    const value = { ...rest, otherNodes: new Map(otherNodes) };
    const text = textOf(value);
    if (this.#context?.text !== text) this.#context = { value, text };
    return this.#context.value;
  }

  async #repair(
    request: Parameters<IncrementalSync<DerivationInput>['sync']>[0],
    reasons: ReadonlySet<Reason>,
    isDriftOnly: boolean,
    signal: AbortSignal,
  ): Promise<SyncRecord['kind']> {
    const { context, observer } = this.#environment;
    const begunAtMs = context.nowMs();
    const { kind, rounds, plan, last, isComplete } = await this.#sync.sync(request, signal);
    this.#isRight = isComplete;
    if (kind === 'whole') {
      this.#audit.reset();
      this.#sawForeign(last.foreign);
    }
    const endedAtMs = context.nowMs();
    if (isDriftOnly) {
      observer.audited({
        atMs: endedAtMs,
        ops: operationsOf(plan),
        isRepaired: true,
        foreign: this.#foreign,
      });
    }
    observer.synced({ kind, reasons, begunAtMs, endedAtMs, rounds, isComplete });
    observer.rejected(this.rejected);
    observer.guarded(this.#guard.record());
    return kind;
  }

  /** The next step of an audit. @returns what it has seen; `unknown` is for a look at everything to find out */
  async #auditCheaply(signal: AbortSignal, asked: AbortSignal): Promise<Seen> {
    const seen = await this.#audit.next((step, look) => this.#sync.look(step, look), signal, asked);
    if (seen !== 'allAsLeft') return seen;
    const { context, observer } = this.#environment;
    const isRepaired = this.#config.audit.repair;
    observer.audited({ atMs: context.nowMs(), ops: [], isRepaired, foreign: this.#foreign });
    return seen;
  }

  /** Only looks. Drift that is left on purpose is no failure. */
  async #auditWhole(desired: DesiredState, signal: AbortSignal): Promise<void> {
    const { context, node, observer } = this.#environment;
    const plan = planSync(await observeStages(node.stages, signal), desired);
    this.#sawForeign(plan.foreign);
    const ops = operationsOf(plan);
    observer.audited({ atMs: context.nowMs(), ops, isRepaired: false, foreign: this.#foreign });
  }

  #sawForeign(rows: readonly string[]): void {
    this.#foreign = rows;
    this.#environment.observer.foreign(rows);
  }

  #answer(isHealthy: boolean): void {
    const { healthChecks } = this.#environment;
    if (!this.#context) return;
    const { nodePortAddresses } = this.#config;
    const isEverywhere = nodePortAddresses !== 'primary' && nodePortAddresses.length === 0;
    const addresses = isEverywhere ? null : this.#context.value.nodePortAddresses;
    healthChecks.update({ checks: this.#guard.healthChecks(this.#index.healthChecks), addresses, isHealthy });
  }
}

/** Equal text, equal context. */
function textOf(context: NodeContext): string {
  return JSON.stringify(context, (_, value: unknown) => {
    if (value instanceof Map) return [...value];
    return value instanceof Set ? [...value] : value;
  });
}
