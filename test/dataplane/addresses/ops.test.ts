import { describe, expect, test } from 'vitest';
import { addressesDataplane } from '../../../src/dataplane/addresses/index.ts';
import {
  type AddressChange,
  type AddressOp,
  type AddressOps,
  operation,
  parseOp,
} from '../../../src/dataplane/addresses/ops.ts';
import { reduce } from '../../../src/dataplane/addresses/reduce.ts';
import { canonical } from '../../../src/dataplane/addresses/rows.ts';
import { MemoryLedger } from '../../fakes/ledger.ts';
import { FakeLinkKernel } from '../../fakes/link-kernel.ts';
import { ip, LINK } from './fixtures.ts';

const NEVER = new AbortController().signal;
const op = (change: AddressChange): AddressOp => operation(change, 'a test');

/** One script per operation: what is there before, the operation, what the kernel is asked for. */
const COVERAGE: {
  readonly [Name in keyof AddressOps]: {
    readonly before: readonly AddressChange[];
    readonly change: Extract<AddressChange, { readonly op: Name }>;
    readonly asks: readonly string[];
  };
} = (() => {
  const link: AddressChange = { op: 'addLink', link: LINK };
  const bound: AddressChange = { op: 'addAddress', link: LINK, address: ip('10.96.0.9') };
  const range = { link: LINK, prefix: '10.97.0.0/16' };
  const routed: AddressChange = { op: 'addRoute', ...range, source: null };
  return {
    addLink: { before: [], change: { op: 'addLink', link: LINK }, asks: ['addDummy svcplane0'] },
    setLinkUp: { before: [link], change: { op: 'setLinkUp', link: LINK }, asks: ['setUp 3'] },
    deleteLink: { before: [link, bound], change: { op: 'deleteLink', link: LINK }, asks: ['deleteLink 3'] },
    addAddress: {
      before: [link],
      change: { op: 'addAddress', link: LINK, address: ip('10.96.0.9') },
      asks: ['addAddress 10.96.0.9'],
    },
    deleteAddress: {
      before: [link, bound],
      change: { op: 'deleteAddress', link: LINK, address: ip('10.96.0.9') },
      asks: ['deleteAddress 10.96.0.9'],
    },
    addRoute: {
      before: [link],
      change: { op: 'addRoute', ...range, source: ip('192.0.2.10') },
      asks: ['addRoute 10.97.0.0/16'],
    },
    setRouteSource: {
      before: [link, routed],
      change: { op: 'setRouteSource', ...range, source: ip('192.0.2.10') },
      asks: ['replaceRoute 10.97.0.0/16'],
    },
    deleteRoute: {
      before: [link, routed],
      change: { op: 'deleteRoute', ...range },
      asks: ['deleteRoute 10.97.0.0/16'],
    },
    // What these change is the ledger alone; see their own tests below.
    adoptAddress: {
      before: [link, bound],
      change: { op: 'adoptAddress', address: ip('10.96.0.9') },
      asks: [],
    },
    adoptRoute: {
      before: [link, routed],
      change: { op: 'adoptRoute', prefix: '10.97.0.0/16' },
      asks: [],
    },
    forgetMissing: {
      before: [link],
      change: { op: 'forgetMissing', entry: { kind: 'link', link: 'old0' } },
      asks: [],
    },
  };
})();

describe.each(Object.values(COVERAGE))('$change.op', ({ before, change, asks }) => {
  test('apply() does to the kernel what reduce() says', async () => {
    const kernel = new FakeLinkKernel();
    kernel.foreignAddress(kernel.foreignLink('eth0', null), ip('192.0.2.10'), 24);
    const options = { interface: LINK, clusterIPs: 'bind' } as const;
    const dataplane = addressesDataplane(kernel, new MemoryLedger(), options);
    await dataplane.apply(before.map(op), NEVER);
    const rows = await dataplane.observe(NEVER);
    const asked = kernel.changes.length;
    const report = await dataplane.apply([op(change)], NEVER);
    expect(report).toEqual({ acknowledged: [op(change)], refused: [], notAttempted: [] });
    expect(kernel.changes.slice(asked)).toEqual(asks);
    expect(canonical(await dataplane.observe(NEVER))).toBe(canonical(reduce(rows, [op(change)])));
  });

  test('parseOp() reads back what JSON made of it, and refuses what is malformed', () => {
    const json: unknown = JSON.parse(JSON.stringify(op(change)));
    expect(parseOp(json)).toEqual(op(change));
    expect(() => parseOp({ op: change.op, subject: 'x', detail: '', reason: '' })).toThrow(RangeError);
  });
});

describe('parseOp()', () => {
  test.each([
    null,
    'addLink',
    {},
    { op: 'addVirtualServer' },
    { op: 'toString' },
  ])('is undefined for %j, which is no operation of ours', (value) => expect(parseOp(value)).toBeUndefined());

  test('says which field is wrong', () => {
    const add = op({ op: 'addAddress', link: LINK, address: ip('10.96.0.9') });
    const broken = { ...add, address: '10.96.0.900' };
    expect(() => parseOp(broken)).toThrow(
      'Cannot read operation addAddress: address: "10.96.0.900" is no IP address',
    );
  });
});
