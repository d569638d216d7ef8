import { describe, expect, test } from 'vitest';
import type { AddressOp, AddressOps } from '../../../src/dataplane/addresses/ops.ts';
import {
  holdUnwantedAddresses,
  plan,
  retainAddresses,
  teardown,
} from '../../../src/dataplane/addresses/plan.ts';
import { reduce } from '../../../src/dataplane/addresses/reduce.ts';
import {
  type AddressRows,
  emptyRows,
  type LedgerEntry,
  ledgerKey,
} from '../../../src/dataplane/addresses/rows.ts';
import type { Plan } from '../../../src/dataplane/dataplane.ts';
import { ip, LINK, ours, route, rowsWith, theirs, UP } from './fixtures.ts';

const NOTHING = emptyRows(LINK);
const missing = (...entries: LedgerEntry[]) => new Map(entries.map((entry) => [ledgerKey(entry), entry]));
const eth0 = (...addresses: string[]) =>
  new Map(addresses.map((address) => [ip(address), { link: 'eth0', use: 'node' } as const]));

/** A new operation does not compile until it is named here, and fails until it is planned. */
const EVERY_OP: { readonly [Name in keyof AddressOps]: true } = {
  addLink: true,
  setLinkUp: true,
  addRoute: true,
  setRouteSource: true,
  adoptRoute: true,
  addAddress: true,
  adoptAddress: true,
  deleteAddress: true,
  deleteRoute: true,
  deleteLink: true,
  forgetMissing: true,
};

/** One line per operation, as it would be shown. */
function linesOf({ make, break: broken }: Plan<AddressOp>): string[] {
  const line = ({ op, subject, detail, reason }: AddressOp) => `${op} ${subject} (${detail}) ${reason}`;
  return [...make.map((op) => `make ${line(op)}`), ...broken.map((op) => `break ${line(op)}`)];
}

const CASES: readonly {
  readonly name: string;
  readonly observed: AddressRows;
  readonly wanted: AddressRows;
  readonly lines: readonly string[];
  readonly conflicts?: readonly string[];
}[] = [
  {
    name: 'makes link, then routes, then addresses in numeric order',
    observed: NOTHING,
    wanted: rowsWith({
      addresses: new Map([ours('10.96.0.10', 'Service a/b'), ours('10.96.0.9', 'Service a/c')]),
      routes: new Map([route('10.97.0.0/16', '192.0.2.10')]),
    }),
    lines: [
      'make addLink link svcplane0 (type dummy, up) addresses of Services are bound to it',
      'make addRoute route 10.97.0.0/16 (dev svcplane0 src 192.0.2.10) ServiceCIDR 10.97.0.0/16',
      'make addAddress address 10.96.0.9 (dev svcplane0) Service a/c',
      'make addAddress address 10.96.0.10 (dev svcplane0) Service a/b',
    ],
  },
  {
    name: 'brings a link up that is down',
    observed: rowsWith({ link: { ...UP, isUp: false } }),
    wanted: rowsWith({}),
    lines: ['make setLinkUp link svcplane0 (down → up) addresses of Services are bound to it'],
  },
  {
    name: 'deletes what is ours and wanted no more, the link stays',
    observed: rowsWith({
      addresses: new Map([ours('10.96.0.10'), ours('10.96.0.9')]),
      routes: new Map([route('10.97.0.0/16', null)]),
    }),
    wanted: NOTHING,
    lines: [
      'break deleteAddress address 10.96.0.9 (dev svcplane0) no Service has it',
      'break deleteAddress address 10.96.0.10 (dev svcplane0) no Service has it',
      'break deleteRoute route 10.97.0.0/16 (dev svcplane0) no ServiceCIDR is routed as it',
    ],
  },
  {
    name: 'adopts what is exactly as wanted, and leaves the rest of somebody else',
    observed: rowsWith({
      addresses: new Map([theirs('10.96.0.9'), theirs('203.0.113.1')]),
      routes: new Map([route('10.97.0.0/16', null, 'foreign'), route('10.98.0.0/16', null, 'foreign')]),
    }),
    wanted: rowsWith({
      addresses: new Map([ours('10.96.0.9', 'Service a/b')]),
      routes: new Map([route('10.97.0.0/16', null)]),
    }),
    lines: [
      'make adoptRoute route 10.97.0.0/16 (owner foreign → svcplane) ServiceCIDR 10.97.0.0/16',
      'make adoptAddress address 10.96.0.9 (owner foreign → svcplane) Service a/b',
    ],
  },
  {
    name: 'reports what somebody else holds otherwise',
    observed: rowsWith({
      addresses: new Map([theirs('10.96.0.9', 24)]),
      routes: new Map([route('10.97.0.0/16', '192.0.2.11', 'foreign')]),
    }),
    wanted: rowsWith({
      addresses: new Map([ours('10.96.0.9', 'Service a/b')]),
      routes: new Map([route('10.97.0.0/16', null)]),
    }),
    lines: [],
    conflicts: [
      'Service a/b: 10.96.0.9 is on svcplane0 as 10.96.0.9/24, made by somebody else; it is served so',
      'ServiceCIDR 10.97.0.0/16: 10.97.0.0/16 is routed to svcplane0 by somebody else, with source 192.0.2.11; it is served so',
    ],
  },
  {
    name: 'does not bind what another link has',
    observed: rowsWith({ foreignLocal: eth0('198.51.100.7') }),
    wanted: rowsWith({ addresses: new Map([ours('198.51.100.7', 'Service a/b')]) }),
    lines: [],
    conflicts: ['Service a/b: 198.51.100.7 is an address of eth0; it is served there and not bound'],
  },
  {
    name: "binds what is on kube-proxy's link, and keeps what is bound on both",
    observed: rowsWith({
      addresses: new Map([ours('198.51.100.8')]),
      foreignLocal: new Map(
        ['198.51.100.7', '198.51.100.8'].map((address) => [
          ip(address),
          { link: 'kube-ipvs0', use: 'proxy' } as const,
        ]),
      ),
    }),
    wanted: rowsWith({
      addresses: new Map([ours('198.51.100.7', 'Service a/b'), ours('198.51.100.8', 'Service a/c')]),
    }),
    lines: ['make addAddress address 198.51.100.7 (dev svcplane0) Service a/b'],
  },
  {
    name: 'unbinds what another link has now',
    observed: rowsWith({
      addresses: new Map([ours('198.51.100.7')]),
      foreignLocal: eth0('198.51.100.7'),
    }),
    wanted: rowsWith({ addresses: new Map([ours('198.51.100.7', 'Service a/b')]) }),
    lines: ['break deleteAddress address 198.51.100.7 (dev svcplane0) it is an address of eth0 now'],
    conflicts: ['Service a/b: 198.51.100.7 is an address of eth0; it is served there and not bound'],
  },
  {
    name: 'touches nothing of a link that is no dummy',
    observed: rowsWith({
      link: { ...UP, kind: 'bridge', ours: false },
      addresses: new Map([theirs('10.96.0.9')]),
      missing: missing({ kind: 'address', address: ip('10.96.0.9') }),
    }),
    wanted: rowsWith({ addresses: new Map([ours('10.96.0.9'), ours('10.96.0.10')]) }),
    lines: [],
    conflicts: [
      'link svcplane0: it exists and is a bridge, not a dummy: name another --interface, or delete it',
    ],
  },
  {
    name: 'changes the source of a route in place, to none if it is not local',
    observed: rowsWith({
      routes: new Map([route('10.96.0.0/16', '192.0.2.9'), route('10.97.0.0/16', '192.0.2.9')]),
      foreignLocal: eth0('192.0.2.10'),
    }),
    wanted: rowsWith({
      routes: new Map([route('10.96.0.0/16', '192.0.2.10'), route('10.97.0.0/16', '192.0.2.11')]),
    }),
    lines: [
      'make setRouteSource route 10.96.0.0/16 (dev svcplane0 src 192.0.2.10) ServiceCIDR 10.96.0.0/16',
      'make setRouteSource route 10.97.0.0/16 (dev svcplane0) ServiceCIDR 10.97.0.0/16',
    ],
    conflicts: [
      'ServiceCIDR 10.97.0.0/16: 192.0.2.11 is no address of this host, so the route to 10.97.0.0/16 goes without a source',
    ],
  },
  {
    name: 'forgets what only the ledger has, unless it is about to be made',
    observed: rowsWith({
      missing: missing(
        { kind: 'address', address: ip('10.96.0.9') },
        { kind: 'address', address: ip('10.96.0.10') },
        { kind: 'route', prefix: '10.97.0.0/16' },
        { kind: 'link', link: 'old0' },
      ),
    }),
    wanted: rowsWith({ addresses: new Map([ours('10.96.0.9', 'Service a/b')]) }),
    lines: [
      'make addAddress address 10.96.0.9 (dev svcplane0) Service a/b',
      'break forgetMissing address 10.96.0.10 (in the ledger only) the kernel does not have it, and no Service needs it',
      'break forgetMissing link old0 (in the ledger only) the kernel does not have it, and no Service needs it',
      'break forgetMissing route 10.97.0.0/16 (in the ledger only) the kernel does not have it, and no Service needs it',
    ],
  },
];

describe('plan()', () => {
  test.each(CASES)('$name', ({ observed, wanted, lines, conflicts = [] }) => {
    const planned = plan(observed, wanted);
    expect(linesOf(planned)).toEqual(lines);
    expect(planned.conflicts.map(({ subject, reason }) => `${subject}: ${reason}`)).toEqual(conflicts);
  });
});

test('plan() and teardown() are seen here to plan every operation there is', () => {
  const link = rowsWith({ addresses: new Map([ours('10.96.0.9')]) });
  const plans = [...CASES.map(({ observed, wanted }) => plan(observed, wanted)), teardown(link)];
  const planned = new Set(
    plans.flatMap(({ make, break: broken }) => [...make, ...broken]).map(({ op }) => op),
  );
  expect([...planned].sort()).toEqual(Object.keys(EVERY_OP).sort());
});

describe('teardown()', () => {
  const addresses = [ours('10.96.0.10'), ours('10.96.0.9')];

  test('deletes our addresses, routes and link, and forgets what is missing', () => {
    const observed = rowsWith({
      addresses: new Map(addresses),
      routes: new Map([route('10.97.0.0/16', null)]),
      missing: missing({ kind: 'link', link: 'old0' }),
    });
    const planned = teardown(observed);
    expect(linesOf(planned).map((line) => line.split(' (')[0])).toEqual([
      'break deleteAddress address 10.96.0.9',
      'break deleteAddress address 10.96.0.10',
      'break deleteRoute route 10.97.0.0/16',
      'break deleteLink link svcplane0',
      'break forgetMissing link old0',
    ]);
    expect(reduce(observed, planned.break)).toEqual({ ...NOTHING, foreignLocal: observed.foreignLocal });
  });

  test.each([
    { name: 'somebody else has an address on it', rows: { addresses: new Map([theirs('203.0.113.1')]) } },
    {
      name: 'somebody else has a route through it',
      rows: { routes: new Map([route('10.97.0.0/16', null, 'foreign')]) },
    },
    { name: 'somebody else made it', rows: { link: { ...UP, ours: false } } },
  ])('leaves the link where $name', ({ rows }) => {
    expect(linesOf(teardown(rowsWith(rows)))).toEqual([]);
  });
});

describe('retainAddresses()', () => {
  const observed = rowsWith({ addresses: new Map([ours('10.96.0.9'), theirs('203.0.113.1')]) });

  test('keeps an address of ours that is bound now, and no other', () => {
    const asked = new Set([ip('10.96.0.9'), ip('10.96.0.77'), ip('203.0.113.1')]);
    const wanted = retainAddresses(observed, NOTHING, asked);
    expect([...wanted.addresses.keys()]).toEqual(['10.96.0.9']);
    expect(linesOf(plan(observed, wanted))).toEqual([]);
  });

  test('returns its argument where there is nothing to keep', () => {
    expect(retainAddresses(observed, NOTHING, new Set())).toBe(NOTHING);
  });
});

describe('holdUnwantedAddresses()', () => {
  const held = (address: string) => ({
    frontends: [
      { address: ip(address), port: 80, protocol: 'TCP' as const, mark: null, endpoints: new Set<never>() },
    ],
  });
  const observed = rowsWith({
    addresses: new Map([ours('10.96.0.0'), ours('203.0.113.9'), ours('203.0.113.10')]),
    routes: new Map([route('10.96.0.0/16', null), route('10.97.0.0/16', null)]),
  });

  test('keeps the address of an unwanted frontend', () => {
    const planned = plan(observed, holdUnwantedAddresses(observed, NOTHING, held('203.0.113.9')));
    expect(planned.break.map(({ op, subject }) => `${op} ${subject}`)).toEqual([
      'deleteAddress address 10.96.0.0',
      'deleteAddress address 203.0.113.10',
      'deleteRoute route 10.96.0.0/16',
      'deleteRoute route 10.97.0.0/16',
    ]);
  });

  test('keeps the route over it, and the address that routes need on the link', () => {
    const planned = plan(observed, holdUnwantedAddresses(observed, NOTHING, held('10.96.0.50')));
    expect(planned.break.map(({ op, subject }) => `${op} ${subject}`)).toEqual([
      'deleteAddress address 203.0.113.9',
      'deleteAddress address 203.0.113.10',
      'deleteRoute route 10.97.0.0/16',
    ]);
  });
});

describe('reduce()', () => {
  test('returns its argument for no operations', () => {
    expect(reduce(NOTHING, [])).toBe(NOTHING);
  });
});
