import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AttributesOf, attributeCodec, type Schema } from '../../src/netlink/attributes.ts';
import { ByteWriter, byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';

const schema = {
  u8: { type: 1, kind: 'u8' },
  u16: { type: 2, kind: 'u16' },
  u32: { type: 3, kind: 'u32' },
  u64: { type: 4, kind: 'u64' },
  be16: { type: 5, kind: 'be16' },
  be32: { type: 6, kind: 'be32' },
  string: { type: 7, kind: 'string' },
  bytes: { type: 8, kind: 'bytes' },
  address: { type: 9, kind: 'address16' },
  flags: { type: 10, kind: 'flagsWithMask' },
  nested: { type: 11, kind: 'nested', schema: { inner: { type: 1, kind: 'u8' } } },
} as const satisfies Schema;
const codec = attributeCodec(schema);

function encode(values: AttributesOf<typeof schema>): Uint8Array {
  const writer = new ByteWriter();
  codec.encode(writer, values);
  return writer.written().slice();
}

function decode(bytes: Uint8Array): AttributesOf<typeof schema> {
  return codec.decode(byteViewOf(bytes), 0, bytes.length);
}

const u32 = fc.nat(0xffff_ffff);
const anyValues: fc.Arbitrary<AttributesOf<typeof schema>> = fc.record(
  {
    u8: fc.nat(0xff),
    u16: fc.nat(0xffff),
    u32,
    u64: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
    be16: fc.nat(0xffff),
    be32: u32,
    string: fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0')),
    bytes: fc.uint8Array({ maxLength: 40 }),
    address: fc.uint8Array({ minLength: 16, maxLength: 16 }),
    flags: fc.record({ flags: u32, mask: u32 }),
    nested: fc.record({ inner: fc.nat(0xff) }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);

describe('attributeCodec()', () => {
  test('attributeCodec() decodes what it encoded, for every kind', () => {
    const property = fc.property(anyValues, (values) => {
      expect(decode(encode(values))).toEqual(values);
    });
    fc.assert(property);
  });

  test('attributeCodec() writes the order of the schema and not that of the values', () => {
    expect(encode({ u16: 2, u8: 1 })).toEqual(encode({ u8: 1, u16: 2 }));
  });

  test('attributeCodec() marks nested attributes and pads each attribute', () => {
    expect([...encode({ nested: { inner: 7 } })]).toEqual([12, 0, 11, 0x80, 5, 0, 1, 0, 7, 0, 0, 0]);
  });

  test('attributeCodec() writes an IPv4 address into the first of 16 bytes', () => {
    expect(decode(encode({ address: Uint8Array.of(10, 0, 0, 1) })).address).toEqual(
      Uint8Array.of(10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    );
  });

  test.each([0, 3, 5, 17])('attributeCodec() refuses to write an address of %d bytes', (length) => {
    expect(() => encode({ address: new Uint8Array(length) })).toThrow(RangeError);
  });

  test('attributeCodec() skips what the schema does not have', () => {
    const unknown = [8, 0, 99, 0, 1, 2, 3, 4];
    expect(decode(Uint8Array.from([...unknown, ...encode({ u8: 5 }), ...unknown]))).toEqual({ u8: 5 });
  });

  test('attributeCodec() reads an attribute that has grown at its end', () => {
    expect(decode(Uint8Array.of(8, 0, 2, 0, 1, 0, 9, 9))).toEqual({ u16: 1 });
  });

  test('attributeCodec() gives copies of bytes, so the buffer may be reused', () => {
    const bytes = encode({ bytes: Uint8Array.of(1, 2), address: new Uint8Array(16).fill(3) });
    const values = decode(bytes);
    bytes.fill(0);
    expect(values.bytes).toEqual(Uint8Array.of(1, 2));
    expect(values.address).toEqual(new Uint8Array(16).fill(3));
  });

  test.each([
    { name: 'a header that is cut short', bytes: [4, 0, 1] },
    { name: 'a length below the header', bytes: [3, 0, 1, 0] },
    { name: 'a length beyond the end', bytes: [9, 0, 1, 0, 1, 0, 0, 0] },
    { name: 'a u32 of two bytes', bytes: [6, 0, 3, 0, 1, 2, 0, 0] },
    { name: 'an address of four bytes', bytes: [8, 0, 9, 0, 10, 0, 0, 1] },
    { name: 'a bad length in a nest', bytes: [8, 0, 11, 0, 9, 0, 1, 0] },
  ])('attributeCodec() refuses $name', ({ bytes }) => {
    expect(() => decode(Uint8Array.from(bytes))).toThrow(NetlinkDecodeError);
  });
});
