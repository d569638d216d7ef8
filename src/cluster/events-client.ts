import { setTimeout as sleep } from 'node:timers/promises';
import { EventQueue } from './event-queue.ts';
import { type EventObject, eventOf, type Occurrence, seriesPatch } from './events.ts';

/** One request to the API server, as of ApiConnection. @throws Error if there is no answer */
export type EventRequest = (
  method: string,
  path: string,
  options: {
    readonly query?: Readonly<Record<string, string>>;
    readonly body?: unknown;
    readonly contentType?: string;
    readonly signal: AbortSignal;
  },
) => Promise<{ readonly status: number; readonly body: unknown }>;

export interface EventsOptions {
  readonly request: EventRequest;
  /** Which svcplane tells: the name of its Node. */
  readonly node: string;
  readonly queue?: EventQueue;
  /** Milliseconds since the epoch. @default Date.now */
  readonly nowMs?: () => number;
  /** Before an Event that was not taken is tried again. @param failures so far, at least 1 */
  readonly retryDelayMs?: (failures: number) => number;
}

/** What has become of Events since the start. */
export interface EventCounts {
  /** Created, or raised in count. */
  readonly written: number;
  /** Given up after every attempt, or refused by the API server. */
  readonly failed: number;
  readonly dropped: number;
  readonly suppressed: number;
}

type Outcome = 'written' | 'told by another' | 'failed';

const MAX_ATTEMPTS = 5;
const PATH = '/apis/events.k8s.io/v1/namespaces';
const STATUS = { notFound: 404, conflict: 409, tooMany: 429, internal: 500 } as const;

/** Doubled each time, and all of it over in half a minute: an Event is of no use much later. */
const defaultDelayMs = (failures: number): number => 1000 * 2 ** (failures - 1);

/** Tells of occurrences in Events, beside everything else: nobody waits for it, and nothing fails with it. */
export class EventRecorder {
  readonly #options: EventsOptions;
  readonly #queue: EventQueue;
  readonly #nowMs: () => number;
  #ring: () => void = () => undefined;
  #written = 0;
  #failed = 0;
  #lastError: string | null = null;

  constructor(options: EventsOptions) {
    this.#options = options;
    this.#queue = options.queue ?? new EventQueue();
    this.#nowMs = options.nowMs ?? Date.now;
  }

  get counts(): EventCounts {
    const { dropped, suppressed } = this.#queue;
    return { written: this.#written, failed: this.#failed, dropped, suppressed };
  }

  /** Why the last Event that failed did; null if none has. */
  get lastError(): string | null {
    return this.#lastError;
  }

  /** Takes what has occurred, or goes on: as often as it is known, limits are kept here. */
  record(occurrences: readonly Occurrence[]): void {
    for (const occurrence of occurrences) this.#queue.add(occurrence, this.#nowMs());
    if (occurrences.length > 0) this.#ring();
  }

  /** Writes Events until aborted; then what still waits is left. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#ring(), { once: true });
    while (!signal.aborted) {
      const next = this.#queue.next(this.#nowMs());
      if (next === undefined) await this.#rung();
      else if ('waitMs' in next) await pause(next.waitMs, signal);
      else {
        const { occurrence, told } = next;
        const outcome = told
          ? await this.#repeat(occurrence, told, signal)
          : await this.#create(occurrence, signal);
        if (outcome === 'written') this.#written++;
        else if (outcome === 'failed' && !signal.aborted) this.#failed++;
      }
    }
  }

  async #create(occurrence: Occurrence, signal: AbortSignal): Promise<Outcome> {
    const uid = await this.#uidOf(occurrence, signal);
    const event = eventOf(occurrence, this.#options.node, uid, this.#nowMs());
    const { namespace, name } = event.metadata;
    const status = await this.#send('POST', `${PATH}/${namespace}/events`, event, signal);
    const isOurs = isTaken(status);
    // Another node has told the same, or we have before a restart.
    if (!isOurs && status !== STATUS.conflict) return 'failed';
    this.#queue.settle(occurrence, { name, namespace, count: 1, isOurs }, this.#nowMs());
    return isOurs ? 'written' : 'told by another';
  }

  async #repeat(
    occurrence: Occurrence,
    { name, namespace, count }: EventObject['metadata'] & { readonly count: number },
    signal: AbortSignal,
  ): Promise<Outcome> {
    const nowMs = this.#nowMs();
    const path = `${PATH}/${namespace}/events/${name}`;
    const status = await this.#send('PATCH', path, seriesPatch(count, nowMs), signal);
    if (status === STATUS.notFound) {
      this.#queue.forget(occurrence);
      return this.#create(occurrence, signal);
    }
    if (!isTaken(status)) return 'failed';
    this.#queue.settle(occurrence, { name, namespace, count, isOurs: true }, nowMs);
    return 'written';
  }

  /** `kubectl describe` looks for Events by it; who may not list Services does without. */
  async #uidOf({ subject }: Occurrence, signal: AbortSignal): Promise<string> {
    if (subject.kind !== 'Service') return '';
    const path = `/api/v1/namespaces/${subject.namespace}/services`;
    try {
      const query = { fieldSelector: `metadata.name=${subject.name}` };
      const { status, body } = await this.#options.request('GET', path, { query, signal });
      const uid: unknown = isTaken(status) ? Object(body).items?.[0]?.metadata?.uid : undefined;
      return typeof uid === 'string' ? uid : '';
    } catch {
      return '';
    }
  }

  /** @returns the status; 0 if there was no answer that counts */
  async #send(method: string, path: string, body: unknown, signal: AbortSignal): Promise<number> {
    const contentType = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const delayMs = this.#options.retryDelayMs ?? defaultDelayMs;
    for (let failures = 0; !signal.aborted; ) {
      let problem: string;
      try {
        const answer = await this.#options.request(method, path, { body, contentType, signal });
        if (isTaken(answer.status)) return answer.status;
        problem = `${answer.status} ${messageOf(answer.body)}`;
        if (answer.status !== STATUS.tooMany && answer.status < STATUS.internal) {
          // A repeated Event that is gone, or is there already, is no failure.
          const isExpected = answer.status === STATUS.notFound || answer.status === STATUS.conflict;
          if (!isExpected) this.#lastError = `Cannot write an Event: ${problem}`;
          return answer.status;
        }
      } catch (error) {
        problem = error instanceof Error ? error.message : String(error);
      }
      failures++;
      if (!signal.aborted) this.#lastError = `Cannot write an Event: ${problem}`;
      if (failures >= MAX_ATTEMPTS) return 0;
      await pause(delayMs(failures), signal);
    }
    return 0;
  }

  async #rung(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ring = resolve;
    await promise;
  }
}

function isTaken(status: number): boolean {
  return status >= 200 && status < 300;
}

function messageOf(body: unknown): string {
  const { message } = Object(body);
  return typeof message === 'string' ? message : '';
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // The only reason to reject is the signal, and then the wait is over.
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
