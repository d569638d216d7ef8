import { delayAfter, SYNC_BACKOFF } from './backoff.ts';
import { dueAtMs, IDLE, type Reason, type Trigger, withChange, withSync } from './trigger.ts';

/** How a sync has left the node. */
export interface SyncOutcome {
  /** Nothing is left undone; else it is tried again. */
  readonly isComplete: boolean;
  /** Whether everything was looked at, so that an audit would find nothing. */
  readonly isWhole: boolean;
  /** When connections should be looked at again, in milliseconds from now; null if none is waited for. */
  readonly drainCheckMs: number | null;
  /** When what the guard holds back may go, in milliseconds from now; null if nothing is held back. */
  readonly guardCheckMs: number | null;
  /** When the audit that this sync was a step of goes on, in milliseconds from now; null if it is over. */
  readonly auditStepMs: number | null;
}

const FAILED: SyncOutcome = {
  isComplete: false,
  isWhole: false,
  drainCheckMs: null,
  guardCheckMs: null,
  auditStepMs: null,
};

/**
 * One sync. A throw is a failure that is tried again.
 * @param asked aborted when the next one is asked for, which a look may give way to
 */
export type Sync = (
  reasons: ReadonlySet<Reason>,
  signal: AbortSignal,
  asked: AbortSignal,
) => Promise<SyncOutcome>;

export interface LoopOptions {
  /** Everything is looked at at least this often, in milliseconds; 0 for never without a reason. */
  readonly auditIntervalMs: number;
  /** Told of each sync that threw. */
  onError(error: unknown): void;
  /** @default Math.random */
  readonly random?: () => number;
}

/**
 * Keeps a node in sync: one sync at a time, at the start, for each change, again after failures, while connections
 * drain, and as an audit.
 */
export class SyncLoop {
  readonly #sync: Sync;
  readonly #options: LoopOptions;
  #auditIntervalMs: number;
  #trigger: Trigger = IDLE;
  #wake: () => void = () => undefined;
  /** Aborted when somebody asks for a sync while one runs. */
  #asked = new AbortController();
  /** When the loop acts by itself. */
  readonly #timers = new Map<Reason, number>();
  #failures = 0;

  constructor(sync: Sync, options: LoopOptions) {
    this.#sync = sync;
    this.#options = options;
    this.#auditIntervalMs = options.auditIntervalMs;
  }

  /** Asks for a sync; returns at once. */
  request(reason: Reason): void {
    this.#trigger = withChange(this.#trigger, reason, performance.now());
    this.#asked.abort();
    this.#wake();
  }

  /** From the end of the next whole sync on. */
  set auditIntervalMs(intervalMs: number) {
    this.#auditIntervalMs = intervalMs;
  }

  /** When what has failed is tried again, in milliseconds from now; null if nothing has. */
  get retryInMs(): number | null {
    const atMs = this.#timers.get('retry');
    return atMs === undefined ? null : Math.max(0, atMs - performance.now());
  }

  /** Until aborted: what is being done then stops between two operations, and nothing is undone. */
  async run(signal: AbortSignal): Promise<void> {
    this.request('start');
    while (!signal.aborted) {
      const waitMs = this.#nextAtMs() - performance.now();
      if (waitMs > 0) await this.#sleep(waitMs, signal);
      else await this.#syncNow(signal);
    }
  }

  #nextAtMs(): number {
    return Math.min(dueAtMs(this.#trigger) ?? Number.POSITIVE_INFINITY, ...this.#timers.values());
  }

  async #syncNow(signal: AbortSignal): Promise<void> {
    const nowMs = performance.now();
    const due = [...this.#timers].filter(([, atMs]) => atMs <= nowMs).map(([reason]) => reason);
    const reasons = new Set([...(this.#trigger.pending?.reasons ?? []), ...due]);
    // What is due by time is no rest that a change would have to wait for.
    if (this.#trigger.pending) this.#trigger = withSync(nowMs);
    this.#asked = new AbortController();
    let outcome: SyncOutcome;
    try {
      outcome = await this.#sync(reasons, signal, this.#asked.signal);
    } catch (error) {
      if (signal.aborted) return;
      this.#options.onError(error);
      outcome = FAILED;
    }
    this.#schedule(outcome, reasons);
  }

  /** A stream of changes must not hold off what is due by time: only what this sync has looked at begins anew. */
  #schedule(outcome: SyncOutcome, reasons: ReadonlySet<Reason>): void {
    const { random = Math.random } = this.#options;
    const auditIntervalMs = this.#auditIntervalMs;
    const { isComplete, isWhole, drainCheckMs, guardCheckMs, auditStepMs } = outcome;
    const nowMs = performance.now();
    this.#failures = isComplete ? 0 : this.#failures + 1;
    this.#set('retry', isComplete ? null : nowMs + delayAfter(this.#failures, random(), SYNC_BACKOFF));
    const drainAtMs = drainCheckMs === null ? null : nowMs + drainCheckMs;
    const earlier = isWhole || reasons.has('drain') ? undefined : this.#timers.get('drain');
    this.#set(
      'drain',
      drainAtMs === null || earlier === undefined ? drainAtMs : Math.min(drainAtMs, earlier),
    );
    this.#set('guard', guardCheckMs === null ? null : nowMs + guardCheckMs);
    if (isWhole || reasons.has('audit') || !this.#timers.has('audit')) {
      this.#set('audit', auditIntervalMs > 0 ? nowMs + (auditStepMs ?? auditIntervalMs) : null);
    }
  }

  #set(reason: Reason, atMs: number | null): void {
    if (atMs === null) this.#timers.delete(reason);
    else this.#timers.set(reason, atMs);
  }

  /** Until the time is up, somebody asks for a sync, or the end. */
  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        this.#wake = () => undefined;
        resolve();
      };
      // Without a timer that is due some day, only a request or the end wakes it.
      const timer = setTimeout(end, Math.min(ms, MAX_SLEEP_MS));
      signal.addEventListener('abort', end);
      this.#wake = end;
    });
  }
}

/** What setTimeout takes, a 32-bit number, and more than any wait. */
const MAX_SLEEP_MS = 2 ** 31 - 1;
