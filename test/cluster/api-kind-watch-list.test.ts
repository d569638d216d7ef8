import { describe, expect, it } from 'vitest';
import { service } from '../objects.ts';
import {
  type FollowedKind,
  followKind,
  page,
  type Scripted,
  scriptedApiPerTest,
  serviceNames,
  tell,
  WAIT,
} from './scripted-api.ts';
import { json, refuse } from './stand-in.ts';

const named = (name: string) => service({ name, metadata: { resourceVersion: '5' } });
const denied =
  (status: number): Scripted =>
  (_, response) =>
    refuse(response, status, 'said so');
const ERROR_410 = { type: 'ERROR', object: { kind: 'Status', code: 410, message: 'too old' } };

const test = scriptedApiPerTest();
const { follow, asked } = test;
const names = serviceNames;

/** Two pages, of which the first says more has to come. */
const firstPage = page('Service', [named('a'), named('b')], { resourceVersion: '10', continue: 'more' });
const lastPage = page('Service', [named('c')], { resourceVersion: '10', continue: '' });

describe('KindWatch list', () => {
  it('goes page by page, until continue is empty, and takes all over at once', async () => {
    let watch: FollowedKind | undefined;
    let between: readonly string[] | undefined;
    test.api.list('Service', firstPage, (asked, response) => {
      between = watch && names(watch);
      lastPage(asked, response);
    });
    watch = follow();
    await asked(3);
    expect(test.api.log).toEqual(['list', 'list more', 'watch 10']);
    expect(test.api.server.asked.map(({ query }) => query.limit)).toEqual(['500', '500', undefined]);
    expect(between).toEqual([]);
    expect(names(watch)).toEqual(['web/a', 'web/b', 'web/c']);
    expect(watch.taken()).toBe(1);
  });

  it('begins again at once where its pages are gone', async () => {
    test.api.list('Service', firstPage, denied(410), firstPage, lastPage);
    const watch = follow();
    await asked(5);
    expect(test.api.log).toEqual(['list', 'list more', 'list', 'list more', 'watch 10']);
    expect(watch.delays).toEqual([]);
    expect(names(watch)).toHaveLength(3);
  });

  it('waits longer for each further time its pages are gone', async () => {
    test.api.list('Service', ...Array.from({ length: 3 }, () => [firstPage, denied(410)]).flat());
    const watch = follow();
    await expect.poll(() => watch.delays, WAIT).toEqual([2, 3]);
  });

  it.each<{ name: string; broken: Scripted; says: string }>([
    { name: 'cut in its header', broken: (_, response) => response.destroy(), says: 'socket hang up' },
    {
      name: 'cut in the middle',
      broken: (_, response) => {
        response.writeHead(200, { 'Content-Length': '1000' });
        response.write('{"kind":"ServiceList","items":[');
        setTimeout(() => response.destroy(), 5);
      },
      says: 'aborted',
    },
    {
      name: 'whole for HTTP, but no JSON',
      broken: (_, response) => response.end('{"kind":"ServiceList","items":['),
      says: 'answered by no ServiceList',
    },
    {
      name: 'of another kind',
      broken: page('EndpointSlice', [], { resourceVersion: '20' }),
      says: 'answered by no ServiceList',
    },
    {
      name: "a proxy's page",
      broken: (_, response) => response.end('<html>Welcome</html>'),
      says: 'answered by no ServiceList',
    },
    {
      name: 'without a version',
      broken: page('Service', [], {}),
      says: 'without a resourceVersion',
    },
    { name: 'forbidden', broken: denied(403), says: '403: said so' },
    { name: 'of a kind that every API server has, not found', broken: denied(404), says: '404: said so' },
    { name: 'not answered for being busy', broken: denied(503), says: '503: said so' },
  ])('changes nothing if a page is $name', async ({ broken, says }) => {
    test.api.list('Service', page('Service', [named('kept')], { resourceVersion: '10' }));
    test.api.watch('Service', tell(ERROR_410));
    // Twice: what a kept connection was cut of is asked for again.
    test.api.list('Service', firstPage, broken, broken);
    const watch = follow({ delayMs: 1_000_000 });
    await expect.poll(() => watch.states.at(-1)?.state, WAIT).toBe('failing');
    expect(names(watch)).toEqual(['web/kept']);
    expect(watch.taken()).toBe(1);
    expect(watch.states.at(-1)?.error?.message).toContain(says);
  });

  it('comes after each failure later, and tells of the same reason once', async () => {
    test.api.list('Service', ...Array.from({ length: 4 }, () => denied(500)));
    const watch = follow();
    await asked(6);
    expect(watch.delays).toEqual([1, 2, 3, 4]);
    expect(watch.states.map(({ state }) => state)).toEqual(['listing', 'failing', 'watching']);
  });

  it('is given up if its answer keeps silent', async () => {
    using hasty = await test.api.connect(50);
    test.api.list('Service', () => undefined);
    const watch = test.parts.use(followKind(hasty, { delayMs: 1_000_000 }));
    await expect.poll(() => watch.states.at(-1)?.error?.message, WAIT).toContain('no answer within 0.05 s');
    await watch[Symbol.asyncDispose]();
  });

  it('takes the items of a page that says null for none', async () => {
    test.api.list('Service', (_, response) =>
      json(response, 200, { kind: 'ServiceList', metadata: { resourceVersion: '7' }, items: null }),
    );
    follow();
    await asked(2);
    expect(test.api.log.at(-1)).toBe('watch 7');
  });

  it('of a kind that is not served is whole and empty, and asked for again later', async () => {
    const cidr = { metadata: { name: 'x', resourceVersion: '5' }, spec: { cidrs: ['10.96.0.0/16'] } };
    test.api.list('ServiceCIDR', (_, response) => response.writeHead(404).end('404 page not found\n'));
    test.api.list('ServiceCIDR', page('ServiceCIDR', [cidr], { resourceVersion: '10' }));
    const watch = follow({ kind: 'ServiceCIDR', times: { notServedMs: 50 } });
    await expect
      .poll(() => watch.states.map(({ state }) => state), WAIT)
      .toEqual(['listing', 'notServed', 'listing', 'watching']);
    expect(watch.store.facts.serviceCIDRs).toHaveLength(1);
    expect(watch.delays).toEqual([]);
    expect(watch.taken()).toBe(2);
  });

  it('is asked for where a kind is served no more', async () => {
    test.api.watch('ServiceCIDR', denied(404));
    const watch = follow({ kind: 'ServiceCIDR' });
    test.api.list('ServiceCIDR', page('ServiceCIDR', [], { resourceVersion: '10' }), denied(404));
    await expect.poll(() => watch.states.at(-1)?.state, WAIT).toBe('notServed');
  });
});
