import { describe, expect, test } from 'vitest';
import { canonical, emptyRows, foreign, nodeAddressesOf } from '../../../src/dataplane/addresses/rows.ts';
import { ip, LINK, ours, route, rowsWith, theirs } from './fixtures.ts';

const NOTHING = emptyRows(LINK);

describe('canonical(), foreign() and nodeAddressesOf()', () => {
  const rows = rowsWith({
    addresses: new Map([ours('10.96.0.10'), theirs('10.96.0.9', 24)]),
    routes: new Map([route('10.97.0.0/16', null, 'foreign')]),
    foreignLocal: new Map([
      [ip('192.0.2.11'), 'eth1'],
      [ip('192.0.2.10'), 'eth0'],
      [ip('127.0.0.1'), 'lo'],
      [ip('fe80::1'), 'eth0'],
      [ip('10.96.0.1'), 'kube-ipvs0'],
      [ip('169.254.20.10'), 'nodelocaldns'],
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

  test('nodeAddressesOf() leaves out loopback, link-local and the links of other service proxies', () => {
    expect(nodeAddressesOf(rows)).toEqual(['192.0.2.10', '192.0.2.11']);
    expect(nodeAddressesOf(NOTHING)).toEqual([]);
  });
});
