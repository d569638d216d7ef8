import { describe, expect, it } from 'vitest';
import { EVENT_LIMITS, type EventLimits, EventQueue } from '../../src/cluster/event-queue.ts';
import { guardHeld, type Occurrence, rejectedServices } from '../../src/cluster/events.ts';

const of = (service: string, reason: string): Occurrence =>
  rejectedServices([{ subject: `Service ${service}`, reason }])[0] ?? guardHeld('none', '');
const EVENT = { name: 'e', namespace: 'web', count: 1, isOurs: true };

/** All that may be written now. */
function drain(queue: EventQueue, nowMs: number): readonly string[] {
  const notes: string[] = [];
  for (let next = queue.next(nowMs); next && !('waitMs' in next); next = queue.next(nowMs)) {
    notes.push(next.occurrence.note);
    queue.settle(next.occurrence, { ...EVENT, count: next.told?.count ?? 1 }, nowMs);
  }
  return notes;
}

const queueWith = (limits: Partial<EventLimits>) => new EventQueue({ ...EVENT_LIMITS, ...limits });

describe('EventQueue', () => {
  it('gives in order of arrival, the same only once', () => {
    const queue = new EventQueue();
    for (const note of ['a', 'b', 'a']) queue.add(of('web/x', note), 0);
    expect(drain(queue, 0)).toEqual(['a', 'b']);
    queue.add(of('web/x', 'a'), 1);
    expect(queue.next(1)).toBeUndefined();
  });

  it('repeats what goes on after a while, with how often it occurred', () => {
    const queue = queueWith({ repeatMs: 1000 });
    const occurrence = of('web/x', 'a');
    queue.add(occurrence, 0);
    expect(queue.next(0)).toEqual({ occurrence, told: null });
    queue.settle(occurrence, EVENT, 0);
    for (const ms of [100, 200, 300]) queue.add(occurrence, ms);
    expect(queue.next(300)).toBeUndefined();
    queue.add(occurrence, 1000);
    expect(queue.next(1000)).toMatchObject({ occurrence, told: { name: 'e', count: 5 } });
  });

  it('creates again what another node has told, and what is gone', () => {
    const queue = queueWith({ repeatMs: 1000 });
    const occurrence = of('web/x', 'a');
    queue.settle(occurrence, { ...EVENT, isOurs: false }, 0);
    queue.add(occurrence, 1000);
    expect(queue.next(1000)).toEqual({ occurrence, told: null });
    queue.settle(occurrence, EVENT, 1000);
    queue.forget(occurrence);
    queue.add(occurrence, 1001);
    expect(queue.next(1001)).toEqual({ occurrence, told: null });
  });

  it('lets one object say only so much by one reason', () => {
    const queue = queueWith({ perSubject: { burst: 2, intervalMs: 1000 } });
    for (const note of ['a', 'b', 'c']) queue.add(of('web/x', note), 0);
    queue.add(of('web/y', 'd'), 0);
    expect(drain(queue, 0)).toEqual(['a', 'b', 'd']);
    expect(queue.suppressed).toBe(1);
    queue.add(of('web/x', 'c'), 1000);
    queue.add(of('web/x', 'e'), 1000);
    expect(drain(queue, 1000)).toEqual(['c']);
  });

  it('writes only so fast, and says how long to wait', () => {
    const queue = queueWith({ overall: { burst: 2, intervalMs: 1000 } });
    for (const name of ['a', 'b', 'c', 'd']) queue.add(of(`web/${name}`, name), 0);
    expect(drain(queue, 0)).toEqual(['a', 'b']);
    expect(queue.next(400)).toEqual({ waitMs: 600 });
    expect(drain(queue, 1000)).toEqual(['c']);
    expect(drain(queue, 60_000)).toEqual(['d']);
  });

  it('is bounded: the oldest give way, and are counted', () => {
    const queue = queueWith({ capacity: 2 });
    for (const name of ['a', 'b', 'c', 'd']) queue.add(of(`web/${name}`, name), 0);
    expect({ length: queue.length, dropped: queue.dropped }).toEqual({ length: 2, dropped: 2 });
    expect(drain(queue, 0)).toEqual(['c', 'd']);
  });

  it('waits no longer than an interval where the clock was set back', () => {
    const queue = queueWith({ overall: { burst: 1, intervalMs: 1000 } });
    for (const name of ['a', 'b']) queue.add(of(`web/${name}`, name), 1_000_000);
    drain(queue, 1_000_000);
    expect(queue.next(0)).toEqual({ waitMs: 1000 });
  });
});
