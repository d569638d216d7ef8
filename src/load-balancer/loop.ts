import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiConnection, refusal } from '../cluster/api-connection.ts';
import { KindWatch, type WatchState, type WatchTimes } from '../cluster/api-kind-watch.ts';
import { asObject, listIn, type RawObject } from '../cluster/object-fields.ts';
import { type AllocationRules, allocate } from './allocate.ts';
import type { Decision } from './draft.ts';
import type { LeaderLease } from './lease-client.ts';
import { ServiceStore, type StoredService } from './service-store.ts';
import { hasToBeWritten, statusPatch } from './status-patch.ts';

/** What one round has come to. */
export interface RoundReport {
  readonly decisions: ReadonlyMap<string, Decision>;
  /** Those whose status says so from now on, and did not before. */
  readonly written: readonly Decision[];
  /** One line each. */
  readonly failures: readonly string[];
}

export interface ControllerOptions {
  readonly connection: Pick<ApiConnection, 'request' | 'stream' | 'server'>;
  readonly lease: Pick<LeaderLease, 'acquire' | 'keep' | 'isHeld' | 'release'>;
  readonly rules: () => AllocationRules;
  readonly times: WatchTimes;
  /** How long to wait after this many failures, one after the other, in milliseconds. */
  readonly delayAfter: (failures: number) => number;
  readonly onLeading: (isLeading: boolean) => void;
  readonly onRound: (report: RoundReport) => void;
  readonly onWatch: (state: WatchState) => void;
}

const SERVICES = { path: '/api/v1/services', query: {}, pageSize: 500, isOptional: false } as const;
/** Writes at the same time. Their order is of no consequence: what one gives up, no other gets in the same round. */
const WRITERS = 8;
/** What is told together is decided together. */
const GATHER_MS = 20;
/** A write that takes longer could outlast the Lease. */
const WRITE_MS = 4000;
const STATUS = { notFound: 404, conflict: 409 } as const;

/** Gives addresses while it leads, and does nothing while another one does. */
export class AddressController {
  readonly #options: ControllerOptions;
  /** Services of which it is not known what their status says: a write was not answered, or refused. */
  readonly #inDoubt = new Set<string>();
  #ring: () => void = () => undefined;
  #isRinging = false;

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Until aborted; then the Lease is given back. */
  async run(signal: AbortSignal): Promise<void> {
    const { lease, onLeading } = this.#options;
    try {
      while (!signal.aborted) {
        await lease.acquire(signal);
        onLeading(true);
        try {
          await this.#lead(signal);
        } finally {
          onLeading(false);
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await lease.release();
    }
  }

  /** The configuration has changed. */
  look(): void {
    this.#isRinging = true;
    this.#ring();
  }

  /** Until the Lease is lost. Nothing of an earlier term is known: others have written meanwhile. */
  async #lead(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    until.addEventListener('abort', () => this.#ring(), { once: true });
    const store = new ServiceStore();
    this.#inDoubt.clear();
    this.#isRinging = false;
    const { connection, times, delayAfter, onWatch } = this.#options;
    const watch = new KindWatch({
      connection,
      store,
      kind: 'Service',
      resource: SERVICES,
      times,
      delayAfter,
      onState: onWatch,
      onCount: () => undefined,
      // The first time it is the whole list.
      onTaken: () => this.look(),
    });
    const tasks = [watch.run(until), this.#rounds(store, until)];
    try {
      await this.#options.lease.keep(signal);
    } finally {
      over.abort();
      await Promise.all(tasks);
    }
  }

  async #rounds(store: ServiceStore, signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      await this.#rung(signal);
      // Aborted, it is over in any case.
      await sleep(GATHER_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const report = await this.#round(store, signal);
      if (signal.aborted) return;
      this.#options.onRound(report);
      failures = report.failures.length > 0 ? failures + 1 : 0;
      // What was given up can be given to others from now on.
      if (report.written.length > 0) this.look();
      if (failures === 0) continue;
      await sleep(this.#options.delayAfter(failures), undefined, { signal }).catch(() => undefined);
      this.look();
    }
  }

  async #round(store: ServiceStore, signal: AbortSignal): Promise<RoundReport> {
    const failures: string[] = [];
    for (const key of this.#inDoubt) {
      const failure = await this.#readAgain(store, key, signal);
      if (failure) return { decisions: new Map(), written: [], failures: [failure] };
    }
    const services = [...store.services.values()];
    const decisions = allocate(
      services.map(({ facts }) => facts),
      this.#options.rules(),
    );
    const due = services.flatMap((service) => {
      const decision = decisions.get(service.facts.key);
      return decision && hasToBeWritten(service.facts, decision) ? [{ service, decision }] : [];
    });
    const written: Decision[] = [];
    const work = due.values();
    const writers = Array.from({ length: WRITERS }, async () => {
      for (const { service, decision } of work) {
        if (signal.aborted || !this.#options.lease.isHeld) return;
        const failure = await this.#write(store, service, decision, signal);
        if (failure === undefined) written.push(decision);
        else failures.push(failure);
      }
    });
    await Promise.all(writers);
    return { decisions, written, failures };
  }

  /** @returns what went wrong, in one line */
  async #write(
    store: ServiceStore,
    { object, facts }: StoredService,
    decision: Decision,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { namespace, name, key } = facts;
    const path = `/api/v1/namespaces/${namespace}/services/${name}/status`;
    try {
      const answer = await this.#options.connection.request('PATCH', path, {
        body: statusPatch(object, decision, Date.now()),
        contentType: 'application/merge-patch+json',
        signal: AbortSignal.any([signal, AbortSignal.timeout(WRITE_MS)]),
      });
      if (answer.status === 200) {
        store.putOwn(asObject(answer.body) ?? {});
        return undefined;
      }
      this.#inDoubt.add(key);
      // Somebody has changed it, or it is gone: it is read again, and decided anew.
      const isOutdated = answer.status === STATUS.conflict || answer.status === STATUS.notFound;
      const { message } = refusal(`write the status of Service ${key}`, answer);
      return isOutdated ? `outdated: ${message}` : message;
    } catch (error) {
      this.#inDoubt.add(key);
      return `Cannot write the status of Service ${key}: ${messageOf(error)}`;
    }
  }

  /** By a list of one: who may list and watch Services needs no further right. @returns what went wrong, in one line */
  async #readAgain(store: ServiceStore, key: string, signal: AbortSignal): Promise<string | undefined> {
    const [namespace = '', name = ''] = key.split('/');
    const path = `/api/v1/namespaces/${namespace}/services`;
    try {
      const query = { fieldSelector: `metadata.name=${name}` };
      const answer = await this.#options.connection.request('GET', path, { query, signal });
      if (answer.status !== 200) return refusal(`read Service ${key} again`, answer).message;
      const [found]: (RawObject | undefined)[] = listIn(asObject(answer.body) ?? {}, 'items').map(asObject);
      if (found) store.putOwn(found);
      else store.removeOwn(key);
      this.#inDoubt.delete(key);
      return undefined;
    } catch (error) {
      return `Cannot read Service ${key} again: ${messageOf(error)}`;
    }
  }

  async #rung(signal: AbortSignal): Promise<void> {
    if (!this.#isRinging && !signal.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#ring = resolve;
      await promise;
    }
    this.#isRinging = false;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
