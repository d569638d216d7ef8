import { describe, expect, it } from 'vitest';
import { parseIpAddress } from '../../src/model/address.ts';
import {
  parseVirtualServerKey,
  type VirtualServerIdentity,
  virtualServerKey,
} from '../../src/model/virtual-server.ts';

function identity(address: string, port: number, protocol: 'TCP' | 'UDP' | 'SCTP'): VirtualServerIdentity {
  const parsed = parseIpAddress(address);
  if (!parsed) throw new Error(`${address} is no address`);
  return { kind: 'address', address: parsed, port, protocol };
}

describe('parseVirtualServerKey()', () => {
  const identities: VirtualServerIdentity[] = [
    identity('10.96.0.50', 80, 'TCP'),
    identity('fd00:10:96::50', 53, 'UDP'),
    identity('::1:0:0', 0, 'SCTP'),
    { kind: 'firewallMark', family: 'IPv4', firewallMark: 4_294_967_295 },
    { kind: 'firewallMark', family: 'IPv6', firewallMark: 1 },
  ];
  it.each(identities.map((value) => [virtualServerKey(value), value] as const))('reads %s', (key, value) => {
    expect(parseVirtualServerKey(key)).toEqual(value);
  });

  it.each([
    '',
    'TCP',
    'TCP 10.96.0.50',
    'ICMP 10.96.0.50:80',
    'TCP 10.96.0.500:80',
    'FWM5 1',
    'TCP [10.96.0.50:80',
  ])('refuses "%s"', (key) => expect(parseVirtualServerKey(key)).toBeUndefined());
});
