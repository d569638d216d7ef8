import { BlockList } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressFromBytes, familyOf, type IpAddress, parseIpAddress } from '../../src/model/address.ts';
import { type Cidr, cidrContains, formatCidr, parseCidr, specialAddress } from '../../src/model/cidr.ts';

const bytes = fc
  .constantFrom(4, 16)
  .chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
/** An address, a prefix length of its family, and an address near it. */
const near = bytes.chain((value) =>
  fc.record({
    address: fc.constant(addressFromBytes(value)),
    prefixLength: fc.integer({ min: 0, max: 8 * value.length }),
    other: fc
      .tuple(fc.nat({ max: value.length - 1 }), fc.nat({ max: 255 }))
      .map(([i, byte]) => addressFromBytes(value.with(i, byte))),
  }),
);

function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (!address) throw new Error(`No address: ${text}`);
  return address;
}

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed) throw new Error(`No range: ${text}`);
  return parsed;
}

function isMapped(address: IpAddress): boolean {
  return parseIpAddress(address) !== address;
}

describe('cidrContains()', () => {
  it('agrees with node:net BlockList', () => {
    fc.assert(
      fc.property(near, ({ address, prefixLength, other }) => {
        if (isMapped(address) || isMapped(other)) return;
        const family = familyOf(address) === 'IPv4' ? 'ipv4' : 'ipv6';
        const list = new BlockList();
        list.addSubnet(address, prefixLength, family);
        expect(cidrContains(cidr(`${address}/${prefixLength}`), other)).toBe(list.check(other, family));
      }),
      { numRuns: 500 },
    );
  });

  it('is false for the other family', () => {
    expect(cidrContains(cidr('0.0.0.0/0'), ip('::1'))).toBe(false);
    expect(cidrContains(cidr('::/0'), ip('10.0.0.1'))).toBe(false);
  });
});

describe('parseCidr()', () => {
  it('clears host bits, and is the inverse of formatCidr()', () => {
    fc.assert(
      fc.property(near, ({ address, prefixLength }) => {
        if (isMapped(address)) return;
        const parsed = cidr(`${address}/${prefixLength}`);
        expect(cidrContains(parsed, address)).toBe(true);
        expect(parseCidr(formatCidr(parsed))).toEqual(parsed);
      }),
    );
  });

  it.each([
    { text: '10.96.0.7/16', formatted: '10.96.0.0/16' },
    { text: '0.0.0.0/0', formatted: '0.0.0.0/0' },
    { text: ' 192.0.2.0/24 ', formatted: '192.0.2.0/24' },
    { text: '010.096.0.0/012', formatted: '10.96.0.0/12' },
    { text: 'FD00:10:96::1/112', formatted: 'fd00:10:96::/112' },
    { text: '::/0', formatted: '::/0' },
    { text: '255.255.255.255/1', formatted: '128.0.0.0/1' },
    { text: '::ffff:10.96.0.7/112', formatted: '10.96.0.0/16' },
    { text: '::ffff:10.0.0.0/8', formatted: '::/8' },
    { text: '::ffff:10.0.0.0/95', formatted: '::fffe:0:0/95' },
  ])('reads $text as $formatted', ({ text, formatted }) => {
    expect(formatCidr(cidr(text))).toBe(formatted);
  });

  it.each([
    '',
    '/',
    '10.0.0.0',
    '10.0.0.0/',
    '/8',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.0/-1',
    '10.0.0.0/+8',
    '10.0.0.0/8/8',
    '10.0.0/8',
    '10.0.0.0/0x8',
    '10.0.0.0/1e1',
    '10.0.0.0 /8',
    '10.0.0.0/ 8',
    'fe80::1%eth0/64',
    '::ffff:10.0.0.0/129',
    null,
    8,
    {},
  ])('refuses %j', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });
});

describe('specialAddress()', () => {
  it.each([
    { text: '127.0.0.1', special: 'loopback' },
    { text: '127.255.255.254', special: 'loopback' },
    { text: '::1', special: 'loopback' },
    { text: '169.254.169.254', special: 'link-local' },
    { text: 'febf::1', special: 'link-local' },
    { text: '224.0.0.1', special: 'multicast' },
    { text: '239.255.255.255', special: 'multicast' },
    { text: 'ff02::1', special: 'multicast' },
    { text: '0.0.0.0', special: 'unspecified' },
    { text: '::', special: 'unspecified' },
    { text: '10.0.0.1', special: undefined },
    { text: '240.0.0.1', special: undefined },
    { text: '::2', special: undefined },
    { text: 'fec0::1', special: undefined },
    { text: 'fd00::1', special: undefined },
  ])('says that $text is $special', ({ text, special }) => {
    expect(specialAddress(ip(text))).toBe(special);
  });
});
