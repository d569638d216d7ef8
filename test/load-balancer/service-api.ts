import type { ApiResponse } from '../../src/cluster/api-connection.ts';
import type { ControllerOptions } from '../../src/load-balancer/loop.ts';
import { type Shape, serviceObject } from './build.ts';

type Stored = ReturnType<typeof serviceObject>;

/** The Services of an API server: versions, conflicts, a watch that tells late, and answers that get lost. */
export class ServiceApi {
  readonly #objects = new Map<string, Stored>();
  readonly #events: { type: string; object: Stored }[] = [];
  readonly #waiting = new Set<() => void>();
  #version = 0;
  /** What is to be thrown instead of the answer to a write that has been done; called once for each. */
  loses: () => boolean = () => false;
  /** Whether the watch tells of nothing for now. */
  isSilent = false;
  /** Addresses that two Services had at the same time. */
  readonly twice: string[] = [];

  readonly connection: ControllerOptions['connection'] = {
    server: 'https://192.0.2.1:6443',
    request: async (method, path, { query = {}, body }) => {
      await Promise.resolve();
      if (method === 'PATCH') return this.#patch(path, Object(body));
      const name = /metadata.name=(.+)/.exec(query.fieldSelector ?? '')?.[1];
      const items = [...this.#objects.values()].filter((each) => !name || each.metadata.name === name);
      return ok({ kind: 'ServiceList', metadata: { resourceVersion: String(this.#version) }, items });
    },
    stream: (_, { query = {}, signal }) => this.#stream(Number(query.resourceVersion), signal),
  };

  put(shape: Shape): void {
    const before = this.#objects.get(shape.name);
    const made = serviceObject({ ...shape, metadata: { resourceVersion: String(++this.#version) } });
    this.#store(before ? 'MODIFIED' : 'ADDED', before ? { ...made, status: before.status } : made);
  }

  delete(name: string): void {
    const object = this.#objects.get(name);
    if (!object) return;
    this.#version++;
    this.#objects.delete(name);
    this.#tell('DELETED', object);
  }

  addressesOf(name: string): readonly unknown[] {
    return (this.#objects.get(name)?.status.loadBalancer.ingress ?? []).map((each) => Object(each).ip);
  }

  /** Everything that was not told before. */
  speak(): void {
    this.isSilent = false;
    for (const wake of this.#waiting) wake();
  }

  #patch(path: string, { metadata, status }: Pick<Stored, 'metadata' | 'status'>): ApiResponse {
    const name = /services\/(.+)\/status$/.exec(path)?.[1] ?? '';
    const before = this.#objects.get(name);
    if (!before) return { status: 404, body: { message: 'not found' }, retryAfterMs: null };
    if (before.metadata.resourceVersion !== metadata.resourceVersion) {
      return { status: 409, body: { message: 'conflict' }, retryAfterMs: null };
    }
    const ingress = status.loadBalancer.ingress ?? [];
    const version = { resourceVersion: String(++this.#version) };
    const after = {
      ...before,
      metadata: { ...before.metadata, ...version },
      status: { ...status, loadBalancer: { ingress } },
    };
    this.#store('MODIFIED', after);
    const given = [...this.#objects.keys()].flatMap((each) => this.addressesOf(each));
    this.twice.push(...given.filter((each, i) => given.indexOf(each) !== i).map(String));
    if (this.loses()) throw new Error('ECONNRESET');
    return ok(after);
  }

  #store(type: string, object: Stored): void {
    this.#objects.set(object.metadata.name, object);
    this.#tell(type, object);
  }

  #tell(type: string, object: Stored): void {
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    this.#events.push({ type, object: { ...object, metadata } });
    if (!this.isSilent) for (const wake of this.#waiting) wake();
  }

  async *#stream(since: number, signal: AbortSignal): AsyncGenerator<readonly unknown[]> {
    yield [];
    let next = since;
    while (!signal.aborted) {
      const news = this.#events.filter(({ object }) => Number(object.metadata.resourceVersion) > next);
      if (news.length > 0 && !this.isSilent) {
        next = Number(news.at(-1)?.object.metadata.resourceVersion);
        yield news;
        continue;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
      await promise;
      this.#waiting.delete(resolve);
    }
  }
}

function ok(body: unknown): ApiResponse {
  return { status: 200, body, retryAfterMs: null };
}
