import { endianness } from 'node:os';
import { describe, expect, test } from 'vitest';
import { align4, ByteWriter, byteViewOf, littleEndian } from '../../src/netlink/bytes.ts';

describe('littleEndian', () => {
  test('littleEndian is what the machine is', () => {
    expect(littleEndian).toBe(endianness() === 'LE');
  });
});

describe('align4()', () => {
  test.each([
    [0, 0],
    [1, 4],
    [4, 4],
    [5, 8],
    [65533, 65536],
  ])('align4(%d) is %d', (length, aligned) => {
    expect(align4(length)).toBe(aligned);
  });
});

describe('byteViewOf()', () => {
  test('byteViewOf() sees a part of a buffer as itself', () => {
    const part = Uint8Array.of(1, 2, 3, 4).subarray(2);
    expect(byteViewOf(part).view.getUint8(0)).toBe(3);
    expect(byteViewOf(part).view.byteLength).toBe(2);
  });
});

describe('ByteWriter', () => {
  test('ByteWriter writes network byte order where the name says so', () => {
    const writer = new ByteWriter();
    writer.be16(0x0102);
    writer.be32(0x03040506);
    expect([...writer.written()]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test('ByteWriter writes host byte order elsewhere', () => {
    const writer = new ByteWriter();
    writer.u16(0x0102);
    writer.u32(0x03040506);
    writer.u64(0x0708090a0b0c0d0en);
    const { view } = byteViewOf(writer.written());
    expect(view.getUint16(0, littleEndian)).toBe(0x0102);
    expect(view.getUint32(2, littleEndian)).toBe(0x03040506);
    expect(view.getBigUint64(6, littleEndian)).toBe(0x0708090a0b0c0d0en);
  });

  test('ByteWriter grows and keeps what it has', () => {
    const writer = new ByteWriter(64);
    for (let i = 0; i < 1000; i++) writer.u8(i & 0xff);
    writer.bytes(new Uint8Array(5000).fill(9));
    expect(writer.length).toBe(6000);
    expect(writer.written()[999]).toBe(999 & 0xff);
    expect(writer.written()[5999]).toBe(9);
  });

  test('ByteWriter.padTo4() writes zeros over what was there before clear()', () => {
    const writer = new ByteWriter();
    writer.bytes(new Uint8Array(8).fill(0xff));
    writer.clear();
    writer.u8(1);
    writer.padTo4();
    expect([...writer.written()]).toEqual([1, 0, 0, 0]);
  });

  test('ByteWriter.cString() writes UTF-8 and a NUL', () => {
    const writer = new ByteWriter();
    writer.cString('ab');
    writer.cString('aé');
    expect([...writer.written()]).toEqual([0x61, 0x62, 0, 0x61, 0xc3, 0xa9, 0]);
  });
});
