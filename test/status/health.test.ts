import { describe, expect, test } from 'vitest';
import {
  HEALTH_TIMEOUT_MS,
  type HealthState,
  healthzAnswer,
  INITIAL_HEALTH,
  livezAnswer,
  readinessChecks,
  readyzAnswer,
  withQueued,
  withSyncBegun,
  withSyncEnded,
} from '../../src/status/health.ts';

const START = Date.UTC(2026, 10, 21, 20, 0, 0);
const at = (seconds: number) => START + seconds * 1000;
const LATE = HEALTH_TIMEOUT_MS / 1000;

/** Synced once, 10 s after the start. */
const SYNCED = withSyncEnded(withSyncBegun(withQueued(INITIAL_HEALTH, at(1))), at(10), []);

describe('livezAnswer()', () => {
  const status = (state: HealthState, seconds: number) => livezAnswer(state, at(seconds), START).status;

  test('is well until the first complete sync, whatever waits', () => {
    expect(status(INITIAL_HEALTH, 1000)).toBe(200);
    expect(status(withQueued(INITIAL_HEALTH, at(1)), 1000)).toBe(200);
  });

  test('is ill from when a change has waited for the time-out', () => {
    const queued = withQueued(withQueued(SYNCED, at(20)), at(50));
    expect(status(queued, 20 + LATE - 1)).toBe(200);
    expect(status(queued, 20 + LATE)).toBe(503);
  });

  test('counts a change until a sync that took it up is complete', () => {
    const taken = withSyncBegun(withQueued(SYNCED, at(20)));
    const failed = withSyncEnded(taken, at(25), ['Cannot add link svcplane0: EPERM']);
    const again = withSyncBegun(withQueued(failed, at(30)));
    for (const state of [taken, failed, again]) expect(status(state, 20 + LATE)).toBe(503);
    expect(status(withSyncEnded(again, at(40), []), 1000)).toBe(200);
  });

  test('counts a change that came while a sync was under way from when it came', () => {
    const during = withQueued(withSyncBegun(withQueued(SYNCED, at(20))), at(30));
    const ended = withSyncEnded(during, at(40), []);
    expect(status(ended, 30 + LATE - 1)).toBe(200);
    expect(status(ended, 30 + LATE)).toBe(503);
  });

  test('answers in the words of kube-proxy', () => {
    expect(livezAnswer(SYNCED, at(12), START)).toEqual({
      status: 200,
      body: '{"lastUpdated": "2026-11-21 20:00:12 +0000 UTC m=+12.000000000","currentTime": "2026-11-21 20:00:12 +0000 UTC m=+12.000000000"}',
    });
    expect(livezAnswer(withQueued(SYNCED, at(11)), at(80), START)).toEqual({
      status: 503,
      body: '{"lastUpdated": "2026-11-21 20:00:10 +0000 UTC m=+10.000000000","currentTime": "2026-11-21 20:01:20 +0000 UTC m=+80.000000000"}',
    });
  });

  test('does not ask the Node', () => {
    expect(status({ ...SYNCED, node: { isBeingDeleted: true, hasDeletionTaint: true } }, 12)).toBe(200);
  });
});

describe('healthzAnswer()', () => {
  test.each([
    { name: 'stays', node: { isBeingDeleted: false, hasDeletionTaint: false }, status: 200, eligible: true },
    {
      name: 'is being deleted',
      node: { isBeingDeleted: true, hasDeletionTaint: false },
      status: 503,
      eligible: false,
    },
    {
      name: 'is tainted',
      node: { isBeingDeleted: false, hasDeletionTaint: true },
      status: 503,
      eligible: false,
    },
  ])('for a Node that $name', ({ node, status, eligible }) => {
    const answer = healthzAnswer({ ...SYNCED, node }, at(12), START);
    expect(answer.status).toBe(status);
    expect(answer.body).toMatch(new RegExp(`", "nodeEligible": ${eligible}}$`));
    expect(Object.keys(JSON.parse(answer.body))).toEqual(['lastUpdated', 'currentTime', 'nodeEligible']);
  });

  test('says of a Node that leaves before the first sync that it was never updated', () => {
    const state = { ...INITIAL_HEALTH, node: { isBeingDeleted: true, hasDeletionTaint: false } };
    expect(JSON.parse(healthzAnswer(state, at(12), START).body).lastUpdated).toBe(
      '0001-01-01 00:00:00 +0000 UTC',
    );
  });

  test('is ill with livez', () => {
    expect(healthzAnswer(withQueued(SYNCED, at(20)), at(20 + LATE), START).status).toBe(503);
  });
});

describe('readyzAnswer()', () => {
  const failing = (state: HealthState, seconds = 12) =>
    readinessChecks(state, at(seconds)).flatMap(({ ok, name, reason }) => (ok ? [] : `${name}: ${reason}`));

  test('is ready from the first complete sync', () => {
    expect(readyzAnswer(INITIAL_HEALTH, at(1)).status).toBe(503);
    expect(failing(INITIAL_HEALTH)).toEqual(['synced: no sync has been complete yet']);
    expect(readyzAnswer(SYNCED, at(12))).toEqual({
      status: 200,
      body: expect.stringMatching(
        /^\{"ready":true,"checks":\[\{"name":"synced","ok":true,"decides":true,"reason":""\},/,
      ),
    });
    expect(failing(SYNCED)).toEqual([]);
  });

  test.each([
    {
      name: 'failures',
      change: { failures: ['a: EPERM', 'b: EPERM', 'c'] },
      says: 'failures: a: EPERM, and 2 more',
    },
    {
      name: 'a change that waits',
      change: { queuedSinceMs: at(12 - LATE) },
      says: `queue: a change has waited for ${LATE} s`,
    },
    {
      name: 'an API server that is gone for long',
      change: {
        api: [
          { kind: 'Service', state: 'retrying', sinceMs: at(10 - LATE), reason: 'ECONNREFUSED' },
        ] as const,
      },
      says: `api: Service for ${LATE + 2} s: ECONNREFUSED`,
    },
  ])('is not with $name', ({ change, says }) => {
    const state = { ...SYNCED, ...change };
    expect(failing(state)).toEqual([says]);
    expect(readyzAnswer(state, at(12)).status).toBe(503);
  });

  test.each([
    {
      name: 'the guard',
      change: { guardHeld: 'would delete 40 of 50' },
      says: 'guard: would delete 40 of 50',
    },
    {
      name: 'a Node that leaves',
      change: { node: { isBeingDeleted: true, hasDeletionTaint: false } },
      says: 'node: Node is being deleted',
    },
  ])('is, and tells of $name', ({ change, says }) => {
    const state = { ...SYNCED, ...change };
    expect(failing(state)).toEqual([says]);
    expect(readyzAnswer(state, at(12)).status).toBe(200);
  });

  test('does not mind a watch that has just ended', () => {
    const api = [{ kind: 'Service', state: 'retrying', sinceMs: at(11), reason: 'ECONNRESET' }] as const;
    expect(failing({ ...SYNCED, api })).toEqual([]);
  });
});
