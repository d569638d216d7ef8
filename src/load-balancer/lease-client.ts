import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiConnection, type ApiResponse, refusal } from '../cluster/api-connection.ts';
import { asObject } from '../cluster/object-fields.ts';
import {
  decodeLease,
  heldLease,
  LEASE_TIMES,
  type LeaseName,
  type LeaseState,
  type LeaseTimes,
  mayTake,
  type ObservedLease,
  observed,
  releasedLease,
} from './lease.ts';

export interface LeaseOptions {
  readonly request: ApiConnection['request'];
  readonly name: LeaseName;
  /** Of this process and no other. */
  readonly identity: string;
  /** How long to wait after this many failures, one after the other, in milliseconds. */
  readonly delayAfter: (failures: number) => number;
  /** Told of what fails, in one line, each time. */
  readonly onFailure: (message: string) => void;
  /** Told of every answer of the API server. */
  readonly onContact: () => void;
  readonly times?: LeaseTimes;
}

const STATUS = { notFound: 404, conflict: 409 } as const;

/** Leadership by a coordination.k8s.io Lease: of all who ask for it, one has it. */
export class LeaderLease {
  readonly #options: LeaseOptions;
  readonly #times: LeaseTimes;
  readonly #path: string;
  #observed: ObservedLease | null = null;
  /** By the clock of this process, which stands still for nobody. */
  #heldUntilMs = Number.NEGATIVE_INFINITY;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#times = options.times ?? LEASE_TIMES;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${options.name.namespace}/leases`;
  }

  /** Whether nobody else can have it: asked before each write, for a process may have been stopped for any time. */
  get isHeld(): boolean {
    return performance.now() < this.#heldUntilMs;
  }

  /** Whose it was when it was looked at last; "" if nobody's. */
  get holder(): string {
    return this.#observed?.state.holder ?? '';
  }

  /** Waits until it is held. @throws the signal's reason if aborted */
  async acquire(signal: AbortSignal): Promise<void> {
    let failures = 0;
    for (;;) {
      signal.throwIfAborted();
      let waitMs = this.#times.retryMs;
      try {
        if (await this.#take(signal)) return;
        failures = 0;
      } catch (error) {
        signal.throwIfAborted();
        this.#fail(error);
        waitMs = Math.max(waitMs, this.#options.delayAfter(++failures));
      }
      await sleep(waitMs, undefined, { signal });
    }
  }

  /** Renews it until it is lost, which it is as well when it could not be renewed in time. @throws if aborted */
  async keep(signal: AbortSignal): Promise<void> {
    while (this.isHeld) {
      const leftMs = this.#heldUntilMs - performance.now();
      await sleep(Math.max(0, Math.min(this.#times.retryMs, leftMs)), undefined, { signal });
      if (!this.isHeld) break;
      try {
        if (!(await this.#take(signal))) this.#heldUntilMs = Number.NEGATIVE_INFINITY;
      } catch (error) {
        signal.throwIfAborted();
        this.#fail(error);
      }
    }
  }

  /** Gives it back, if it is held; what fails is of no consequence but that others wait. */
  async release(): Promise<void> {
    const state = this.#observed?.state;
    if (!this.isHeld || !state) return;
    this.#heldUntilMs = Number.NEGATIVE_INFINITY;
    const signal = AbortSignal.timeout(this.#times.retryMs);
    const { name, request } = this.#options;
    const body = releasedLease(name, state);
    await request('PUT', `${this.#path}/${name.name}`, { body, signal }).catch((error: unknown) =>
      this.#fail(error),
    );
  }

  /** @returns whether it is held now @throws Error if the API server does not say */
  async #take(signal: AbortSignal): Promise<boolean> {
    const startMs = performance.now();
    // A holder writes at once what it knows: most often nobody has changed it.
    if (this.isHeld && this.#observed && (await this.#write(this.#observed.state, startMs, signal)))
      return true;
    const found = await this.#send('GET', `/${this.#options.name.name}`, undefined, signal);
    if (found.status === STATUS.notFound) return this.#write(null, startMs, signal);
    if (found.status !== 200) throw refusal(`get the Lease ${this.#path}/${this.#options.name.name}`, found);
    const nowMs = performance.now();
    const known = observed(this.#observed, decodeLease(asObject(found.body) ?? {}), nowMs);
    this.#observed = known;
    if (!mayTake(known, this.#options.identity, nowMs)) return false;
    return this.#write(known.state, startMs, signal);
  }

  /** @returns false if somebody else was faster */
  async #write(before: LeaseState | null, startMs: number, signal: AbortSignal): Promise<boolean> {
    const { name, identity } = this.#options;
    const body = heldLease(name, identity, before, this.#times.durationMs, Date.now());
    const answer = before
      ? await this.#send('PUT', `/${name.name}`, body, signal)
      : await this.#send('POST', '', body, signal);
    if (answer.status === STATUS.conflict || (before && answer.status === STATUS.notFound)) return false;
    if (answer.status >= 300) throw refusal(`write the Lease ${this.#path}/${name.name}`, answer);
    this.#observed = { state: decodeLease(asObject(answer.body) ?? {}), sinceMs: startMs };
    // From when it was asked for: others count from when they see it, which is later.
    this.#heldUntilMs = startMs + this.#times.deadlineMs;
    return true;
  }

  async #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<ApiResponse> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(this.#times.deadlineMs / 2)]);
    const answer = await this.#options.request(method, this.#path + path, { body, signal: limit });
    this.#options.onContact();
    return answer;
  }

  #fail(error: unknown): void {
    this.#options.onFailure(error instanceof Error ? error.message : String(error));
  }
}
