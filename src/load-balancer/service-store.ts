import type { ObjectStore } from '../cluster/api-kind-watch.ts';
import type { WatchedKind } from '../cluster/decode-watched.ts';
import { namespacedName, objectIn, type RawObject, textIn } from '../cluster/object-fields.ts';
import { decodeLoadBalancer } from './decode-service.ts';
import type { LoadBalancerFacts } from './facts.ts';

/** A Service as the API server has it, and what it says. */
export interface StoredService {
  readonly object: RawObject;
  readonly facts: LoadBalancerFacts;
}

/**
 * All Services, never older than what this process has written or read itself: the watch tells of a write later than
 * its answer does, and until then an address that was given would seem to be free.
 */
export class ServiceStore implements ObjectStore {
  readonly #services = new Map<string, StoredService>();
  /** Since the list that is under way was begun. */
  #own = new Map<string, RawObject>();

  /** By `namespace/name`. */
  get services(): ReadonlyMap<string, StoredService> {
    return this.#services;
  }

  /** Takes over what the watch tells. */
  put(_kind: WatchedKind, object: RawObject): void {
    const key = namespacedName(object)?.key;
    if (key === undefined || this.#isOlder(key, object)) return;
    const facts = decodeLoadBalancer(object);
    if (facts) this.#services.set(key, { object, facts });
  }

  remove(_kind: WatchedKind, object: RawObject): void {
    const key = namespacedName(object)?.key;
    if (key !== undefined && !this.#isOlder(key, object)) this.#services.delete(key);
  }

  /** Takes over an answer to this process. */
  putOwn(object: RawObject): void {
    const key = namespacedName(object)?.key;
    if (key !== undefined) this.#own.set(key, object);
    this.put('Service', object);
  }

  /** A Service that was asked for is not there. */
  removeOwn(key: string): void {
    this.#own.delete(key);
    this.#services.delete(key);
  }

  beginList(): ReturnType<ObjectStore['beginList']> {
    const listed: RawObject[] = [];
    this.#own = new Map();
    return {
      put: (object) => void listed.push(object),
      finish: () => {
        // All of it: a server that was restored has older versions of everything.
        this.#services.clear();
        for (const object of listed) this.put('Service', object);
        for (const [key, object] of this.#own) if (this.#services.has(key)) this.put('Service', object);
      },
    };
  }

  #isOlder(key: string, object: RawObject): boolean {
    const known = this.#services.get(key)?.object;
    return known !== undefined && versionOf(object) < versionOf(known);
  }
}

function versionOf(object: RawObject): bigint {
  const text = textIn(objectIn(object, 'metadata'), 'resourceVersion') ?? '';
  return /^\d+$/.test(text) ? BigInt(text) : 0n;
}
