import { limitKey, type Occurrence, occurrenceKey } from './events.ts';

/** How much may be told; each with its reason. */
export interface EventLimits {
  /** Of Events that wait; the oldest give way. */
  readonly capacity: number;
  /** What goes on occurring is told again after so long, and before an hour: then the API server forgets an Event. */
  readonly repeatMs: number;
  /** Of different Events with one reason about one object. @see client-go tools/record, the same limits */
  readonly perSubject: Bucket;
  /** Of writes at all: an API server has all nodes to listen to. */
  readonly overall: Bucket;
}

/** A token bucket: so many at once, then one per interval. */
export interface Bucket {
  readonly burst: number;
  readonly intervalMs: number;
}

export const EVENT_LIMITS: EventLimits = {
  capacity: 500,
  repeatMs: 30 * 60_000,
  perSubject: { burst: 25, intervalMs: 5 * 60_000 },
  overall: { burst: 25, intervalMs: 1000 },
};

/** What has been told once is remembered of so many occurrences, which is 5 MB. */
const MAX_REMEMBERED = 10_000;

/** One thing to be written. */
export interface EventWrite {
  readonly occurrence: Occurrence;
  /** What is to be patched; null if it is to be created. */
  readonly told: ToldEvent | null;
}

/** An Event that is there. */
export interface ToldEvent {
  readonly name: string;
  readonly namespace: string;
  /** How often it has occurred, by what it says. */
  readonly count: number;
  /** Whether this node has created it: who has, raises its count. */
  readonly isOurs: boolean;
}

interface Memory extends ToldEvent {
  count: number;
  readonly lastMs: number;
}

/** What is to be told, in order, as much of it as limits allow. No I/O, no clock. */
export class EventQueue {
  readonly #limits: EventLimits;
  /** By key of the occurrence, in order of arrival. */
  readonly #waiting = new Map<string, Occurrence>();
  /** By key of the occurrence; the one that was told longest ago first. */
  readonly #told = new Map<string, Memory>();
  readonly #perSubject = new Map<string, Tokens>();
  readonly #overall: Tokens;
  #dropped = 0;
  #suppressed = 0;

  constructor(limits: EventLimits = EVENT_LIMITS) {
    this.#limits = limits;
    this.#overall = new Tokens(limits.overall);
  }

  /** How many gave way to newer ones. */
  get dropped(): number {
    return this.#dropped;
  }

  /** How many were not told for a limit of one object. */
  get suppressed(): number {
    return this.#suppressed;
  }

  get length(): number {
    return this.#waiting.size;
  }

  /** Takes something that has occurred, or still does. */
  add(occurrence: Occurrence, nowMs: number): void {
    const key = occurrenceKey(occurrence);
    const told = this.#told.get(key);
    if (told && nowMs - told.lastMs < this.#limits.repeatMs) {
      told.count++;
      return;
    }
    if (this.#waiting.has(key)) return;
    if (!told && !this.#tokensOf(limitKey(occurrence)).take(nowMs)) {
      this.#suppressed++;
      return;
    }
    this.#waiting.set(key, occurrence);
    if (this.#waiting.size > this.#limits.capacity) {
      this.#waiting.delete(firstKey(this.#waiting) ?? key);
      this.#dropped++;
    }
  }

  /** @returns what is to be written now, or for how long nothing may be; undefined if nothing waits */
  next(nowMs: number): EventWrite | { readonly waitMs: number } | undefined {
    const key = firstKey(this.#waiting);
    const occurrence = key === undefined ? undefined : this.#waiting.get(key);
    if (key === undefined || !occurrence) return undefined;
    if (!this.#overall.take(nowMs)) return { waitMs: this.#overall.waitMs(nowMs) };
    this.#waiting.delete(key);
    const told = this.#told.get(key);
    return { occurrence, told: told?.isOurs ? { ...told, count: told.count + 1 } : null };
  }

  /** An Event is there. */
  settle(occurrence: Occurrence, event: ToldEvent, nowMs: number): void {
    const key = occurrenceKey(occurrence);
    this.#told.delete(key);
    this.#told.set(key, { ...event, lastMs: nowMs });
    if (this.#told.size > MAX_REMEMBERED) this.#told.delete(firstKey(this.#told) ?? key);
  }

  /** The Event is gone: the next time it is created anew. */
  forget(occurrence: Occurrence): void {
    this.#told.delete(occurrenceKey(occurrence));
  }

  #tokensOf(key: string): Tokens {
    const tokens = this.#perSubject.get(key) ?? new Tokens(this.#limits.perSubject);
    this.#perSubject.delete(key);
    this.#perSubject.set(key, tokens);
    if (this.#perSubject.size > MAX_REMEMBERED) this.#perSubject.delete(firstKey(this.#perSubject) ?? key);
    return tokens;
  }
}

class Tokens {
  readonly #bucket: Bucket;
  #left: number;
  #filledMs = Number.NEGATIVE_INFINITY;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
    this.#left = bucket.burst;
  }

  take(nowMs: number): boolean {
    const { burst, intervalMs } = this.#bucket;
    const gained = Math.floor((nowMs - this.#filledMs) / intervalMs);
    if (this.#left + gained >= burst) {
      this.#left = burst;
      this.#filledMs = nowMs;
    } else if (gained > 0) {
      this.#left += gained;
      this.#filledMs += gained * intervalMs;
    }
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }

  /** Until there is one again; a clock that was set back makes it no longer than an interval. */
  waitMs(nowMs: number): number {
    const { intervalMs } = this.#bucket;
    return Math.min(intervalMs, Math.max(1, this.#filledMs + intervalMs - nowMs));
  }
}

function firstKey<T>(map: ReadonlyMap<string, T>): string | undefined {
  return map.keys().next().value;
}
