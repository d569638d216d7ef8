import { describe, expect, it } from 'vitest';
import { service } from '../objects.ts';
import { page, scriptedApiPerTest, serviceNames, tell, tellAndEnd, WAIT } from './scripted-api.ts';
import { refuse } from './stand-in.ts';

const at = (resourceVersion: string, name = 'front') => service({ name, metadata: { resourceVersion } });
const added = (resourceVersion: string, name?: string) => ({
  type: 'ADDED',
  object: at(resourceVersion, name),
});
const bookmark = (resourceVersion: string) => ({
  type: 'BOOKMARK',
  object: { kind: 'Service', metadata: { resourceVersion } },
});
const errorEvent = (code: number, more = {}) => ({
  type: 'ERROR',
  object: { kind: 'Status', code, message: 'said so', ...more },
});
const whole = page('Service', [at('5')], { resourceVersion: '10' });

const test = scriptedApiPerTest();
const { follow, asked } = test;
const names = serviceNames;

describe('KindWatch watch', () => {
  it('begins at the version of the list, and asks for bookmarks and an end', async () => {
    test.api.list('Service', whole);
    const watch = follow({ times: { watchMs: 60_000 } });
    await asked(2);
    expect(test.api.log).toEqual(['list', 'watch 10']);
    const { query } = test.api.server.asked[1] ?? {};
    expect(query).toMatchObject({
      allowWatchBookmarks: 'true',
      labelSelector: '!service.kubernetes.io/service-proxy-name',
    });
    expect(Number(query?.timeoutSeconds)).toBeGreaterThanOrEqual(60);
    expect(Number(query?.timeoutSeconds)).toBeLessThanOrEqual(120);
    expect(names(watch)).toEqual(['web/front']);
  });

  it('goes on from the last event or bookmark, and counts no bookmark as an event', async () => {
    test.api.watch('Service', tellAndEnd(added('12')), tellAndEnd(bookmark('20')));
    const watch = follow();
    await asked(4);
    expect(test.api.log).toEqual(['list', 'watch 10', 'watch 12', 'watch 20']);
    expect(watch.count('events')).toBe(1);
    expect(watch.count('restarts')).toBe(2);
    expect(watch.delays).toEqual([]);
  });

  it.each([
    { name: '410 as an event', script: tell(errorEvent(410)) },
    {
      name: '410 as an answer',
      script: (_: unknown, response: Parameters<typeof refuse>[0]) => refuse(response, 410, 'too old'),
    },
  ])('lists again at once after $name, what came before it included', async ({ script }) => {
    test.api.watch('Service', tellAndEnd(added('12', 'early')), script);
    test.api.list('Service', whole, page('Service', [at('30', 'late')], { resourceVersion: '40' }));
    const watch = follow();
    await asked(5);
    expect(test.api.log).toEqual(['list', 'watch 10', 'watch 12', 'list', 'watch 40']);
    expect(names(watch)).toEqual(['web/late']);
    expect(watch.delays).toEqual([]);
    expect(watch.states.filter(({ state }) => state === 'failing')).toEqual([]);
  });

  it('waits longer for each 410 after the first', async () => {
    test.api.watch('Service', ...Array.from({ length: 4 }, () => tell(errorEvent(410))));
    const watch = follow();
    await expect.poll(() => watch.delays, WAIT).toEqual([2, 3, 4]);
    expect(watch.states).toContainEqual(
      expect.objectContaining({ state: 'failing', error: expect.objectContaining({ message: 'said so' }) }),
    );
  });

  it('waits as long as an ERROR 500 asks for, and goes on without a list', async () => {
    test.api.list('Service', whole);
    test.api.version = '12';
    test.api.watch('Service', tell(added('12'), errorEvent(500, { details: { retryAfterSeconds: 0.2 } })));
    const startMs = performance.now();
    const watch = follow();
    await asked(4);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(190);
    // The list of one only asks which version the server has.
    expect(test.api.log).toEqual(['list', 'watch 10', 'list', 'watch 12']);
    expect(test.api.server.asked[2]?.query).toMatchObject({ limit: '1' });
    expect(watch.count('lists')).toBe(1);
    expect(names(watch)).toEqual(['web/front']);
  });

  it.each([
    { name: 'an ERROR 500 that asks for no time', script: tell(errorEvent(500)), says: 'said so' },
    { name: 'an unknown type', script: tell({ type: 'RENAMED', object: at('12') }), says: '"RENAMED"' },
    { name: 'an event without a type', script: tell({ object: at('12') }), says: 'undefined' },
    {
      name: 'an object without a version',
      script: tell({ type: 'ADDED', object: service() }),
      says: 'without a resourceVersion',
    },
    { name: 'a bookmark without a version', script: tell(bookmark('')), says: 'without a resourceVersion' },
    { name: 'a version that is no number', script: tell(added('x1')), says: 'without a resourceVersion' },
    {
      name: 'a line that is no JSON',
      script: (_: unknown, response: Parameters<typeof refuse>[0]) =>
        response.writeHead(200).write('<html>\n'),
      says: 'no JSON',
    },
    {
      name: 'JSON that is no object',
      script: (_: unknown, response: Parameters<typeof refuse>[0]) => response.writeHead(200).write('[1]\n'),
      says: 'undefined',
    },
  ])('lists again after $name', async ({ script, says }) => {
    // Twice, because once is not told of while it was watching.
    test.api.watch('Service', script, script);
    const watch = follow();
    await asked(6);
    expect(test.api.log).toEqual(['list', 'watch 10', 'list', 'watch 10', 'list', 'watch 10']);
    expect(watch.delays).toEqual([1, 2]);
    expect(watch.states).toContainEqual(
      expect.objectContaining({
        state: 'failing',
        error: expect.objectContaining({ message: expect.stringContaining(says) }),
      }),
    );
  });

  it('takes events whose bytes come one by one, in the middle of characters', async () => {
    const event = {
      type: 'ADDED',
      object: service({ name: 'bad', metadata: { resourceVersion: '12' }, spec: { type: 'späß🙂' } }),
    };
    test.api.watch('Service', (_, response) => {
      response.writeHead(200);
      const bytes = Buffer.from(`${JSON.stringify(event)}\n`);
      void (async () => {
        for (const byte of bytes) {
          response.write(Uint8Array.of(byte));
          await new Promise(setImmediate);
        }
      })();
    });
    const watch = follow();
    await expect.poll(() => watch.count('events'), WAIT).toBe(1);
    expect(watch.store.facts.rejected).toEqual([
      expect.objectContaining({ reason: expect.stringContaining('späß🙂') }),
    ]);
  });

  it('leaves out a line that was cut, and goes on before it', async () => {
    test.api.watch('Service', (_, response) => {
      response.writeHead(200);
      response.end(`${JSON.stringify(added('12'))}\n${JSON.stringify(added('13', 'cut')).slice(0, -5)}`);
    });
    const watch = follow();
    await asked(3);
    expect(test.api.log.at(-1)).toBe('watch 12');
    expect(names(watch)).toEqual(['web/front']);
  });

  it('opens one that the server ends at once slower and slower', async () => {
    test.api.watch('Service', ...Array.from({ length: 5 }, () => tellAndEnd()));
    const watch = follow();
    await asked(7);
    expect(watch.delays).toEqual([1, 2, 3, 4, 5]);
    expect(watch.count('lists')).toBe(1);
  });

  it('opens one that ends at once slower and slower though it tells what is known', async () => {
    test.api.watch('Service', ...Array.from({ length: 5 }, () => tellAndEnd(bookmark('10'))));
    const watch = follow();
    await asked(7);
    expect(watch.delays).toEqual([1, 2, 3, 4, 5]);
  });

  it('gives up one that keeps silent, and goes on without a list', async () => {
    test.api.list('Service', whole);
    test.api.version = '12';
    test.api.watch('Service', tell(added('12')));
    const watch = follow({ times: { watchMs: 1, marginMs: -850 } });
    await expect.poll(() => test.api.log.at(-1), WAIT).toBe('watch 12');
    expect(watch.count('lists')).toBe(1);
    expect(watch.delays[0]).toBe(1);
  });

  it('goes on where a connection was cut, and is not failing for that', async () => {
    test.api.list('Service', whole);
    test.api.version = '12';
    test.api.watch('Service', tell(added('12')));
    const watch = follow();
    await expect.poll(() => watch.count('events'), WAIT).toBe(1);
    test.api.server.cut();
    await asked(4);
    expect(test.api.log.at(-1)).toBe('watch 12');
    expect(watch.states.map(({ state }) => state)).toEqual(['listing', 'watching']);
  });

  it('lists again where the server comes back with an older version, as from a backup', async () => {
    test.api.watch('Service', tell(added('1000', 'lost')));
    const watch = follow();
    await expect.poll(() => watch.count('events'), WAIT).toBe(1);
    test.api.version = '900';
    test.api.server.cut();
    await expect.poll(() => test.api.log.at(-1), WAIT).toBe('watch 900');
    expect(names(watch)).toEqual([]);
  });

  it.each([
    401, 403, 429, 500, 503,
  ])('neither lists nor forgets while a watch is answered by %i', async (status) => {
    const denied = (_: unknown, response: Parameters<typeof refuse>[0]) =>
      refuse(response, status, 'not now');
    test.api.list('Service', whole);
    // A 401 is asked again at once, with a token that may be new.
    test.api.watch('Service', ...Array.from({ length: status === 401 ? 4 : 2 }, () => denied));
    const watch = follow();
    await expect.poll(() => watch.delays, WAIT).toEqual([1, 2]);
    await expect.poll(() => test.api.log.at(-1), WAIT).toBe('watch 10');
    expect(watch.count('lists')).toBe(1);
    expect(names(watch)).toEqual(['web/front']);
    expect(watch.states).toContainEqual(
      expect.objectContaining({
        state: 'failing',
        error: expect.objectContaining({
          message: `Cannot GET ${test.api.server.url}/api/v1/services: ${status}: not now`,
        }),
      }),
    );
  });

  it('waits as Retry-After says', async () => {
    test.api.watch('Service', (_, response) => refuse(response, 429, 'busy', { 'Retry-After': '1' }));
    const startMs = performance.now();
    follow();
    await asked(4);
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(950);
  });

  it('ends when aborted while it waits', async () => {
    test.api.watch('Service', (_, response) => refuse(response, 500, 'no'));
    const watch = follow({ delayMs: 1_000_000 });
    await expect.poll(() => watch.delays, WAIT).toEqual([1]);
    await watch[Symbol.asyncDispose]();
  });
});
