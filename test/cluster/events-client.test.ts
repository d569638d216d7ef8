import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EVENT_LIMITS, EventQueue } from '../../src/cluster/event-queue.ts';
import { type Occurrence, rejectedServices, started } from '../../src/cluster/events.ts';
import { EventRecorder, type EventRequest } from '../../src/cluster/events-client.ts';

const rejected = (service: string): readonly Occurrence[] =>
  rejectedServices([{ subject: `Service ${service}`, reason: 'no' }]);

/** An API server that keeps Events as the real one does. */
class FakeEvents {
  readonly events = new Map<string, object>();
  readonly asked: string[] = [];
  /** Answers that come first, whatever is asked; an Error is thrown. */
  first: (number | Error)[] = [];

  readonly request: EventRequest = async (method, path, { body, query, contentType }) => {
    this.asked.push(`${method} ${path}`);
    if (method === 'GET')
      return { status: 200, body: { items: [{ metadata: { uid: `uid of ${query?.fieldSelector}` } }] } };
    const forced = this.first.shift();
    if (forced instanceof Error) throw forced;
    if (forced !== undefined) return { status: forced, body: { message: 'forced' } };
    const key = method === 'POST' ? `${path}/${Object(body).metadata.name}` : path;
    const before = this.events.get(key);
    if (method === 'POST' && before) return { status: 409, body: {} };
    if (method === 'PATCH' && !before) return { status: 404, body: {} };
    if (method === 'PATCH') expect(contentType).toBe('application/merge-patch+json');
    this.events.set(key, { ...before, ...Object(body) });
    return { status: method === 'POST' ? 201 : 200, body: {} };
  };
}

let api: FakeEvents;
let ended: AbortController;
let runs: Promise<void>[];
let nowMs: number;
beforeEach(() => {
  api = new FakeEvents();
  ended = new AbortController();
  runs = [];
  nowMs = 0;
});
afterEach(async () => {
  ended.abort();
  await Promise.all(runs);
});

function recorder(node = 'n0'): EventRecorder {
  const queue = new EventQueue({ ...EVENT_LIMITS, repeatMs: 1000 });
  const made = new EventRecorder({
    request: api.request,
    node,
    queue,
    nowMs: () => nowMs,
    retryDelayMs: () => 1,
  });
  runs.push(made.run(ended.signal));
  return made;
}

const events = () => [...api.events.values()];

describe('EventRecorder', () => {
  it('writes what occurs, with the uid of the Service', async () => {
    const made = recorder();
    made.record([started('n0'), ...rejected('web/front')]);
    await expect.poll(() => made.counts.written).toBe(2);
    expect(events()).toMatchObject([
      { reason: 'Starting', regarding: { kind: 'Node', uid: 'n0' } },
      { reason: 'SvcplaneRejected', regarding: { uid: 'uid of metadata.name=front' } },
    ]);
  });

  it('raises the count of what goes on', async () => {
    const made = recorder();
    made.record(rejected('web/front'));
    await expect.poll(() => made.counts.written).toBe(1);
    made.record(rejected('web/front'));
    nowMs = 1000;
    made.record(rejected('web/front'));
    await expect.poll(() => made.counts.written).toBe(2);
    expect(events()).toMatchObject([{ series: { count: 3 } }]);
  });

  it('creates anew what the API server has forgotten', async () => {
    const made = recorder();
    made.record(rejected('web/front'));
    await expect.poll(() => made.counts.written).toBe(1);
    api.events.clear();
    nowMs = 1000;
    made.record(rejected('web/front'));
    await expect.poll(() => made.counts.written).toBe(2);
    expect(events()).toHaveLength(1);
    expect(made.lastError).toBeNull();
  });

  it('says the same of one Service once for all nodes', async () => {
    const first = recorder('n0');
    first.record(rejected('web/front'));
    await expect.poll(() => first.counts.written).toBe(1);
    const second = recorder('n1');
    second.record(rejected('web/front'));
    await expect.poll(() => api.asked.filter((line) => line.startsWith('POST')).length).toBe(2);
    second.record([started('n1')]);
    await expect.poll(() => second.counts).toMatchObject({ written: 1, failed: 0 });
    expect(events()).toHaveLength(2);
  });

  it.each([
    { name: 'no answer', answers: [new Error('broken'), new Error('broken')] },
    { name: 'an answer that asks to wait', answers: [429, 503, 500] },
  ])('tries again after $name', async ({ answers }) => {
    api.first = [...answers];
    const made = recorder();
    made.record([started('n0')]);
    await expect.poll(() => made.counts).toMatchObject({ written: 1, failed: 0 });
  });

  it.each([
    { name: 'is refused', answers: [403], error: 'Cannot write an Event: 403 forced' },
    {
      name: 'is never answered',
      answers: Array(5).fill(new Error('broken')),
      error: 'Cannot write an Event: broken',
    },
  ])('counts what $name, and goes on', async ({ answers, error }) => {
    api.first = [...answers];
    const made = recorder();
    made.record([started('n0')]);
    await expect.poll(() => made.counts).toMatchObject({ written: 0, failed: 1 });
    expect(made.lastError).toBe(error);
    made.record(rejected('web/front'));
    await expect.poll(() => made.counts).toMatchObject({ written: 1, failed: 1 });
  });

  it('does without the uid where Services may not be listed', async () => {
    const allowed = api.request;
    const made = new EventRecorder({
      node: 'n0',
      request: async (method, path, options) =>
        method === 'GET' ? { status: 403, body: {} } : allowed(method, path, options),
    });
    runs.push(made.run(ended.signal));
    made.record(rejected('web/front'));
    await expect.poll(() => made.counts.written).toBe(1);
    expect(events()).not.toMatchObject([{ regarding: { uid: expect.anything() } }]);
  });

  it('ends when aborted, in whatever it waits for', async () => {
    api.first = Array(5).fill(new Error('broken'));
    const made = new EventRecorder({ node: 'n0', request: api.request, retryDelayMs: () => 1_000_000 });
    const run = made.run(ended.signal);
    made.record([started('n0')]);
    await expect.poll(() => made.lastError).not.toBeNull();
    ended.abort();
    await run;
    expect(made.counts).toMatchObject({ written: 0, failed: 0 });
  });
});
