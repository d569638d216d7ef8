import { describe, expect, test } from 'vitest';
import { ByteWriter, byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';
import { decodeFamilyId, decodeGenlHeader, encodeGenlRequest, getFamily } from '../../src/netlink/genl.ts';
import { decodeMessages, encodeMessage } from '../../src/netlink/message.ts';
import { GENL_ID_CTRL } from '../../src/netlink/uapi/genetlink.ts';
import { captures, datagramsOf } from './golden.ts';

const lookUps = captures
  .map((capture) => ({
    kernel: capture.kernel,
    request: datagramsOf(capture, 'request')[0],
    reply: datagramsOf(capture, 'reply')[0],
  }))
  .filter(({ request }) => request?.view.getUint16(4, true) === GENL_ID_CTRL);

describe('decodeFamilyId()', () => {
  test.each(lookUps)('decodeFamilyId() gives the id under which ipvsadm went on, $kernel', ({
    kernel,
    reply,
  }) => {
    const used = captures
      .filter((capture) => capture.kernel === kernel)
      .flatMap((capture) => datagramsOf(capture, 'request'))
      .at(-1);
    const [message] = reply ? decodeMessages(reply) : [];
    expect(message && decodeFamilyId(message)).toBe(used?.view.getUint16(4, true));
  });

  test('decodeFamilyId() was tested on two kernels', () => {
    expect(new Set(lookUps.map(({ kernel }) => kernel)).size).toBeGreaterThanOrEqual(2);
  });
});

describe('decodeGenlHeader()', () => {
  test('decodeGenlHeader() reads what encodeGenlRequest() wrote', () => {
    const writer = new ByteWriter();
    encodeGenlRequest(writer, { type: GENL_ID_CTRL, flags: 1, sequence: 1 }, getFamily('IPVS'));
    const [message] = decodeMessages(byteViewOf(writer.written()));
    expect(message && decodeGenlHeader(message)).toEqual({ command: 3, version: 2 });
  });

  test('decodeGenlHeader() refuses a message without one', () => {
    const writer = new ByteWriter();
    encodeMessage(writer, { type: 20, flags: 0, sequence: 1 }, () => writer.u8(1));
    const [message] = decodeMessages(byteViewOf(writer.written()));
    expect(() => message && decodeGenlHeader(message)).toThrow(NetlinkDecodeError);
  });
});
