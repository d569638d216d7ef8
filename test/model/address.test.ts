import { BlockList, isIP, isIPv6, SocketAddress } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addressBytes,
  addressFromBytes,
  compareAddresses,
  familyOf,
  fullIpv6Text,
  type IpAddress,
  parseIpAddress,
} from '../../src/model/address.ts';

const ipv4Bytes = fc.uint8Array({ minLength: 4, maxLength: 4 });
/** Zero groups are frequent, so that `::` has to choose among runs. */
const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
const groups = fc.array(group, { minLength: 8, maxLength: 8 });
const ipv6Bytes = groups.map((values) =>
  Uint8Array.from(values.flatMap((value) => [value >> 8, value & 0xff])),
);
const address = fc.oneof(ipv4Bytes, ipv6Bytes).map(addressFromBytes);
const addressLike = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.string({ unit: fc.constantFrom(...'0123456789abcdefF:.% /g-+'), maxLength: 46 }),
  fc
    .array(fc.constantFrom('::', ':', '0', 'ffff', '1.2.3.4', '12345', '.', '%1'), { maxLength: 10 })
    .map((parts) => parts.join('')),
);

describe('parseIpAddress()', () => {
  it('accepts what node:net does, but for zones, and decimal numbers with leading zeros beside', () => {
    fc.assert(
      fc.property(addressLike, (text) => {
        const decimal = text.replaceAll(
          /(?<![\da-fA-F:])0+(?=\d)|(?<=:.*\..*\.|\.)0+(?=\d)|(?<=:)0+(?=\d+\.)/g,
          '',
        );
        const expected = isIP(text) !== 0 && !text.includes('%');
        if (decimal === text) expect(parseIpAddress(text) !== undefined).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('gives the canonical text that node:net gives', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const parsed = parseIpAddress(text);
        const { address: canonical } = new SocketAddress({ address: text, family: 'ipv6' });
        // inet_ntop writes the last four bytes of ::/96 in decimal, RFC 5952 does not.
        if (canonical.includes('.')) return;
        expect(parsed).toBe(canonical);
      }),
    );
  });

  it('is the identity on canonical text', () => {
    fc.assert(
      fc.property(address, (text) => {
        const isMapped = text.startsWith('::ffff:') && text.split(':').length === 5;
        if (!isMapped) expect(parseIpAddress(text)).toBe(text);
      }),
    );
  });

  it.each([
    { name: 'leading zeros as decimal', text: '010.096.000.007', address: '10.96.0.7' },
    { name: 'a mapped address as IPv4', text: '::ffff:10.96.0.7', address: '10.96.0.7' },
    { name: 'a mapped address in hexadecimal as IPv4', text: '::FFFF:a60:7', address: '10.96.0.7' },
    { name: 'a long mapped address as IPv4', text: '0:0:0:0:0:ffff:10.96.0.7', address: '10.96.0.7' },
    { name: 'a dotted tail', text: '64:ff9b::192.0.2.33', address: '64:ff9b::c000:221' },
    { name: 'upper case', text: 'FD00::ABCD', address: 'fd00::abcd' },
    { name: 'the first of two equal runs', text: '1:0:0:2:0:0:3:4', address: '1::2:0:0:3:4' },
    { name: 'the longer of two runs', text: '1:0:0:2:0:0:0:4', address: '1:0:0:2::4' },
    { name: 'one zero group in full', text: '1:0:2:3:4:5:6:7', address: '1:0:2:3:4:5:6:7' },
    { name: 'a run of seven', text: '1::', address: '1::' },
    { name: 'all zeros', text: '0:0:0:0:0:0:0:0', address: '::' },
    { name: ':: in the place of one group', text: '1:2:3:4:5:6:7::', address: '1:2:3:4:5:6:7:0' },
  ])('reads $name', ({ text, address: expected }) => {
    expect(parseIpAddress(text)).toBe(expected);
  });

  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '1..2.3',
    '.1.2.3.4',
    '1.2.3.4.',
    ' 1.2.3.4',
    '1.2.3.4 ',
    '+1.2.3.4',
    '0x1.2.3.4',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1::2::3',
    '1:2:3:4:5:6:7:8::',
    ':1:2:3:4:5:6:7:8',
    '1:2:3:4:5:6:7:8:',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7:1.2.3.4',
    'fe80::1%eth0',
    '[::1]',
    '::1/128',
    '1.2.3.4/32',
    '١.2.3.4',
    `::${'0'.repeat(60)}1`,
    null,
    undefined,
    1,
    {},
    ['1.2.3.4'],
  ])('refuses %j', (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
  });
});

describe('addressBytes()', () => {
  it('is the inverse of addressFromBytes()', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4Bytes, ipv6Bytes), (bytes) => {
        expect(addressBytes(addressFromBytes(bytes))).toEqual(bytes);
      }),
    );
  });
});

describe('fullIpv6Text()', () => {
  it('has all groups of the address, with all their digits', () => {
    fc.assert(
      fc.property(ipv6Bytes, (bytes) => {
        const address = addressFromBytes(bytes);
        const text = fullIpv6Text(address);
        expect(text).toMatch(/^[0-9a-f]{4}(:[0-9a-f]{4}){7}$/);
        expect(parseIpAddress(text)).toBe(parseIpAddress(address));
      }),
    );
  });
});

describe('addressFromBytes()', () => {
  it('gives text that node:net takes for the same address', () => {
    fc.assert(
      fc.property(ipv6Bytes, (bytes) => {
        const text = addressFromBytes(bytes);
        const list = new BlockList();
        list.addAddress(
          Array.from({ length: 8 }, (_, i) =>
            (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
          ).join(':'),
          'ipv6',
        );
        expect(isIPv6(text)).toBe(true);
        expect(list.check(text, 'ipv6')).toBe(true);
      }),
    );
  });

  it.each([0, 3, 5, 15, 17])('throws RangeError for %d bytes', (length) => {
    expect(() => addressFromBytes(new Uint8Array(length))).toThrow(RangeError);
  });
});

describe('compareAddresses()', () => {
  it('orders by family, then as numbers', () => {
    const value = (of: IpAddress) => BigInt(`0x${Buffer.from(addressBytes(of)).toString('hex')}`);
    fc.assert(
      fc.property(address, address, (a, b) => {
        const byFamily = Number(familyOf(a) === 'IPv6') - Number(familyOf(b) === 'IPv6');
        const byValue = value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0;
        expect(Math.sign(compareAddresses(a, b))).toBe(byFamily || byValue);
      }),
    );
  });
});
