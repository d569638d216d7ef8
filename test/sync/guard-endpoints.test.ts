import { describe, expect, it } from 'vitest';
import {
  confirmGuard,
  type GuardOptions,
  type GuardState,
  recordEmptied,
  reviewGuard,
  UNGUARDED,
} from '../../src/sync/guard.ts';

const OPTIONS: GuardOptions = { maxDeleteShare: 0.5, minDeletes: 10, holdSeconds: 300 };
const NOW_MS = Date.UTC(2026, 0, 1);

/** Services s1, s2, … */
const names = (count: number, first = 1) =>
  new Set(Array.from({ length: count }, (_, i) => `web/s${first + i}`));

/** @param served how many have endpoints now @param emptied how many of them would have none */
function review(
  served: number,
  emptied: number,
  state: GuardState = UNGUARDED,
  nowMs = NOW_MS,
  options: GuardOptions = OPTIONS,
) {
  const endpoints = { served: names(served), emptied: names(emptied) };
  return reviewGuard(state, { ours: 2 * served, unwanted: 0, endpoints }, nowMs, options);
}

describe('reviewGuard() of Services that would lose all their endpoints', () => {
  it.each([
    { name: 'half of them', served: 40, emptied: 20, verdict: 'pass' },
    { name: 'more than half of them', served: 40, emptied: 21, verdict: 'hold' },
    { name: 'more than half, but fewer than the minimum', served: 15, emptied: 9, verdict: 'pass' },
    { name: 'all of a few', served: 3, emptied: 3, verdict: 'hold' },
    { name: 'the only one, as if scaled to zero', served: 1, emptied: 1, verdict: 'pass' },
    { name: 'none, while others are rolled out', served: 40, emptied: 0, verdict: 'pass' },
  ])('$name: $verdict', ({ served, emptied, verdict }) => {
    expect(review(served, emptied).verdict).toBe(verdict);
  });

  it('passes everything with a share of 1', () => {
    expect(review(40, 40, UNGUARDED, NOW_MS, { ...OPTIONS, maxDeleteShare: 1 }).verdict).toBe('pass');
  });

  it('says how many, of how many, until when, and what to do', () => {
    expect(review(40, 30).reason).toBe(
      'guard: held: 30 of 40 Services with endpoints (75 %) have none any more, and nothing of it goes before ' +
        '2026-01-01T00:05:00.000Z; if it is to go, run svcplane guard release, ' +
        'else see what is wrong with the API server',
    );
  });

  it('names virtual servers and Services where both are too many', () => {
    const endpoints = { served: names(20), emptied: names(20) };
    const { reason } = reviewGuard(UNGUARDED, { ours: 100, unwanted: 60, endpoints }, NOW_MS, OPTIONS);
    expect(reason).toContain(
      '60 of 100 virtual servers (60 %) are not wanted any more and ' +
        '20 of 20 Services with endpoints (100 %) have none any more, and nothing',
    );
  });

  it('holds those that lose them one by one, when half have none', () => {
    let state = UNGUARDED;
    let gone = 0;
    for (;;) {
      const endpoints = { served: names(40 - gone, gone + 1), emptied: names(1, gone + 1) };
      const counts = { ours: 80, unwanted: 0, endpoints };
      const { verdict, state: after } = reviewGuard(state, counts, NOW_MS + gone * 1000, OPTIONS);
      state = after;
      if (verdict === 'hold') break;
      gone += 1;
    }
    expect(gone).toBe(20);
  });

  it('counts a Service that flaps once, and not at all while it has endpoints', () => {
    let state = UNGUARDED;
    for (let i = 0; i < 20; i++) {
      state = review(12, 1, state, NOW_MS + i * 1000).state;
      expect([...state.emptied.keys()]).toEqual(['web/s1']);
    }
    expect(review(12, 0, state, NOW_MS + 30_000).state.emptied.size).toBe(0);
  });

  it('forgets those that have been without for longer than the window', () => {
    const state = recordEmptied(UNGUARDED, names(20, 21), NOW_MS);
    expect(review(20, 1, state, NOW_MS + 299_999).verdict).toBe('hold');
    expect(review(20, 1, state, NOW_MS + 300_000).verdict).toBe('pass');
  });

  it('ends a hold when they have endpoints again', () => {
    const { state, verdict, reason } = review(40, 1, review(40, 30).state, NOW_MS + 1000);
    expect({ verdict, hold: state.hold }).toEqual({ verdict: 'pass', hold: null });
    expect(reason).toContain('guard: no longer held');
  });

  it('releases what persists, and counts it no more', () => {
    const released = review(40, 30, review(40, 30).state, NOW_MS + 300_000);
    expect(released.verdict).toBe('pass');
    expect(released.reason).toMatch(/^guard: released after 300 s: 30 of 40 Services/);
    expect(review(10, 1, released.state, NOW_MS + 301_000)).toMatchObject({ verdict: 'pass', reason: '' });
  });

  it('lets go what somebody has confirmed, and nothing like it later', () => {
    const confirmed = confirmGuard(review(40, 30).state);
    const passed = review(40, 30, confirmed, NOW_MS + 1000);
    expect(passed.verdict).toBe('pass');
    const gone = review(10, 0, passed.state, NOW_MS + 2000).state;
    expect(review(40, 30, gone, NOW_MS + 3000).verdict).toBe('hold');
  });
});
