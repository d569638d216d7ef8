import { describe, expect, test } from 'vitest';
import {
  canonical,
  emptyRows,
  foreign,
  nodeAddressesOf,
  useOf,
} from '../../../src/dataplane/addresses/rows.ts';
import { ip, LINK, ours, route, rowsWith, theirs } from './fixtures.ts';

const NOTHING = emptyRows(LINK);

describe('canonical(), foreign() and nodeAddressesOf()', () => {
  const rows = rowsWith({
    addresses: new Map([ours('10.96.0.10'), theirs('10.96.0.9', 24)]),
    routes: new Map([route('10.97.0.0/16', null, 'foreign')]),
    foreignLocal: new Map([
      [ip('192.0.2.11'), { link: 'eth1', use: 'node' }],
      [ip('192.0.2.10'), { link: 'eth0', use: 'node' }],
      [ip('127.0.0.1'), { link: 'lo', use: 'node' }],
      [ip('fe80::1'), { link: 'eth0', use: 'node' }],
      [ip('10.96.0.1'), { link: 'kube-ipvs0', use: 'proxy' }],
      [ip('10.244.1.1'), { link: 'veth7', use: 'pod' }],
    ]),
  });

  test('canonical() is sorted, with owners', () => {
    expect(canonical(rows).split('\n')).toEqual([
      'link svcplane0 dummy up',
      'address 10.96.0.9/24 foreign',
      'address 10.96.0.10/32 svcplane',
      'route 10.97.0.0/16 src null foreign',
    ]);
    expect(canonical(NOTHING)).toBe('link svcplane0 none');
  });

  test('foreign() names what on our link is not ours', () => {
    expect(foreign(rows)).toEqual(['address 10.96.0.9/24 dev svcplane0', 'route 10.97.0.0/16 dev svcplane0']);
  });

  test.each([
    { link: 'eth0', kind: null, address: '192.0.2.10', length: 24, use: 'node' },
    { link: 'eth0', kind: 'veth', address: '172.18.0.2', length: 16, use: 'node' },
    { link: 'eth0', kind: null, address: '10.128.0.5', length: 32, use: 'node' },
    { link: 'cni0', kind: 'bridge', address: '10.244.1.1', length: 24, use: 'node' },
    { link: 'veth7', kind: 'veth', address: '10.244.1.1', length: 32, use: 'pod' },
    { link: 'veth7', kind: 'veth', address: '2001:db8::1', length: 128, use: 'pod' },
    { link: 'veth7', kind: 'veth', address: '2001:db8::1', length: 64, use: 'node' },
    { link: 'kube-ipvs0', kind: 'dummy', address: '10.96.0.1', length: 32, use: 'proxy' },
    { link: 'eth1', kind: null, address: '10.10.0.1', length: 32, use: 'proxy' },
    { link: 'eth1', kind: null, address: '10.10.0.2', length: 24, use: 'node' },
    { link: 'nodelocaldns', kind: 'dummy', address: '169.254.20.10', length: 32, use: 'service' },
  ])('useOf() calls $address/$length on $link ($kind) one of a $use', ({
    link,
    kind,
    address,
    length,
    use,
  }) => {
    expect(useOf(link, kind, ip(address), length, 'eth1')).toBe(use);
  });

  test("nodeAddressesOf() leaves out loopback, link-local, pods' gateways and other service proxies'", () => {
    expect(nodeAddressesOf(rows)).toEqual(['192.0.2.10', '192.0.2.11']);
    expect(nodeAddressesOf(NOTHING)).toEqual([]);
  });
});
