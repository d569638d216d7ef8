import type { Look } from '../dataplane/dataplane.ts';
import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import { compareRejected, type Rejected } from '../model/rejected.ts';
import { emptiedBetween } from './emptied.ts';
import type { DeletionCounts } from './guard.ts';
import type { ScopedChange, ScopedStage } from './scoped-stage.ts';
import type { StageState } from './stage.ts';
import {
  applySync,
  deletedServers,
  isComplete,
  planSync,
  type Stages,
  type SyncGuard,
  type SyncPlan,
  type SyncReport,
  syncOnce,
} from './sync-once.ts';

/** What is wanted, as it follows from `Input`, and what becomes of it. */
export interface DesiredSource<Input> {
  /** All of it, derived anew. */
  readonly derive: (input: Input) => DesiredState;
  /**
   * What has become of some Services since the last call, together with all that share something with them.
   * @param services `namespace/name`
   * @returns null where only `derive` can tell
   */
  readonly change: (
    input: Input,
    services: Iterable<string>,
  ) => (ScopedChange & { readonly services: number }) | null;
  /** All of it as of the last call; undefined before the first. */
  readonly desired: DesiredState | undefined;
}

export interface IncrementalOptions<Input> {
  /** In make order. */
  readonly stages: Stages;
  /** The same dataplanes. */
  readonly scopedStages: readonly ScopedStage[];
  readonly source: DesiredSource<Input>;
  /** Judges whole syncs, and is told of what scoped ones delete. */
  readonly guard?: SyncGuard;
  /** So many virtual servers may lose their Services between two whole syncs, for the guard to judge. @default 10 */
  readonly maxUnjudgedDeletes?: number;
}

export interface SyncRequest<Input> {
  readonly input: Input;
  /** `namespace/name` of the Services that may have changed since the last call. */
  readonly changed: Iterable<string>;
  /** Whether everything is to be looked at, as after a change of the node, and as an audit. */
  readonly isWhole: boolean;
  /** Whether real servers that drain are to be looked at. */
  readonly isDrainCheck: boolean;
}

export interface IncrementalResult {
  readonly kind: 'whole' | 'scoped';
  /** The first plan. */
  readonly plan: SyncPlan;
  readonly rounds: readonly SyncReport[];
  /** The last plan, after failures another than the first. */
  readonly last: SyncPlan;
  /** Nothing is left undone. */
  readonly isComplete: boolean;
  /** Whether the guard keeps virtual servers that are not wanted any more. */
  readonly isHeld: boolean;
  /** How many Services were looked at; null for all. */
  readonly services: number | null;
  /** Virtual servers that this change has left unwanted, deleted or draining; null where everything was looked at. */
  readonly unwanted: number | null;
}

/** What a step of a look has seen; see IncrementalSync.look. */
export type Seen = 'asLeft' | 'allAsLeft' | 'unknown';

const MAX_UNJUDGED_DELETES = 10;

/** So many audits look closely at everything, a part each: all of it at once would keep changes waiting. */
const PARTS = 40;

/**
 * Syncs at a cost that follows the change: the kernel is as the last sync left it, but for what only it knows, so that
 * only rows of Services that changed are planned. Whole syncs are the truth that heals everything: the first sync, one
 * after any failure, and all that are asked for.
 */
export class IncrementalSync<Input> {
  readonly #options: IncrementalOptions<Input>;
  /** Whether the kernel is as the last sync wanted it. */
  #isSettled = false;
  #unjudged = 0;
  /** That is looked at closely next. */
  #part = 0;
  #localAddresses: Set<IpAddress> | undefined;
  #rejected: readonly Rejected[] = [];

  constructor(options: IncrementalOptions<Input>) {
    this.#options = options;
  }

  /** @throws as the dataplanes, where the channel to the kernel is broken or the ledger can't be written */
  async sync(request: SyncRequest<Input>, signal: AbortSignal): Promise<IncrementalResult> {
    const isScoped = this.#isSettled && !request.isWhole;
    this.#isSettled = false;
    const scoped = isScoped ? await this.#syncScoped(request, signal) : null;
    const isEnough = scoped && (scoped.isComplete || signal.aborted);
    const result = isEnough ? scoped : await this.#syncWhole(request.input, scoped, signal);
    this.#isSettled = result.isComplete && !result.isHeld;
    return result;
  }

  /**
   * A cheap look at what one stage has in the kernel, or a closer one at the next part of it; changes nothing.
   * @param step 0, 1, …: stages in the order in which they are observed, cheaply, then closely
   * @throws as `look`, where it is not to go on
   * @returns `asLeft`, and after the last step `allAsLeft`; `unknown` where something may be to be done, for a whole
   *   sync to find out
   */
  async look(step: number, look: Look): Promise<Seen> {
    const { stages, source } = this.#options;
    const { desired } = source;
    const stage = stages.at(-1 - (step % stages.length));
    if (!this.#isSettled || !desired || !stage) return 'unknown';
    const part = { index: this.#part, of: PARTS };
    const is = await (step < stages.length
      ? stage.isAsWanted(desired, look)
      : stage.isPartAsWanted(desired, part, look));
    if (!is) return 'unknown';
    if (step < 2 * stages.length - 1) return 'asLeft';
    this.#part = (this.#part + 1) % PARTS;
    return 'allAsLeft';
  }

  /** What is, or will be, local on this node for Services; live. */
  get localAddresses(): ReadonlySet<IpAddress> {
    const { source, scopedStages } = this.#options;
    if (!this.#localAddresses) {
      const { desired } = source;
      if (!desired) return new Set();
      this.#localAddresses = new Set(scopedStages.flatMap((stage) => [...stage.localAddresses(desired)]));
    }
    return this.#localAddresses;
  }

  /** What the dataplanes refused or found to be somebody else's, as of the last look at each; sorted. */
  get rejected(): readonly Rejected[] {
    return this.#rejected;
  }

  async #syncWhole(
    input: Input,
    scoped: IncrementalResult | null,
    signal: AbortSignal,
  ): Promise<IncrementalResult> {
    const { stages, source, guard } = this.#options;
    this.#localAddresses = undefined;
    const desired = source.derive(input);
    let isHeld = false;
    const review = (counts: DeletionCounts) => {
      const verdict = guard?.review(counts) ?? 'pass';
      isHeld = verdict === 'hold';
      return verdict;
    };
    const deleted = (count: number) => guard?.deleted(count);
    const judged = guard && { review, deleted };
    const { plan, rounds, last } = await syncOnce(stages, desired, signal, judged);
    this.#unjudged = 0;
    this.#rejected = last.rejected;
    return {
      kind: 'whole',
      plan: scoped?.plan ?? plan,
      rounds: [...(scoped?.rounds ?? []), ...rounds],
      last,
      isComplete: isComplete(rounds.at(-1)),
      isHeld,
      services: null,
      unwanted: null,
    };
  }

  /** @returns null where everything is to be looked at; nothing was done then */
  async #syncScoped(
    { input, changed, isDrainCheck }: SyncRequest<Input>,
    signal: AbortSignal,
  ): Promise<IncrementalResult | null> {
    const { scopedStages, source, guard, maxUnjudgedDeletes = MAX_UNJUDGED_DELETES } = this.#options;
    const draining = isDrainCheck ? scopedStages.flatMap((stage) => [...stage.drainingServices()]) : [];
    const change = source.change(input, new Set([...changed, ...draining]));
    if (!change) return null;
    const unwanted = unwantedBy(change);
    if (unwanted > 0 && this.#unjudged + unwanted >= maxUnjudgedDeletes) return null;
    const emptied = emptiedBetween(change.before, change.after);
    if (guard && !guard.permits({ unwanted, emptied })) return null;
    const states = await this.#observe(change, isDrainCheck, signal);
    if (!states) return null;
    this.#moveAddresses(change);
    const plan = planSync(states, change.after);
    const report = await applySync(plan, signal);
    guard?.deleted(deletedServers(report).length);
    if (emptied.size > 0) guard?.emptied(emptied);
    this.#unjudged += unwanted;
    this.#addRejected(plan.rejected);
    return {
      kind: 'scoped',
      plan,
      rounds: [report],
      last: plan,
      isComplete: isComplete(report),
      isHeld: false,
      services: change.services,
      unwanted,
    };
  }

  /** In the order of observeStages; nothing where nothing has changed. */
  async #observe(
    change: ScopedChange,
    isDrainCheck: boolean,
    signal: AbortSignal,
  ): Promise<readonly StageState[] | null> {
    if (!isDrainCheck && isUnchanged(change)) return [];
    const states: StageState[] = [];
    for (const stage of this.#options.scopedStages.toReversed()) {
      const state = await stage.observe(change, isDrainCheck, signal);
      if (!state) return null;
      states.unshift(state);
    }
    return states;
  }

  #moveAddresses({ before, after }: ScopedChange): void {
    const local = this.#localAddresses;
    if (!local) return;
    for (const stage of this.#options.scopedStages) {
      for (const address of stage.localAddresses(before)) local.delete(address);
      for (const address of stage.localAddresses(after)) local.add(address);
    }
  }

  /** What is refused no longer is forgotten by the next whole sync. */
  #addRejected(rejected: readonly Rejected[]): void {
    const known = new Set(this.#rejected.map(textOf));
    const added = rejected.filter((one) => !known.has(textOf(one)));
    if (added.length > 0) this.#rejected = [...this.#rejected, ...added].sort(compareRejected);
  }
}

function textOf({ subject, reason }: Rejected): string {
  return `${subject}: ${reason}`;
}

function isUnchanged({ before, after }: ScopedChange): boolean {
  if (before.virtualServers.size !== after.virtualServers.size) return false;
  for (const [key, virtualServer] of before.virtualServers) {
    if (after.virtualServers.get(key) !== virtualServer) return false;
  }
  return true;
}

function unwantedBy({ before, after }: ScopedChange): number {
  let unwanted = 0;
  for (const key of before.virtualServers.keys()) if (!after.virtualServers.has(key)) unwanted += 1;
  return unwanted;
}
