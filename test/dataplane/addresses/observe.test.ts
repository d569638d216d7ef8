import { describe, expect, test } from 'vitest';
import { observe } from '../../../src/dataplane/addresses/observe.ts';
import { canonical } from '../../../src/dataplane/addresses/rows.ts';
import { EMPTY_LEDGER } from '../../../src/dataplane/ledger.ts';
import { FakeLinkKernel } from '../../fakes/link-kernel.ts';
import { ip, LINK } from './fixtures.ts';

const NEVER = new AbortController().signal;

function hostKernel(): FakeLinkKernel {
  const kernel = new FakeLinkKernel();
  kernel.foreignAddress(kernel.foreignLink('eth0', null), ip('192.0.2.10'), 24);
  return kernel;
}

describe('observe()', () => {
  const ledger = {
    ...EMPTY_LEDGER,
    addresses: new Set([ip('10.96.0.9'), ip('10.96.0.10'), ip('10.96.0.11')]),
    routes: new Set(['10.97.0.0/16', '10.98.0.0/16']),
    links: new Set([LINK, 'old0']),
  };

  test('tells ours from foreign by the ledger, and what the ledger alone has', async () => {
    const kernel = hostKernel();
    const link = kernel.foreignLink(LINK, 'dummy');
    const addresses: [string, number][] = [
      ['10.96.0.9', 32],
      ['10.96.0.10', 24],
      ['203.0.113.1', 32],
      ['fe80::1', 64],
    ];
    for (const [address, length] of addresses) kernel.foreignAddress(link, ip(address), length);
    kernel.foreignRoute({ linkIndex: link, prefix: '10.97.0.0/16', source: ip('192.0.2.10') });
    kernel.foreignRoute({ linkIndex: link, prefix: '10.99.0.0/16', source: null });
    kernel.foreignRoute({ linkIndex: 1, prefix: '10.98.0.0/16', source: null });
    const rows = await observe(kernel, ledger, LINK, NEVER);
    expect(canonical(rows).split('\n')).toEqual([
      'link svcplane0 dummy up',
      'address 10.96.0.9/32 svcplane',
      'address 10.96.0.10/24 foreign',
      'address 203.0.113.1/32 foreign',
      'route 10.97.0.0/16 src 192.0.2.10 svcplane',
      'route 10.99.0.0/16 src null foreign',
    ]);
    expect([...rows.missing.keys()]).toEqual([
      'address 10.96.0.10',
      'address 10.96.0.11',
      'route 10.98.0.0/16',
      'link old0',
    ]);
    expect(rows.foreignLocal).toEqual(
      new Map([
        [ip('127.0.0.1'), { link: 'lo', use: 'node' }],
        [ip('192.0.2.10'), { link: 'eth0', use: 'node' }],
      ]),
    );
  });

  test.each([
    { name: 'the pods first', names: ['veth1', 'veth2', 'eth1'] },
    { name: 'the pods last', names: ['eth1', 'veth1', 'veth2'] },
  ])("takes an address that pods' links have too for the node's: $name", async ({ names }) => {
    const kernel = hostKernel();
    for (const name of names) {
      const isPods = name.startsWith('veth');
      const link = kernel.foreignLink(name, isPods ? 'veth' : null);
      kernel.foreignAddress(link, ip('10.244.1.1'), 32);
      if (isPods) kernel.foreignAddress(link, ip('10.244.9.9'), 32);
    }
    const { foreignLocal } = await observe(kernel, EMPTY_LEDGER, LINK, NEVER);
    expect(foreignLocal?.get(ip('10.244.1.1'))).toEqual({ link: 'eth1', use: 'node' });
    expect(foreignLocal?.get(ip('10.244.9.9'))).toEqual({ link: 'veth1', use: 'pod' });
  });

  test.each([
    { name: LINK, kind: 'dummy', links: [], ours: true },
    { name: 'vips', kind: 'dummy', links: [], ours: false },
    { name: 'vips', kind: 'dummy', links: ['vips'], ours: true },
    { name: 'vips', kind: 'bridge', links: ['vips'], ours: false },
  ])('a $kind named $name with ledger $links is ours: $ours', async ({ name, kind, links, ours }) => {
    const kernel = hostKernel();
    kernel.foreignLink(name, kind);
    const rows = await observe(kernel, { ...EMPTY_LEDGER, links: new Set(links) }, name, NEVER);
    expect(rows.link.ours).toBe(ours);
  });

  test('calls nothing on a link of another kind ours', async () => {
    const kernel = hostKernel();
    kernel.foreignAddress(kernel.foreignLink(LINK, 'bridge'), ip('10.96.0.9'), 32);
    const rows = await observe(kernel, ledger, LINK, NEVER);
    expect(rows.addresses.get(ip('10.96.0.9'))?.owner).toBe('foreign');
  });

  test('throws once aborted', async () => {
    await expect(observe(hostKernel(), ledger, LINK, AbortSignal.abort())).rejects.toThrow();
  });
});
