import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  confirmGuard,
  type GuardOptions,
  type GuardState,
  guardCheckMs,
  recordDeletions,
  reviewGuard,
  UNGUARDED,
} from '../../src/sync/guard.ts';

const OPTIONS: GuardOptions = { maxDeleteShare: 0.5, minDeletes: 10, holdSeconds: 300 };
const NOW_MS = Date.UTC(2026, 0, 1);

const verdictOf = (
  ours: number,
  unwanted: number,
  state: GuardState = UNGUARDED,
  nowMs = NOW_MS,
  options: GuardOptions = OPTIONS,
) => reviewGuard(state, { ours, unwanted }, nowMs, options);

/** The state after a review that holds. */
function held(ours: number, unwanted: number, nowMs = NOW_MS): GuardState {
  const { state, verdict } = verdictOf(ours, unwanted, UNGUARDED, nowMs);
  expect(verdict).toBe('hold');
  return state;
}

describe('reviewGuard()', () => {
  it.each([
    { name: 'half of ours', ours: 100, unwanted: 50, verdict: 'pass' },
    { name: 'more than half of ours', ours: 100, unwanted: 51, verdict: 'hold' },
    { name: 'more than half, but fewer than the minimum', ours: 15, unwanted: 9, verdict: 'pass' },
    { name: 'more than half, and the minimum', ours: 15, unwanted: 10, verdict: 'hold' },
    { name: 'all of a few', ours: 2, unwanted: 2, verdict: 'hold' },
    { name: 'the only one', ours: 1, unwanted: 1, verdict: 'hold' },
    { name: 'none of none', ours: 0, unwanted: 0, verdict: 'pass' },
    { name: 'none of many', ours: 100, unwanted: 0, verdict: 'pass' },
  ])('$name: $verdict', ({ ours, unwanted, verdict }) => {
    expect(verdictOf(ours, unwanted).verdict).toBe(verdict);
  });

  it('passes everything with a share of 1', () => {
    const off = { ...OPTIONS, maxDeleteShare: 1 };
    expect(verdictOf(100, 100, UNGUARDED, NOW_MS, off)).toMatchObject({ verdict: 'pass', reason: '' });
    expect(verdictOf(100, 100, held(100, 100), NOW_MS, off).verdict).toBe('pass');
  });

  it('says how many, of how many, until when, and what to do', () => {
    expect(verdictOf(100, 60).reason).toBe(
      'guard: held: 60 of 100 virtual servers (60 %) are not wanted any more, and nothing of it goes before ' +
        '2026-01-01T00:05:00.000Z; if it is to go, run svcplane guard release, ' +
        'else see what is wrong with the API server',
    );
  });

  it('says the same again while the same is held, for whoever logs what is new only', () => {
    expect(verdictOf(100, 60, held(100, 60), NOW_MS + 1000).reason).toBe(verdictOf(100, 60).reason);
  });

  it('holds a namespace that is wiped in batches of 9', () => {
    let state = UNGUARDED;
    let ours = 100;
    let nowMs = NOW_MS;
    for (;;) {
      const review = verdictOf(ours, 9, state, nowMs);
      state = review.state;
      if (review.verdict === 'hold') break;
      state = recordDeletions(state, 9, nowMs);
      ours -= 9;
      nowMs += 10_000;
    }
    expect(ours).toBe(100 - 5 * 9);
    expect(state.hold).toMatchObject({ ours: 100, unwanted: 9 });
  });

  it('forgets deletions that are older than the window', () => {
    const state = recordDeletions(UNGUARDED, 50, NOW_MS);
    expect(verdictOf(50, 1, state, NOW_MS + 299_999).verdict).toBe('hold');
    expect(verdictOf(50, 1, state, NOW_MS + 300_000)).toMatchObject({
      verdict: 'pass',
      state: { deletions: [] },
    });
  });

  it('goes on holding when what was made meanwhile makes the share smaller', () => {
    expect(verdictOf(1000, 60, held(100, 60), NOW_MS + 1000).verdict).toBe('hold');
  });

  it('ends a hold when the API server got right again, and says so', () => {
    const { state, verdict, reason } = verdictOf(100, 2, held(100, 60), NOW_MS + 1000);
    expect({ verdict, hold: state.hold }).toEqual({ verdict: 'pass', hold: null });
    expect(reason).toBe('guard: no longer held: 2 of 100 virtual servers (2 %) are not wanted');
  });

  it('releases what persists for the time of a hold, and lets it drain as long as it takes', () => {
    const state = held(100, 60);
    expect(verdictOf(100, 60, state, NOW_MS + 299_999).verdict).toBe('hold');
    const released = verdictOf(100, 60, state, NOW_MS + 300_000);
    expect(released).toMatchObject({
      verdict: 'pass',
      reason: 'guard: released after 300 s: 60 of 100 virtual servers (60 %) are not wanted any more',
    });
    const drained = recordDeletions(released.state, 40, NOW_MS + 310_000);
    expect(verdictOf(60, 20, drained, NOW_MS + 400_000)).toMatchObject({ verdict: 'pass', reason: '' });
  });

  it('starts a hold anew after one that has ended', () => {
    const ended = verdictOf(100, 0, held(100, 60), NOW_MS + 200_000).state;
    const again = verdictOf(100, 60, ended, NOW_MS + 250_000);
    expect(again.state.hold?.sinceMs).toBe(NOW_MS + 250_000);
  });

  it('never passes more than the share and what was released, whatever happens', () => {
    const step = fc.record({
      unwanted: fc.nat({ max: 30 }),
      added: fc.nat({ max: 20 }),
      drained: fc.nat({ max: 30 }),
      afterMs: fc.constantFrom(0, 1000, 30_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        let state = UNGUARDED;
        let ours = 100;
        let nowMs = NOW_MS;
        let most = ours;
        let gone = 0;
        for (const { unwanted, added, drained, afterMs } of steps) {
          nowMs += afterMs;
          if (nowMs - NOW_MS >= 300_000) break;
          const review = verdictOf(ours, Math.min(unwanted, ours), state, nowMs);
          state = review.state;
          ours += added;
          most += added;
          if (review.verdict === 'hold') continue;
          const deleted = Math.min(drained, unwanted, ours);
          state = recordDeletions(state, deleted, nowMs);
          ours -= deleted;
          gone += deleted;
        }
        expect(gone).toBeLessThanOrEqual(most / 2);
      }),
    );
  });
});

describe('confirmGuard()', () => {
  it('lets go what was held, and nothing beyond', () => {
    const confirmed = confirmGuard(held(100, 60));
    expect(verdictOf(100, 60, confirmed, NOW_MS + 1000).verdict).toBe('pass');
    expect(verdictOf(100, 60 + 20, confirmed, NOW_MS + 1000).verdict).toBe('pass');
    expect(verdictOf(100, 60 + 21, confirmed, NOW_MS + 1000).verdict).toBe('hold');
  });

  it('is used up by what has gone or is wanted again', () => {
    const gone = recordDeletions(confirmGuard(held(100, 60)), 60, NOW_MS);
    expect(gone).toEqual(UNGUARDED);
    expect(verdictOf(40, 21, gone).verdict).toBe('hold');
    const wantedAgain = verdictOf(100, 0, confirmGuard(held(100, 60))).state;
    expect(verdictOf(100, 60, wantedAgain).verdict).toBe('hold');
  });

  it('changes nothing while nothing is held', () => {
    const state = recordDeletions(UNGUARDED, 3, NOW_MS);
    expect(confirmGuard(state)).toBe(state);
  });
});

describe('guardCheckMs()', () => {
  it('tells when a hold ends by itself', () => {
    expect(guardCheckMs(UNGUARDED, NOW_MS, OPTIONS)).toBeNull();
    expect(guardCheckMs(held(100, 60), NOW_MS + 100_000, OPTIONS)).toBe(200_000);
    expect(guardCheckMs(held(100, 60), NOW_MS + 400_000, OPTIONS)).toBe(0);
  });
});
