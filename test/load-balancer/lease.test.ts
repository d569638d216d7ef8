import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { ApiResponse } from '../../src/cluster/api-connection.ts';
import { decodeLease, heldLease, mayTake, observed, releasedLease } from '../../src/load-balancer/lease.ts';
import { LeaderLease } from '../../src/load-balancer/lease-client.ts';

const NAME = { namespace: 'kube-system', name: 'svcplane-lb-controller' };
const TIMES = { durationMs: 300, deadlineMs: 150, retryMs: 20 };

/** The Leases of an API server: a write must name the version that is there. */
class LeaseServer {
  #object: { metadata: { resourceVersion: string }; spec: Record<string, unknown> } | null = null;
  #version = 0;
  isGone = false;

  readonly request = async (
    method: string,
    _path: string,
    { body }: { body?: unknown },
  ): Promise<ApiResponse> => {
    await sleep(1);
    if (this.isGone) throw new Error('ECONNREFUSED');
    const answer = (status: number, object: unknown): ApiResponse => ({
      status,
      body: object,
      retryAfterMs: null,
    });
    if (method === 'GET') return this.#object ? answer(200, this.#object) : answer(404, {});
    const { metadata, spec } = Object(body);
    if (method === 'POST' && this.#object) return answer(409, {});
    if (method === 'PUT' && metadata.resourceVersion !== this.#object?.metadata.resourceVersion)
      return answer(409, {});
    this.#object = { metadata: { resourceVersion: String(++this.#version) }, spec };
    return answer(method === 'POST' ? 201 : 200, this.#object);
  };

  candidate(identity: string): LeaderLease {
    return new LeaderLease({
      request: this.request,
      name: NAME,
      identity,
      delayAfter: () => 20,
      onFailure: () => undefined,
      onContact: () => undefined,
      times: TIMES,
    });
  }
}

describe('mayTake()', () => {
  const state = decodeLease({
    metadata: { resourceVersion: '7' },
    spec: { holderIdentity: 'a', leaseDurationSeconds: 15 },
  });

  it.each([
    ['its own, at once', 'a', 0, true],
    ['that of another one who renews', 'b', 14_999, false],
    ['that of another one who has not for the whole duration', 'b', 15_000, true],
  ])('%s', (_, identity, afterMs, expected) => {
    expect(mayTake({ state, sinceMs: 1000 }, identity, 1000 + afterMs)).toBe(expected);
  });

  it('what was given back, at once', () => {
    const released = decodeLease(Object(releasedLease(NAME, state)));
    expect(mayTake({ state: released, sinceMs: 1000 }, 'b', 1000)).toBe(true);
  });

  it('counts from the last change that this process has seen, whatever the clock of the holder says', () => {
    const first = observed(null, state, 1000);
    expect(observed(first, state, 9000).sinceMs).toBe(1000);
    expect(observed(first, { ...state, resourceVersion: '8' }, 9000).sinceMs).toBe(9000);
  });
});

describe('heldLease()', () => {
  it('counts a transition where the holder changes, and keeps since when it is held where not', () => {
    const first = decodeLease({ ...Object(heldLease(NAME, 'a', null, 15_000, 0)) });
    expect([first.holder, first.transitions, first.acquireTime]).toEqual([
      'a',
      0,
      '1970-01-01T00:00:00.000000Z',
    ]);
    const renewed = decodeLease({ ...Object(heldLease(NAME, 'a', first, 15_000, 2000)) });
    expect([renewed.transitions, renewed.acquireTime]).toEqual([0, '1970-01-01T00:00:00.000000Z']);
    const taken = decodeLease({ ...Object(heldLease(NAME, 'b', first, 15_000, 2000)) });
    expect([taken.transitions, taken.acquireTime]).toEqual([1, '1970-01-01T00:00:02.000000Z']);
  });
});

describe('LeaderLease', () => {
  it('is held by one of those who ask for it at the same time', async () => {
    const server = new LeaseServer();
    const ended = new AbortController();
    const candidates = ['a', 'b', 'c'].map((identity) => server.candidate(identity));
    const acquired = candidates.map((each) => each.acquire(ended.signal).then(() => each));
    const first = await Promise.race(acquired);
    const kept = first.keep(ended.signal);
    await sleep(2 * TIMES.durationMs);
    expect(candidates.filter(({ isHeld }) => isHeld)).toEqual([first]);
    ended.abort();
    await Promise.allSettled([...acquired, kept]);
  });

  it('is given up by itself before another one may have it, where the API server is gone', async () => {
    const server = new LeaseServer();
    const { signal } = new AbortController();
    const lease = server.candidate('a');
    await lease.acquire(signal);
    server.isGone = true;
    await lease.keep(signal);
    expect(lease.isHeld).toBe(false);
    server.isGone = false;
    // Nobody has had it meanwhile.
    await lease.acquire(signal);
    expect(lease.isHeld).toBe(true);
  });

  it('goes to another one at once when it is given back', async () => {
    const server = new LeaseServer();
    const { signal } = new AbortController();
    const [a, b] = [server.candidate('a'), server.candidate('b')];
    await a.acquire(signal);
    await a.release();
    expect(a.isHeld).toBe(false);
    await b.acquire(signal);
    expect(b.holder).toBe('b');
  });
});
