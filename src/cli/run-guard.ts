import type { HealthCheck } from '../model/desired-state.ts';
import { checksWhileHeld } from '../status/health-check.ts';
import type { GuardRecord } from '../status/records.ts';
import {
  confirmGuard,
  type DeletionCounts,
  type GuardOptions,
  guardCheckMs,
  isHarmless,
  type PartialLoss,
  recordDeletions,
  recordEmptied,
  reviewGuard,
  UNGUARDED,
} from '../sync/guard.ts';
import type { SyncGuard } from '../sync/sync-once.ts';

/** The guard of this node: the state of its pure part. */
export class NodeGuard implements SyncGuard {
  options: GuardOptions;
  readonly #nowMs: () => number;
  #state = UNGUARDED;
  #reason = '';
  #healthChecks: readonly HealthCheck[] = [];

  /** @param nowMs ms since the epoch */
  constructor(options: GuardOptions, nowMs: () => number) {
    this.options = options;
    this.#nowMs = nowMs;
  }

  review(counts: DeletionCounts): 'pass' | 'hold' {
    const { state, verdict, reason } = reviewGuard(this.#state, counts, this.#nowMs(), this.options);
    this.#state = state;
    this.#reason = reason;
    return verdict;
  }

  deleted(count: number): void {
    this.#state = recordDeletions(this.#state, count, this.#nowMs());
  }

  permits(loss: PartialLoss): boolean {
    return isHarmless(this.#state, loss, this.#nowMs(), this.options);
  }

  emptied(services: Iterable<string>): void {
    this.#state = recordEmptied(this.#state, services, this.#nowMs());
  }

  /** @returns whether anything was held back */
  release(): boolean {
    const before = this.#state;
    this.#state = confirmGuard(before);
    return this.#state !== before;
  }

  /** What is held back; null while nothing is. */
  record(): GuardRecord | null {
    const { hold } = this.#state;
    if (!hold) return null;
    const untilMs = hold.sinceMs + this.options.holdSeconds * 1000;
    return { reason: this.#reason, sinceMs: hold.sinceMs, untilMs };
  }

  /** What load balancers are told of this node. @param wanted as the API server says */
  healthChecks(wanted: readonly HealthCheck[]): readonly HealthCheck[] {
    this.#healthChecks = this.#state.hold ? checksWhileHeld(this.#healthChecks, wanted) : wanted;
    return this.#healthChecks;
  }

  /** When a hold ends by itself, in milliseconds from now; null while nothing is held. */
  checkMs(): number | null {
    return guardCheckMs(this.#state, this.#nowMs(), this.options);
  }
}
