import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLinkKernel } from '../../src/dataplane/addresses/client.ts';
import { addressesDataplane } from '../../src/dataplane/addresses/index.ts';
import { type KernelAnswer, type LinkKernel, MAX_CHANGES } from '../../src/dataplane/addresses/kernel.ts';
import { type AddressRows, canonical, emptyRows } from '../../src/dataplane/addresses/rows.ts';
import { desiredWith, ip, ours, route, rowsWith } from '../dataplane/addresses/fixtures.ts';
import { ask, refusalsOf } from '../dataplane/addresses/link-changes.ts';
import { MemoryLedger } from '../fakes/ledger.ts';
import { FakeLinkKernel } from '../fakes/link-kernel.ts';
import { run } from './probe.ts';

const LINK = 'svcplane0';
const UPLINK = 'uplink0';
const NEVER = new AbortController().signal;

/** Why not here, in one line; these tests change the links of their own network namespace. */
function whyNotHere(): string | undefined {
  if (process.env.SVCPLANE_LAB_KERNEL === undefined) return 'not started by scripts/lab';
  const { status, stderr } = spawnSync('ip', ['link', 'add', 'probe0', 'type', 'dummy'], {
    encoding: 'utf8',
  });
  if (status !== 0) return `no dummy links in this kernel: ${stderr.trim()}`;
  run(['ip', 'link', 'delete', 'probe0']);
  return undefined;
}

const skipReason = whyNotHere();
const options = skipReason === undefined ? {} : { skip: true, meta: { skipReason } };

interface ShownAddress {
  readonly local: string;
  readonly prefixlen: number;
  readonly scope: string;
  readonly nodad?: boolean;
  readonly tentative?: boolean;
}

/** `ip address` of a link, without what the kernel gives it by itself. */
function shownAddresses(link: string): ShownAddress[] {
  const [shown] = JSON.parse(run(['ip', '-j', 'address', 'show', 'dev', link]));
  const addresses: ShownAddress[] = shown.addr_info;
  return addresses.filter(({ local }) => !local.startsWith('fe80:'));
}

const shownNames = (link: string): string[] =>
  shownAddresses(link).map(({ local, prefixlen }) => `${local}/${prefixlen}`);

/** Local routes through our link that some program made. */
function shownRoutes(): string[] {
  const show = (family: string) =>
    run(['ip', family, 'route', 'show', 'table', 'local', 'dev', LINK, 'type', 'local', 'proto', 'static']);
  const lines = `${show('-4')}${show('-6')}`.split('\n').filter((line) => line !== '');
  return lines.map((line) =>
    line.replaceAll(/ (proto static|scope host|metric 1024|pref medium)/g, '').trim(),
  );
}

const exists = (link: string): boolean => spawnSync('ip', ['link', 'show', link]).status === 0;

describe('addresses', options, () => {
  beforeEach(() => {
    run(['ip', 'link', 'set', 'lo', 'up']);
    run(['ip', 'link', 'add', UPLINK, 'type', 'dummy']);
    run(['ip', 'link', 'set', UPLINK, 'up']);
    run(['ip', 'address', 'add', '192.0.2.10/24', 'dev', UPLINK]);
    run(['ip', 'address', 'add', '2001:db8::10/64', 'dev', UPLINK, 'nodad']);
  });

  afterEach(() => {
    for (const link of [UPLINK, LINK]) if (exists(link)) run(['ip', 'link', 'delete', link]);
  });

  async function sync(kernel: LinkKernel, ledger: MemoryLedger, wanted: AddressRows) {
    const dataplane = addressesDataplane(kernel, ledger, { interface: LINK, clusterIPs: 'bind' });
    const plan = dataplane.plan(await dataplane.observe(NEVER), wanted);
    const made = await dataplane.apply(plan.make, NEVER);
    const broken = await dataplane.apply(plan.break, NEVER);
    expect([...made.refused, ...broken.refused].map(({ message }) => message)).toEqual([]);
    return { conflicts: plan.conflicts, rows: await dataplane.observe(NEVER) };
  }

  async function teardown(kernel: LinkKernel, ledger: MemoryLedger): Promise<void> {
    const dataplane = addressesDataplane(kernel, ledger, { interface: LINK, clusterIPs: 'bind' });
    const plan = dataplane.teardown(await dataplane.observe(NEVER));
    const { refused } = await dataplane.apply(plan.break, NEVER);
    expect(refused).toEqual([]);
  }

  const WANTED = rowsWith({
    addresses: new Map([ours('10.97.0.0'), ours('10.96.0.9'), ours('10.96.0.10'), ours('fd00::9')]),
    routes: new Map([route('10.97.0.0/16', '192.0.2.10'), route('fd01::/112', '2001:db8::10')]),
  });

  it('apply() makes what ip shows, and nothing the second time', async () => {
    await using kernel = openLinkKernel();
    const ledger = new MemoryLedger();
    const { rows } = await sync(kernel, ledger, WANTED);
    expect(shownNames(LINK)).toEqual(['10.96.0.9/32', '10.96.0.10/32', '10.97.0.0/32', 'fd00::9/128']);
    expect(new Set(shownAddresses(LINK).map(({ scope }) => scope))).toEqual(new Set(['global']));
    expect(shownAddresses(LINK).at(-1)).toMatchObject({ nodad: true });
    expect(shownAddresses(LINK).some(({ tentative }) => tentative)).toBe(false);
    expect(shownRoutes()).toEqual(['local 10.97.0.0/16 src 192.0.2.10', 'local fd01::/112 src 2001:db8::10']);
    expect(canonical(rows)).toBe(canonical(WANTED));

    const before = [kernel.traffic().writeMessages, ledger.writes];
    await sync(kernel, ledger, WANTED);
    expect([kernel.traffic().writeMessages, ledger.writes]).toEqual(before);
  });

  it('apply() makes addresses and routes that answer on this node', async () => {
    await using kernel = openLinkKernel();
    await sync(kernel, new MemoryLedger(), WANTED);
    for (const address of ['10.96.0.9', '10.97.3.4', 'fd00::9', 'fd01::77']) {
      expect(run(['ip', 'route', 'get', address])).toContain('local ');
    }
  });

  it('apply() changes the source of a route in place', async () => {
    await using kernel = openLinkKernel();
    const ledger = new MemoryLedger();
    await sync(kernel, ledger, WANTED);
    run(['ip', 'address', 'add', '192.0.2.11/24', 'dev', UPLINK]);
    const moved = rowsWith({
      addresses: new Map([ours('10.97.0.0')]),
      routes: new Map([route('10.97.0.0/16', '192.0.2.11'), route('fd01::/112', null)]),
    });
    await sync(kernel, ledger, moved);
    expect(shownRoutes()).toEqual(['local 10.97.0.0/16 src 192.0.2.11', 'local fd01::/112']);
    expect(shownNames(LINK)).toEqual(['10.97.0.0/32']);
  });

  it('leaves alone what somebody else made, on our link and on others, teardown included', async () => {
    await using kernel = openLinkKernel();
    const ledger = new MemoryLedger();
    run(['ip', 'link', 'add', LINK, 'type', 'dummy']);
    run(['ip', 'address', 'add', '203.0.113.1/32', 'dev', LINK]);
    const wanted = rowsWith({
      addresses: new Map([ours('10.96.0.9', 'Service a/b'), ours('192.0.2.10', 'Service a/c')]),
    });
    const { conflicts } = await sync(kernel, ledger, wanted);
    expect(conflicts).toEqual([
      {
        subject: 'Service a/c',
        reason: '192.0.2.10 is an address of uplink0; it is served there and not bound',
      },
    ]);
    expect(shownNames(LINK)).toEqual(['203.0.113.1/32', '10.96.0.9/32']);
    await teardown(kernel, ledger);
    expect(shownNames(LINK)).toEqual(['203.0.113.1/32']);
    expect(shownNames(UPLINK)).toEqual(['192.0.2.10/24', '2001:db8::10/64']);
  });

  it('teardown() removes all of ours, the link included', async () => {
    await using kernel = openLinkKernel();
    const ledger = new MemoryLedger();
    await sync(kernel, ledger, WANTED);
    await teardown(kernel, ledger);
    expect(exists(LINK)).toBe(false);
    expect(ledger.read()).toEqual(new MemoryLedger().read());
  });

  it('leaves alone a link of our name that is no dummy', async () => {
    await using kernel = openLinkKernel();
    run(['ip', 'link', 'add', LINK, 'type', 'bridge']);
    const { conflicts } = await sync(kernel, new MemoryLedger(), WANTED);
    expect(conflicts).toMatchObject([{ reason: expect.stringContaining('it exists and is a bridge') }]);
    expect(shownNames(LINK)).toEqual([]);
  });

  it('binds and unbinds 600 addresses, and sees each', async () => {
    await using kernel = openLinkKernel();
    const ledger = new MemoryLedger();
    const frontends = Array.from({ length: 600 }, (_, i) => ({ address: `10.96.${i >> 8}.${i & 255}` }));
    const dataplane = addressesDataplane(kernel, ledger, { interface: LINK, clusterIPs: 'bind' });
    const { rows: wanted } = dataplane.project(desiredWith(frontends));
    const { rows } = await sync(kernel, ledger, wanted);
    expect(rows.addresses.size).toBe(600);
    expect(shownAddresses(LINK)).toHaveLength(600);
    await sync(kernel, ledger, emptyRows(LINK));
    expect(shownNames(LINK)).toEqual([]);
  });

  it('binds 600 addresses with at most one send per 64, the look-up of the link included', async () => {
    await using kernel = openLinkKernel();
    const frontends = Array.from({ length: 600 }, (_, i) => ({ address: `10.96.${i >> 8}.${i & 255}` }));
    const options = { interface: LINK, clusterIPs: 'bind' } as const;
    const dataplane = addressesDataplane(kernel, new MemoryLedger(), options);
    const { rows: wanted } = dataplane.project(desiredWith(frontends));
    const { make } = dataplane.plan(await dataplane.observe(NEVER), wanted);
    const before = kernel.traffic();
    await dataplane.apply(make, NEVER);
    const { writeSends, writeMessages, readSends } = kernel.traffic();
    expect(writeMessages).toBe(601);
    expect(writeSends + readSends - before.readSends).toBeLessThanOrEqual(600 / 64);
    expect(shownAddresses(LINK)).toHaveLength(600);
  });

  it('change() answers a whole batch of refusals, each with its own', async () => {
    await using kernel = openLinkKernel();
    await ask(kernel, { change: 'addDummy', name: LINK });
    const linkIndex = (await kernel.link(LINK))?.index ?? -1;
    const addresses = Array.from({ length: MAX_CHANGES }, (_, i) => ip(`fd00::${i.toString(16)}`));
    const taken = addresses.filter((_, i) => i % 3 === 0);
    await kernel.change(taken.map((address) => ({ change: 'addAddress', linkIndex, address })));
    const add = addresses.map((address) => ({ change: 'addAddress', linkIndex, address }) as const);
    const codes = (answers: readonly KernelAnswer[]) =>
      answers.map((answer) => (answer.outcome === 'ok' ? 'ok' : answer.code));
    expect(codes(await kernel.change(add))).toEqual(add.map((_, i) => (i % 3 === 0 ? 'EEXIST' : 'ok')));
    expect(codes(await kernel.change(add))).toEqual(add.map(() => 'EEXIST'));
    const routes = addresses.map((address) => {
      const source = ip('2001:db8::77');
      return { change: 'addRoute', linkIndex, prefix: `${address}/128`, source } as const;
    });
    expect(codes(await kernel.change(routes))).toEqual(routes.map(() => 'EINVAL'));
    expect(shownAddresses(LINK)).toHaveLength(MAX_CHANGES);
  });

  it('change() keeps the order of calls that do not wait for each other', async () => {
    await using kernel = openLinkKernel();
    await ask(kernel, { change: 'addDummy', name: LINK });
    const linkIndex = (await kernel.link(LINK))?.index ?? -1;
    const entry = { linkIndex, address: ip('10.96.0.9') };
    const add = { change: 'addAddress', ...entry } as const;
    const remove = { change: 'deleteAddress', ...entry } as const;
    const answers = await Promise.all([[add, remove], [remove, add], [add]].map((it) => kernel.change(it)));
    expect(answers.flat().map((answer) => (answer.outcome === 'ok' ? 'ok' : answer.code))).toEqual([
      'ok',
      'ok',
      'EADDRNOTAVAIL',
      'ok',
      'EEXIST',
    ]);
  });

  it('change() refuses more than fit into one exchange', async () => {
    await using kernel = openLinkKernel();
    const tooMany = Array.from(
      { length: MAX_CHANGES + 1 },
      () => ({ change: 'setUp', linkIndex: 1 }) as const,
    );
    await expect(kernel.change(tooMany)).rejects.toThrow(RangeError);
  });

  it('the kernel drops IPv4 routes, but no IPv6 routes, with the last address of their family', async () => {
    await using kernel = openLinkKernel();
    const fake = new FakeLinkKernel();
    for (const either of [kernel, fake]) {
      await ask(either, { change: 'addDummy', name: LINK });
      const linkIndex = (await either.link(LINK))?.index ?? -1;
      await either.change([
        ...['10.97.0.0/16', 'fd01::/112'].map(
          (prefix) => ({ change: 'addRoute', linkIndex, prefix, source: null }) as const,
        ),
        ...[ip('10.96.0.9'), ip('fd00::9')].flatMap((address) => [
          { change: 'addAddress', linkIndex, address } as const,
          { change: 'deleteAddress', linkIndex, address } as const,
        ]),
      ]);
      expect((await either.localRoutes()).map(({ prefix }) => prefix)).toEqual(['fd01::/112']);
    }
  });

  it('refuses as the fake kernel of the other tests does', async () => {
    await using kernel = openLinkKernel();
    const fake = new FakeLinkKernel();
    fake.foreignAddress(fake.foreignLink(UPLINK, 'dummy'), ip('192.0.2.10'), 24);
    expect(await refusalsOf(kernel, LINK, UPLINK)).toEqual(await refusalsOf(fake, LINK, UPLINK));
  });

  it('answers EPERM to a change without privilege', async () => {
    await using kernel = openLinkKernel();
    await kernel.links();
    process.seteuid?.(65_534);
    try {
      expect(await ask(kernel, { change: 'addDummy', name: LINK })).toEqual({
        outcome: 'refused',
        code: 'EPERM',
      });
    } finally {
      process.seteuid?.(0);
    }
  });
});
