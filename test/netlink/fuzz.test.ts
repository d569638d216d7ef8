import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attributeCodec, type Schema } from '../../src/netlink/attributes.ts';
import { byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';
import {
  controlCodec,
  decodeFamilyId,
  decodeGenlAttributes,
  decodeGenlHeader,
} from '../../src/netlink/genl.ts';
import { decodeDestination, decodeInfo, decodeService } from '../../src/netlink/ipvs-messages.ts';
import {
  decodeAcknowledgement,
  decodeDone,
  decodeMessages,
  type NetlinkMessage,
} from '../../src/netlink/message.ts';
import { ipvsStatisticsSchema } from '../../src/netlink/uapi/ipvs.ts';
import { captures } from './golden.ts';

const everyKind = attributeCodec({
  u8: { type: 1, kind: 'u8' },
  u16: { type: 2, kind: 'u16' },
  u32: { type: 3, kind: 'u32' },
  u64: { type: 4, kind: 'u64' },
  be16: { type: 5, kind: 'be16' },
  be32: { type: 6, kind: 'be32' },
  string: { type: 7, kind: 'string' },
  bytes: { type: 8, kind: 'bytes' },
  address16: { type: 9, kind: 'address16' },
  flagsWithMask: { type: 10, kind: 'flagsWithMask' },
  nested: { type: 11, kind: 'nested', schema: { bytes: { type: 1, kind: 'bytes' } } },
} as const satisfies Schema);
const statisticsCodec = attributeCodec(ipvsStatisticsSchema);

/** Everything that reads a message. */
const decoders: readonly ((message: NetlinkMessage) => unknown)[] = [
  decodeAcknowledgement,
  decodeDone,
  decodeGenlHeader,
  decodeFamilyId,
  decodeService,
  decodeInfo,
  (message) => decodeDestination(message, 2),
  (message) => decodeGenlAttributes(message, controlCodec),
  (message) => decodeGenlAttributes(message, statisticsCodec),
  (message) => decodeGenlAttributes(message, everyKind),
];

const goldens = captures.flatMap((capture) => capture.datagrams.map(({ hex }) => Buffer.from(hex, 'hex')));
const golden = fc.constantFrom(...goldens);

/** Decodes with all decoders, the bytes lying within a larger buffer whose other bytes must not show. */
function decodeAll(bytes: Uint8Array): void {
  const roomy = new Uint8Array(bytes.length + 64).fill(0xee);
  roomy.set(bytes, 32);
  const source = byteViewOf(roomy.subarray(32, 32 + bytes.length));
  let messages = 0;
  onlyDecodeErrors(() => {
    for (const message of decodeMessages(source)) {
      messages++;
      expect(message.payloadEnd).toBeLessThanOrEqual(bytes.length);
      for (const decode of decoders) onlyDecodeErrors(() => decode(message));
    }
  });
  // Each message takes its header at least, so no input can make the loop longer than that.
  expect(messages).toBeLessThanOrEqual(bytes.length / 16);
}

function onlyDecodeErrors(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof NetlinkDecodeError)) throw error;
    expect(Number.isInteger(error.offset)).toBe(true);
  }
}

describe('every decoder throws NetlinkDecodeError and nothing else', () => {
  test('on random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 256 }), decodeAll), { numRuns: 2000 });
  });

  test('on random attributes behind a sound header', () => {
    const headers = fc.record({
      type: fc.constantFrom(2, 3, 16, 30),
      flags: fc.constantFrom(0, 0x200, 0x300),
    });
    const property = fc.property(headers, fc.uint8Array({ maxLength: 256 }), ({ type, flags }, payload) => {
      const bytes = Buffer.alloc(16 + payload.length);
      bytes.writeUInt32LE(bytes.length, 0);
      bytes.writeUInt16LE(type, 4);
      bytes.writeUInt16LE(flags, 6);
      bytes.set(payload, 16);
      decodeAll(bytes);
    });
    fc.assert(property, { numRuns: 5000 });
  });

  test('on truncated goldens', () => {
    const property = fc.property(golden, fc.nat(), (bytes, cut) =>
      decodeAll(bytes.subarray(0, cut % bytes.length)),
    );
    fc.assert(property, { numRuns: 1000 });
  });

  test('on goldens with other lengths in their headers', () => {
    const property = fc.property(golden, fc.nat(), fc.nat(0xffff), (bytes, where, length) => {
      const mutated = Buffer.from(bytes);
      // Headers are aligned to four bytes, and a length is their first field.
      mutated.writeUInt16LE(length, (where % Math.floor(mutated.length / 4)) * 4);
      decodeAll(mutated);
    });
    fc.assert(property, { numRuns: 2000 });
  });
});
