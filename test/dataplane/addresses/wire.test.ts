import { endianness } from 'node:os';
import { describe, expect, it } from 'vitest';
import { loadNetlinkPackage } from '../../../src/dataplane/addresses/package-client.ts';
import { rtnetlinkCodec } from '../../../src/dataplane/addresses/wire.ts';

const { parseAddress, parseLink } = rtnetlinkCodec(await loadNetlinkPackage());
const NLA_F_NESTED = 1 << 15;

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  if (endianness() === 'LE') bytes.writeUInt16LE(value);
  else bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  if (endianness() === 'LE') bytes.writeUInt32LE(value);
  else bytes.writeUInt32BE(value);
  return bytes;
}

/** struct rtattr and its value, padded. */
function attribute(type: number, value: Uint8Array): Buffer {
  const padding = Buffer.alloc((4 - (value.length % 4)) % 4);
  return Buffer.concat([u16(4 + value.length), u16(type), value, padding]);
}

const text = (value: string) => Buffer.from(`${value}\0`);

/** struct ifinfomsg of a link that is up (and running), and its attributes. */
function link(index: number, flags: number, ...attributes: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.alloc(4), u32(index), u32(flags), Buffer.alloc(4), ...attributes]);
}

/** struct ifaddrmsg and its attributes. */
function addressOn(
  index: number,
  family: number,
  prefixLength: number,
  ...attributes: readonly Buffer[]
): Buffer {
  return Buffer.concat([Buffer.of(family, prefixLength, 0x80, 0), u32(index), ...attributes]);
}

describe('parseLink()', () => {
  const counters = attribute(23, Buffer.alloc(192));

  it('reads index, name, kind and whether it is up, wherever they stand', () => {
    const kind = attribute(
      18 | NLA_F_NESTED,
      Buffer.concat([attribute(1, text('dummy')), attribute(2, Buffer.alloc(8))]),
    );
    const name = attribute(3, text('svcplane0'));
    const expected = { index: 7, name: 'svcplane0', kind: 'dummy', isUp: true };
    expect(parseLink(link(7, 0x100c3, name, counters, kind))).toEqual(expected);
    expect(parseLink(link(7, 0x100c3, kind, counters, name))).toEqual(expected);
  });

  it('has no kind where the kernel tells none', () => {
    const eth0 = link(2, 0x1002, attribute(3, text('eth0')), counters);
    expect(parseLink(eth0)).toEqual({ index: 2, name: 'eth0', kind: null, isUp: false });
  });

  it('passes over what has no name', () => {
    expect(parseLink(link(2, 1, counters))).toBeUndefined();
  });
});

describe('parseAddress()', () => {
  const cacheInfo = attribute(6, Buffer.alloc(16));

  it.each([
    {
      name: 'IPv4',
      body: addressOn(3, 2, 24, attribute(1, Buffer.of(10, 0, 0, 5)), cacheInfo),
      expected: { linkIndex: 3, address: '10.0.0.5', prefixLength: 24 },
    },
    {
      name: 'IPv6',
      body: addressOn(300, 10, 128, cacheInfo, attribute(1, Buffer.from(`fd00${'00'.repeat(13)}07`, 'hex'))),
      expected: { linkIndex: 300, address: 'fd00::7', prefixLength: 128 },
    },
    {
      name: 'its own where there is a peer',
      body: addressOn(
        3,
        2,
        32,
        attribute(1, Buffer.of(10, 0, 0, 9)),
        attribute(2, Buffer.of(10, 0, 0, 5)),
        cacheInfo,
      ),
      expected: { linkIndex: 3, address: '10.0.0.5', prefixLength: 32 },
    },
  ])('reads $name', ({ body, expected }) => {
    expect(parseAddress(body)).toEqual(expected);
  });

  it('passes over what has no address', () => {
    expect(parseAddress(addressOn(3, 2, 24, cacheInfo))).toBeUndefined();
  });

  it.each([0, 3, 9])('throws where an attribute says that it has %i bytes', (length) => {
    const body = addressOn(3, 2, 24, Buffer.concat([u16(length), u16(6), Buffer.alloc(4)]));
    expect(() => parseAddress(body)).toThrow(`an attribute of ${length} bytes is cut short`);
  });
});
