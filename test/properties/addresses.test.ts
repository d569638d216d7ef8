import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addressesDataplane } from '../../src/dataplane/addresses/index.ts';
import { plan } from '../../src/dataplane/addresses/plan.ts';
import { reduce } from '../../src/dataplane/addresses/reduce.ts';
import {
  type AddressRow,
  type AddressRows,
  canonical,
  emptyRows,
  type LedgerEntry,
  ledgerKey,
  type Owner,
  type RouteRow,
} from '../../src/dataplane/addresses/rows.ts';
import { type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import { hostPrefixLength } from '../../src/model/cidr.ts';
import { Crash, seededRandom } from '../fakes/faulty.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import {
  expectConvergent,
  expectDeterministic,
  expectIdempotent,
  expectRestartable,
  type LawCase,
  type LawSubject,
  operationsOf,
} from './laws.ts';

const LINK = 'svcplane0';
const NEVER = new AbortController().signal;

function ip(text: string): IpAddress {
  return parseIpAddress(text) ?? expect.unreachable(text);
}

// Few of each, so that observed, wanted and foreign ones meet.
const ADDRESSES = ['10.96.0.1', '10.96.0.2', '10.96.0.10', '192.0.2.10', 'fd00::1', 'fd00::2'].map(ip);
const PREFIXES = ['10.96.0.0/16', '10.97.0.0/16', 'fd00::/112'];

const address = fc.constantFrom(...ADDRESSES);
const prefix = fc.constantFrom(...PREFIXES);
const source = fc.constantFrom(null, ...ADDRESSES.slice(3, 5));
const owner = fc.constantFrom<Owner>('svcplane', 'foreign');

function mapOf<Key, Value>(
  key: fc.Arbitrary<Key>,
  value: fc.Arbitrary<Value>,
): fc.Arbitrary<Map<Key, Value>> {
  const entries = fc.uniqueArray(fc.tuple(key, value), { selector: ([name]) => name });
  return entries.map((pairs) => new Map(pairs));
}

function addressRows(owners: fc.Arbitrary<Owner>): fc.Arbitrary<Map<IpAddress, AddressRow>> {
  const odd = fc.integer({ min: 0, max: 9 }).map((n) => n === 0);
  return mapOf(address, fc.tuple(owners, odd)).map(
    (rows) =>
      new Map(
        [...rows].map(([key, [by, isOdd]]) => {
          const prefixLength = by === 'foreign' && isOdd ? 24 : hostPrefixLength(key);
          return [key, { owner: by, prefixLength, origin: 'Service web/front' }];
        }),
      ),
  );
}

function routeRows(owners: fc.Arbitrary<Owner>): fc.Arbitrary<Map<string, RouteRow>> {
  return mapOf(prefix, fc.record({ owner: owners, source, origin: fc.constant('ServiceCIDR') }));
}

const entry: fc.Arbitrary<LedgerEntry> = fc.oneof(
  address.map((bound) => ({ kind: 'address', address: bound }) as const),
  prefix.map((range) => ({ kind: 'route', prefix: range }) as const),
  fc.constant({ kind: 'link', link: LINK } as const),
);

const observedRows: fc.Arbitrary<AddressRows> = fc
  .record({
    kind: fc.constantFrom('dummy', 'dummy', 'dummy', 'bridge', null),
    exists: fc.boolean(),
    isUp: fc.boolean(),
    ours: fc.boolean(),
    addresses: addressRows(owner),
    routes: routeRows(owner),
    foreignLocal: mapOf(
      address,
      fc.record({ link: fc.constantFrom('eth0', 'lo'), use: fc.constant('node' as const) }),
    ),
    entries: fc.uniqueArray(entry, { selector: ledgerKey }),
  })
  .map(({ kind, exists, isUp, ours, addresses, routes, foreignLocal, entries }) => {
    const hasOurs = exists && kind === 'dummy';
    const keep = <Key, Row extends { readonly owner: Owner }>(rows: Map<Key, Row>): Map<Key, Row> =>
      new Map([...rows].filter(([, row]) => exists && (hasOurs || row.owner === 'foreign')));
    const rows = { ...emptyRows(LINK), addresses: keep(addresses), routes: keep(routes), foreignLocal };
    const link = exists ? { name: LINK, exists, isUp, kind, ours: ours && hasOurs } : rows.link;
    const isThere = (missing: LedgerEntry): boolean => {
      if (missing.kind === 'link') return hasOurs;
      if (missing.kind === 'address') return rows.addresses.get(missing.address)?.owner === 'svcplane';
      return rows.routes.get(missing.prefix)?.owner === 'svcplane';
    };
    const missing = entries.filter((missed) => !isThere(missed));
    return { ...rows, link, missing: new Map(missing.map((missed) => [ledgerKey(missed), missed])) };
  });

const wantedRows: fc.Arbitrary<AddressRows> = fc
  .record({ addresses: addressRows(fc.constant('svcplane')), routes: routeRows(fc.constant('svcplane')) })
  .map(({ addresses, routes }) => {
    const empty = emptyRows(LINK);
    // As project() does: without an IPv4 address on the link, IPv4 routes do not last.
    if ([...routes.keys()].some((range) => !range.includes(':'))) {
      addresses.set(ip('10.96.0.0'), { owner: 'svcplane', prefixLength: 32, origin: 'ServiceCIDR' });
    }
    const exists = addresses.size + routes.size > 0;
    const link = exists ? { ...empty.link, exists, isUp: true, kind: 'dummy', ours: true } : empty.link;
    return { ...empty, link, addresses, routes };
  });

const cases: fc.Arbitrary<LawCase<AddressRows>> = fc.record({ observed: observedRows, wanted: wantedRows });

const reverse = <Key, Value>(map: ReadonlyMap<Key, Value>): Map<Key, Value> => new Map([...map].reverse());

const SUBJECT: LawSubject<AddressRows, Parameters<typeof reduce>[1][number]> = {
  dataplane: { plan, reduce },
  cases,
  withoutConnections: (rows) => rows,
  reversed: (rows) => ({
    ...rows,
    addresses: reverse(rows.addresses),
    routes: reverse(rows.routes),
    foreignLocal: rows.foreignLocal && reverse(rows.foreignLocal),
    missing: reverse(rows.missing),
  }),
  expectConverged,
};

/** Spelt out from the rows alone, not through plan(): every wanted row is ours unless something stands in its way. */
function expectConverged(before: AddressRows, after: AddressRows, wanted: AddressRows): void {
  const blocked = before.link.exists && before.link.kind !== 'dummy';
  if (blocked) {
    expect(after).toEqual(before);
    return;
  }
  const foreignOf = <Key, Row extends { readonly owner: Owner }>(rows: ReadonlyMap<Key, Row>) =>
    new Map([...rows].filter(([, row]) => row.owner === 'foreign'));
  const oursOf = <Key, Row extends { readonly owner: Owner }>(rows: ReadonlyMap<Key, Row>) =>
    new Set([...rows].filter(([, row]) => row.owner === 'svcplane').map(([key]) => key));

  const bindable = [...wanted.addresses.keys()].filter((bound) => {
    const have = before.addresses.get(bound);
    return !before.foreignLocal?.has(bound) && (!have || have.prefixLength === hostPrefixLength(bound));
  });
  expect(oursOf(after.addresses)).toEqual(new Set(bindable));
  for (const [bound, row] of foreignOf(before.addresses)) {
    if (!bindable.includes(bound)) expect(after.addresses.get(bound)).toEqual(row);
  }

  for (const [range, want] of wanted.routes) {
    const have = before.routes.get(range);
    const possible = want.source !== null && before.foreignLocal?.has(want.source);
    const expected = possible || have?.source === want.source ? want.source : null;
    if (have?.owner === 'foreign' && have.source !== expected) expect(after.routes.get(range)).toEqual(have);
    else expect(after.routes.get(range)).toMatchObject({ owner: 'svcplane', source: expected });
  }
  for (const range of oursOf(after.routes)) expect(wanted.routes.has(range)).toBe(true);
  for (const [range, row] of foreignOf(before.routes)) {
    if (!wanted.routes.has(range)) expect(after.routes.get(range)).toEqual(row);
  }

  if (wanted.link.exists) expect(after.link).toMatchObject({ exists: true, isUp: true, kind: 'dummy' });
  expect(after.missing.size).toBe(0);
}

describe('the laws of a dataplane', () => {
  test('plan() idempotent', () => expectIdempotent(SUBJECT));
  test('plan() convergent', () => expectConvergent(SUBJECT));
  test('plan() restartable', () => expectRestartable(SUBJECT));
  test('plan() deterministic', () => expectDeterministic(SUBJECT));
});

interface Node {
  readonly kernel: FakeLinkKernel;
  readonly ledger: MemoryLedger;
}

/** A node with an uplink, and a dummy of our name on which somebody else has an address. */
function nodeWithForeigners(hasLink: boolean): Node {
  const kernel = new FakeLinkKernel();
  const uplink = kernel.foreignLink('eth0', null);
  kernel.foreignAddress(uplink, ip('192.0.2.10'), 24);
  if (hasLink) {
    const link = kernel.foreignLink(LINK, 'dummy', false);
    kernel.foreignAddress(link, ip('203.0.113.1'), 32);
    kernel.foreignAddress(link, ip('10.96.0.10'), 24);
  }
  return { kernel, ledger: new MemoryLedger() };
}

function dataplaneOn({ kernel, ledger }: Node) {
  return addressesDataplane(kernel, ledger, { interface: LINK, clusterIPs: 'bind' });
}

/** One sync, as sync-once does it. @returns the number of operations left undone */
async function sync(node: Node, wanted: AddressRows): Promise<number> {
  const dataplane = dataplaneOn(node);
  const { make, break: broken } = dataplane.plan(await dataplane.observe(NEVER), wanted);
  const made = await dataplane.apply(make, NEVER);
  const left = made.refused.length + made.notAttempted.length;
  if (left > 0) return left;
  const unmade = await dataplane.apply(broken, NEVER);
  return unmade.refused.length + unmade.notAttempted.length;
}

/** What a sequence of syncs without faults leads to. */
async function calmly(hasLink: boolean, states: readonly AddressRows[]): Promise<string> {
  const node = nodeWithForeigners(hasLink);
  for (const wanted of states) await sync(node, wanted);
  return canonical(await dataplaneOn(node).observe(NEVER));
}

describe('apply() on a kernel', () => {
  const histories = fc.array(wantedRows, { minLength: 1, maxLength: 4 });

  test('reaches with 10 % of all changes refused what it reaches without, and loses nothing foreign', async () => {
    await fc.assert(
      fc.asyncProperty(fc.boolean(), histories, fc.integer(), async (hasLink, states, seed) => {
        const random = seededRandom(seed);
        const node = nodeWithForeigners(hasLink);
        node.kernel.faults = { before: () => (random() < 0.1 ? 'ENOBUFS' : undefined) };
        for (const wanted of states) while ((await sync(node, wanted)) > 0);
        expect(canonical(await dataplaneOn(node).observe(NEVER))).toBe(await calmly(hasLink, states));
        await expectSettled(node, states.at(-1) ?? emptyRows(LINK));
      }),
    );
  });

  test('reaches after a crash before any change what it reaches without, and cleans up all of it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.boolean(), histories, fc.nat({ max: 30 }), async (hasLink, states, crashAt) => {
        const node = nodeWithForeigners(hasLink);
        const before = await foreignState(node.kernel);
        let left = crashAt;
        node.kernel.faults = {
          before: () => {
            left -= 1;
            if (left === -1) throw new Crash();
            return undefined;
          },
        };
        for (const wanted of states) {
          try {
            await sync(node, wanted);
          } catch (error) {
            if (!(error instanceof Crash)) throw error;
            await sync(node, wanted);
          }
        }
        expect(canonical(await dataplaneOn(node).observe(NEVER))).toBe(await calmly(hasLink, states));
        await expectSettled(node, states.at(-1) ?? emptyRows(LINK));
        const dataplane = dataplaneOn(node);
        await dataplane.apply(dataplane.teardown(await dataplane.observe(NEVER)).break, NEVER);
        expect(node.ledger.read()).toMatchObject({
          addresses: new Set(),
          routes: new Set(),
          links: new Set(),
        });
        expect(await foreignState(node.kernel)).toEqual(before);
      }),
    );
  });
});

/** Nothing is left to do, doing it asks the kernel for nothing, and the ledger holds exactly what is ours. */
async function expectSettled(node: Node, wanted: AddressRows): Promise<void> {
  const { kernel, ledger } = node;
  kernel.faults = undefined;
  const dataplane = dataplaneOn(node);
  const rows = await dataplane.observe(NEVER);
  expect(operationsOf(dataplane.plan(rows, wanted))).toEqual([]);
  const writes = [kernel.changes.length, ledger.writes];
  await sync(node, wanted);
  expect([kernel.changes.length, ledger.writes]).toEqual(writes);
  expect(rows.missing.size).toBe(0);
}

/** Everything of the kernel, to be had again after a clean-up; a foreign link of our name is then up, though. */
async function foreignState(kernel: FakeLinkKernel): Promise<unknown> {
  const links = (await kernel.links()).map(({ index, name, kind }) => ({ index, name, kind }));
  return { links, addresses: await kernel.addresses(), routes: await kernel.localRoutes() };
}
