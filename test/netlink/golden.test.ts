import { describe, expect, test } from 'vitest';
import type { AttributeCodec } from '../../src/netlink/attributes.ts';
import { attributeCodec, type Schema } from '../../src/netlink/attributes.ts';
import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import {
  controlCodec,
  decodeGenlAttributes,
  decodeGenlHeader,
  encodeGenlRequest,
} from '../../src/netlink/genl.ts';
import { decodeAcknowledgement, decodeMessages, type NetlinkMessage } from '../../src/netlink/message.ts';
import { GENL_ID_CTRL } from '../../src/netlink/uapi/genetlink.ts';
import { IPVS_COMMAND, ipvsInfoSchema, ipvsStatisticsSchema } from '../../src/netlink/uapi/ipvs.ts';
import { NLMSG_DONE, NLMSG_ERROR } from '../../src/netlink/uapi/nlmsg.ts';
import { captures, datagramsOf } from './golden.ts';

const ipvsCodec = attributeCodec(ipvsStatisticsSchema);
const infoCodec = attributeCodec(ipvsInfoSchema);

const requests = captures.flatMap((capture) =>
  datagramsOf(capture, 'request').map((datagram) => ({
    name: `${capture.kernel}: ${capture.command}`,
    datagram,
  })),
);
const replies = captures.flatMap((capture) =>
  datagramsOf(capture, 'reply').map((datagram) => ({
    name: `${capture.kernel}: ${capture.command}`,
    datagram,
  })),
);

describe('codec', () => {
  test.each(requests)('encode(decode()) gives the bytes of the request of $name', ({ datagram }) => {
    const writer = new ByteWriter();
    for (const message of decodeMessages(datagram)) encodeAgain(writer, message);
    expect(hex(writer.written())).toBe(hex(withoutPortIds(datagram.bytes)));
  });

  test.each(replies)('decode(encode(decode())) equals decode() for the reply of $name', ({ datagram }) => {
    for (const message of decodeMessages(datagram)) {
      if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) continue;
      const writer = new ByteWriter();
      encodeAgain(writer, message);
      const [again] = decodeMessages(byteViewOf(writer.written()));
      expect(again).toBeDefined();
      if (again) expect(decodeAny(again)).toEqual(decodeAny(message));
      expect(Object.keys(decodeAny(message)).length).toBeGreaterThan(0);
    }
  });

  test('decodeAcknowledgement() agrees with the exit code of every command that changes something', () => {
    const changes = captures.filter((capture) => /ipvsadm -[AEDaed] /.test(capture.command));
    expect(changes.length).toBeGreaterThan(50);
    for (const capture of changes) {
      const last = datagramsOf(capture, 'reply').at(-1);
      const answer = last && [...decodeMessages(last)].at(-1);
      expect(answer?.type, capture.command).toBe(NLMSG_ERROR);
      if (answer) expect(decodeAcknowledgement(answer).errno === 0, capture.command).toBe(capture.exit === 0);
    }
  });
});

/** The family "nlctrl" has attributes of its own, and so has the reply to getInfo. */
function codecOf(message: NetlinkMessage): AttributeCodec<Schema> {
  if (message.type === GENL_ID_CTRL) return controlCodec;
  return decodeGenlHeader(message).command === IPVS_COMMAND.setInfo ? infoCodec : ipvsCodec;
}

function decodeAny(message: NetlinkMessage) {
  return decodeGenlAttributes(message, codecOf(message));
}

function encodeAgain(writer: ByteWriter, message: NetlinkMessage): void {
  const request = {
    ...decodeGenlHeader(message),
    codec: codecOf(message),
    attributes: decodeAny(message),
  };
  encodeGenlRequest(writer, message, request);
}

function withoutPortIds(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  for (const message of decodeMessages(byteViewOf(bytes))) {
    copy.fill(0, message.payloadStart - 4, message.payloadStart);
  }
  return copy;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
