import { describe, expect, test } from 'vitest';
import { ByteWriter, byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';
import {
  decodeAcknowledgement,
  decodeDone,
  decodeMessages,
  encodeMessage,
  nextSequence,
  replaceMessageFlags,
} from '../../src/netlink/message.ts';
import { capturesOf, datagramsOf } from './golden.ts';

function messageOf(type: number, flags: number, payload: readonly number[]) {
  const writer = new ByteWriter();
  encodeMessage(writer, { type, flags, sequence: 1 }, () => writer.bytes(Uint8Array.from(payload)));
  const [message] = decodeMessages(byteViewOf(writer.written()));
  if (message === undefined) throw new Error('no message');
  return message;
}

describe('decodeMessages()', () => {
  test('decodeMessages() finds each of several messages, aligned to four bytes', () => {
    const writer = new ByteWriter();
    for (const size of [0, 1, 4]) {
      encodeMessage(writer, { type: 20 + size, flags: 5, sequence: 7 + size }, () => writer.zeros(size));
    }
    const messages = [...decodeMessages(byteViewOf(writer.written()))];
    expect(messages.map(({ type, flags, sequence }) => ({ type, flags, sequence }))).toEqual([
      { type: 20, flags: 5, sequence: 7 },
      { type: 21, flags: 5, sequence: 8 },
      { type: 24, flags: 5, sequence: 11 },
    ]);
    expect(messages.map((message) => message.payloadEnd - message.payloadStart)).toEqual([0, 1, 4]);
  });

  test.each([
    { name: 'a header that is cut short', length: 15, claimed: 15 },
    { name: 'a length below the header', length: 16, claimed: 15 },
    { name: 'a length of nothing', length: 16, claimed: 0 },
    { name: 'a length beyond the end', length: 16, claimed: 17 },
    { name: 'a length that is negative as a signed number', length: 16, claimed: 0xffff_fff0 },
  ])('decodeMessages() refuses $name', ({ length, claimed }) => {
    const bytes = Buffer.alloc(length);
    bytes.writeUInt32LE(claimed, 0);
    expect(() => [...decodeMessages(byteViewOf(bytes))]).toThrow(NetlinkDecodeError);
  });
});

describe('replaceMessageFlags()', () => {
  test('replaceMessageFlags() changes the flags of that message only', () => {
    const writer = new ByteWriter();
    encodeMessage(writer, { type: 20, flags: 1, sequence: 1 }, () => writer.u32(0));
    const second = encodeMessage(writer, { type: 20, flags: 1, sequence: 2 }, () => writer.u32(0));
    replaceMessageFlags(writer, second, 5);
    expect([...decodeMessages(byteViewOf(writer.written()))].map(({ flags }) => flags)).toEqual([1, 5]);
  });
});

describe('nextSequence()', () => {
  test.each([
    [0, 1],
    [1, 2],
    [0xffff_ffff, 1],
  ])('nextSequence(%d) is %d', (sequence, next) => {
    expect(nextSequence(sequence)).toBe(next);
  });
});

describe('decodeAcknowledgement()', () => {
  test('decodeAcknowledgement() reads refusals that ipvsadm got, which echo the request', () => {
    const [capture] = capturesOf('ipvsadm -D -t 10.96.9.9:80');
    const [reply] = capture ? datagramsOf(capture, 'reply') : [];
    const [message] = reply ? decodeMessages(reply) : [];
    expect(message && decodeAcknowledgement(message)).toEqual({ errno: 3 });
  });

  const errno = [0xea, 0xff, 0xff, 0xff]; // -22
  const echoedHeader = [20, 0, 0, 0, ...new Array<number>(12).fill(0)];
  const text = [7, 0, 1, 0, 0x6e, 0x6f, 0, 0];
  const offset = [8, 0, 2, 0, 28, 0, 0, 0];

  test.each([
    { name: 'after a capped request', flags: 0x300, echoed: echoedHeader },
    { name: 'after an echoed request', flags: 0x200, echoed: [...echoedHeader, 1, 2, 3, 4] },
  ])('decodeAcknowledgement() finds the extended acknowledgement $name', ({ flags, echoed }) => {
    const message = messageOf(2, flags, [...errno, ...echoed, ...text, ...offset]);
    expect(decodeAcknowledgement(message)).toEqual({ errno: 22, message: 'no', attributeOffset: 28 });
  });

  test.each([
    { name: 'without an errno', flags: 0, payload: [1, 0] },
    { name: 'with attributes but no request', flags: 0x200, payload: errno },
    {
      name: 'that echoes more than it has',
      flags: 0x200,
      payload: [...errno, 0xff, ...echoedHeader.slice(1)],
    },
  ])('decodeAcknowledgement() refuses one $name', ({ flags, payload }) => {
    expect(() => decodeAcknowledgement(messageOf(2, flags, payload))).toThrow(NetlinkDecodeError);
  });
});

describe('decodeDone()', () => {
  test.each([
    { name: 'of old kernels, empty', payload: [], errno: 0 },
    { name: 'of a complete dump', payload: [0, 0, 0, 0], errno: 0 },
    { name: 'of a failed dump', payload: [0xf0, 0xff, 0xff, 0xff], errno: 16 },
  ])('decodeDone() reads one $name', ({ payload, errno }) => {
    expect(decodeDone(messageOf(3, 2, payload))).toBe(errno);
  });
});
