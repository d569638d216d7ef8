import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type LoopOptions, SyncLoop, type SyncOutcome } from '../../src/sync/loop.ts';
import type { Reason } from '../../src/sync/trigger.ts';

const DONE: SyncOutcome = {
  isComplete: true,
  isWhole: true,
  drainCheckMs: null,
  guardCheckMs: null,
  auditStepMs: null,
};

/** A loop whose syncs are written down as `time reasons`, with a clock that the test moves. */
class Bench {
  readonly log: string[] = [];
  readonly errors: unknown[] = [];
  readonly stop = new AbortController();
  readonly loop: SyncLoop;
  readonly ended: Promise<void>;
  outcome: () => Promise<SyncOutcome>;
  /** Of the sync that runs, or ran last. */
  asked: AbortSignal | undefined;
  readonly #startMs = performance.now();

  constructor(options: Partial<LoopOptions> = {}, first: SyncOutcome = DONE) {
    this.outcome = async () => first;
    this.loop = new SyncLoop((reasons, _, asked) => this.#sync(reasons, asked), {
      auditIntervalMs: 0,
      onError: (error) => this.errors.push(error),
      random: () => 0,
      ...options,
    });
    this.ended = this.loop.run(this.stop.signal);
  }

  #sync(reasons: ReadonlySet<Reason>, asked: AbortSignal): Promise<SyncOutcome> {
    this.asked = asked;
    this.log.push(`${Math.round(performance.now() - this.#startMs)} ${[...reasons].join(', ')}`);
    return this.outcome();
  }
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('SyncLoop', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  afterEach(() => void vi.useRealTimers());

  test('run() syncs at the start, then for changes only: the first at once, those after it together', async () => {
    const { log, loop, stop, ended } = new Bench();
    await pass(500);
    loop.request('address notice');
    await pass(0);
    loop.request('files changed');
    await pass(5);
    loop.request('address notice');
    await pass(10_000);
    expect(log).toEqual(['0 start', '500 address notice', '515 files changed, address notice']);
    stop.abort();
    await ended;
  });

  test('run() makes one sync at a time', async () => {
    const bench = new Bench();
    await pass(500);
    let finish: (outcome: SyncOutcome) => void = () => undefined;
    bench.outcome = () => new Promise((resolve) => (finish = resolve));
    bench.loop.request('address notice');
    await pass(300);
    expect(bench.asked?.aborted).toBe(false);
    bench.loop.request('files changed');
    expect(bench.asked?.aborted).toBe(true);
    await pass(300);
    expect(bench.log).toEqual(['0 start', '500 address notice']);
    finish(DONE);
    await pass(0);
    expect(bench.log).toEqual(['0 start', '500 address notice', '1100 files changed']);
    bench.stop.abort();
    finish(DONE);
    await bench.ended;
  });

  test('run() tries again after a failure, later each time, and at once for a change', async () => {
    const bench = new Bench({}, { ...DONE, isComplete: false });
    await pass(1600);
    bench.outcome = () => Promise.reject(new Error('broken'));
    await pass(2000);
    bench.loop.request('files changed');
    bench.outcome = async () => DONE;
    await pass(60_000);
    expect(bench.log).toEqual(['0 start', '500 retry', '1500 retry', '3500 retry', '3600 files changed']);
    expect(bench.errors).toEqual([new Error('broken')]);
    bench.stop.abort();
    await bench.ended;
  });

  test('run() looks at draining connections again, and audits after a rest', async () => {
    const bench = new Bench({ auditIntervalMs: 30_000 }, { ...DONE, drainCheckMs: 1000 });
    await pass(1500);
    bench.outcome = async () => DONE;
    await pass(70_000);
    expect(bench.log).toEqual(['0 start', '1000 drain', '2000 drain', '32000 audit', '62000 audit']);
    bench.stop.abort();
    await bench.ended;
  });

  test('run() goes on with an audit soon, whatever else is asked for, and rests after its last step', async () => {
    const bench = new Bench({ auditIntervalMs: 30_000 });
    await pass(0);
    bench.outcome = async () => ({ ...DONE, isWhole: false, auditStepMs: 100 });
    await pass(30_000);
    bench.outcome = async () => ({ ...DONE, isWhole: false });
    await pass(20);
    bench.loop.request('cluster changed');
    await pass(40_000);
    expect(bench.log).toEqual([
      '0 start',
      '30000 audit',
      '30020 cluster changed',
      '30100 audit',
      '60100 audit',
    ]);
    bench.stop.abort();
    await bench.ended;
  });

  test('run() ends at once when aborted, and says nothing of a sync that was cut off', async () => {
    const bench = new Bench({ auditIntervalMs: 30_000 });
    bench.outcome = () =>
      new Promise((_, reject) =>
        bench.stop.signal.addEventListener('abort', () => reject(new Error('aborted'))),
      );
    bench.loop.request('files changed');
    await pass(100);
    bench.stop.abort();
    await bench.ended;
    expect(bench.errors).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('run() leaves no timer behind when aborted at rest', async () => {
    const { stop, ended } = new Bench({ auditIntervalMs: 30_000 });
    await pass(100);
    stop.abort();
    await ended;
    expect(vi.getTimerCount()).toBe(0);
  });
});
