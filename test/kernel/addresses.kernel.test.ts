import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLinkKernel } from '../../src/dataplane/addresses/client.ts';
import { addressesDataplane } from '../../src/dataplane/addresses/index.ts';
import type { KernelAnswer, LinkKernel } from '../../src/dataplane/addresses/kernel.ts';
import { type AddressRows, canonical, emptyRows } from '../../src/dataplane/addresses/rows.ts';
import { desiredWith, ip, ours, route, rowsWith } from '../dataplane/addresses/fixtures.ts';
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

/** The same kernel, counting the changes it is asked for. */
function counting(kernel: LinkKernel): { readonly kernel: LinkKernel; readonly changes: () => number } {
  let changes = 0;
  const isChange = (name: string | symbol) => /^(add(?!resses)|delete|set|replace)/.test(String(name));
  const proxy = new Proxy(kernel, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== 'function') return method;
      return (...args: unknown[]) => {
        if (isChange(name)) changes += 1;
        return Reflect.apply(method, target, args);
      };
    },
  });
  return { kernel: proxy, changes: () => changes };
}

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
    await using opened = openLinkKernel();
    const { kernel, changes } = counting(opened);
    const ledger = new MemoryLedger();
    const { rows } = await sync(kernel, ledger, WANTED);
    expect(shownNames(LINK)).toEqual(['10.96.0.9/32', '10.96.0.10/32', '10.97.0.0/32', 'fd00::9/128']);
    expect(new Set(shownAddresses(LINK).map(({ scope }) => scope))).toEqual(new Set(['global']));
    expect(shownAddresses(LINK).at(-1)).toMatchObject({ nodad: true });
    expect(shownAddresses(LINK).some(({ tentative }) => tentative)).toBe(false);
    expect(shownRoutes()).toEqual(['local 10.97.0.0/16 src 192.0.2.10', 'local fd01::/112 src 2001:db8::10']);
    expect(canonical(rows)).toBe(canonical(WANTED));

    const before = [changes(), ledger.writes];
    await sync(kernel, ledger, WANTED);
    expect([changes(), ledger.writes]).toEqual(before);
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

  it('the kernel drops IPv4 routes, but no IPv6 routes, with the last address of their family', async () => {
    await using kernel = openLinkKernel();
    const fake = new FakeLinkKernel();
    for (const either of [kernel, fake]) {
      await either.addDummy(LINK);
      const linkIndex = (await either.link(LINK))?.index ?? -1;
      for (const prefix of ['10.97.0.0/16', 'fd01::/112'])
        await either.addRoute({ linkIndex, prefix, source: null });
      for (const address of [ip('10.96.0.9'), ip('fd00::9')]) {
        await either.addAddress(linkIndex, address);
        await either.deleteAddress(linkIndex, address);
      }
      expect((await either.localRoutes()).map(({ prefix }) => prefix)).toEqual(['fd01::/112']);
    }
  });

  it('refuses as the fake kernel of the other tests does', async () => {
    await using kernel = openLinkKernel();
    const fake = new FakeLinkKernel();
    fake.foreignAddress(fake.foreignLink(UPLINK, 'dummy'), ip('192.0.2.10'), 24);
    expect(await refusalsOf(kernel)).toEqual(await refusalsOf(fake));
  });

  it('answers EPERM to a change without privilege', async () => {
    await using kernel = openLinkKernel();
    await kernel.links();
    process.seteuid?.(65_534);
    try {
      expect(await kernel.addDummy(LINK)).toEqual({ outcome: 'refused', code: 'EPERM' });
    } finally {
      process.seteuid?.(0);
    }
  });
});

/** The answers to one script of changes that meets every refusal we know of. */
async function refusalsOf(kernel: LinkKernel): Promise<readonly KernelAnswer[]> {
  const indexOf = async (name: string) => (await kernel.link(name))?.index ?? -1;
  const none = 9999;
  const uplink = await indexOf(UPLINK);
  const answers = [await kernel.addDummy(LINK), await kernel.addDummy(LINK)];
  const link = await indexOf(LINK);
  const v4 = ip('10.96.0.9');
  const v6 = ip('fd00::9');
  const prefix = '10.97.0.0/16';
  const steps = [
    () => kernel.setUp(none),
    () => kernel.deleteLink(none),
    () => kernel.addAddress(none, v4),
    () => kernel.addAddress(link, v4),
    () => kernel.addAddress(link, v4),
    () => kernel.addAddress(uplink, v4),
    () => kernel.addAddress(link, v6),
    () => kernel.addAddress(link, v6),
    () => kernel.deleteAddress(none, v4),
    () => kernel.deleteAddress(link, v4),
    () => kernel.deleteAddress(link, v4),
    () => kernel.deleteAddress(link, v6),
    () => kernel.deleteAddress(link, v6),
    () => kernel.addRoute({ linkIndex: none, prefix, source: null }),
    () => kernel.addRoute({ linkIndex: link, prefix, source: ip('192.0.2.77') }),
    () => kernel.addRoute({ linkIndex: link, prefix, source: ip('192.0.2.10') }),
    () => kernel.addRoute({ linkIndex: link, prefix, source: null }),
    () => kernel.addRoute({ linkIndex: uplink, prefix, source: null }),
    () => kernel.replaceRoute({ linkIndex: link, prefix, source: ip('192.0.2.77') }),
    () => kernel.replaceRoute({ linkIndex: link, prefix, source: null }),
    () => kernel.deleteRoute(link, prefix),
    () => kernel.deleteRoute(link, prefix),
    () => kernel.deleteLink(link),
    () => kernel.deleteLink(link),
    () => kernel.deleteAddress(uplink, v4),
  ];
  for (const step of steps) answers.push(await step());
  return answers;
}
