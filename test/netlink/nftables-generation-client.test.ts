import { describe, expect, it } from 'vitest';
import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import { decodeMessages, encodeMessage } from '../../src/netlink/message.ts';
import { NftablesGenerationClient } from '../../src/netlink/nftables-generation-client.ts';
import type { Received } from '../../src/netlink/transport.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { NLMSG_ERROR } from '../../src/netlink/uapi/nlmsg.ts';

/** struct nfgenmsg, and NFTA_GEN_ID, NFTA_GEN_PROC_PID, NFTA_GEN_PROC_NAME: as Linux 6.18 has answered. */
const ANSWER = Uint8Array.from([
  ...[0, 0, 0, 5],
  ...[8, 0, 1, 0, 0, 1, 2, 5],
  ...[8, 0, 2, 0, 0, 0, 0x1f, 0x3a],
  ...[8, 0, 3, 0, 0x6e, 0x66, 0x74, 0],
]);
const NEW_GENERATION = 0xa0f;

/** A socket that answers each request with a message. */
function socket(type: number, payload: Uint8Array, { behind = 0 } = {}) {
  const sent: number[][] = [];
  const queue: Received[] = [];
  const answer = (sequence: number) => {
    const writer = new ByteWriter(64);
    encodeMessage(writer, { type, flags: 0, sequence }, () => writer.bytes(payload));
    queue.push({ kind: 'datagram', bytes: writer.written().slice() });
  };
  return {
    sent,
    send: (bytes: Uint8Array) => {
      const [message] = decodeMessages(byteViewOf(bytes.slice()));
      if (!message) throw new Error('nothing sent');
      sent.push([message.type, ...bytes.slice(message.payloadStart)]);
      for (let i = behind; i >= 0; i--) answer(message.sequence - i);
    },
    receive: (): Received => queue.shift() ?? { kind: 'timeout' },
  };
}

describe('NftablesGenerationClient', () => {
  it('asks for the generation, and reads the number in network byte order', () => {
    const transport = socket(NEW_GENERATION, ANSWER);
    const client = new NftablesGenerationClient(transport);
    expect(client.read()).toBe(0x10205);
    expect(transport.sent).toEqual([[0xa10, 0, 0, 0, 0]]);
  });

  it('passes over what comes late for a question before', () => {
    const client = new NftablesGenerationClient(socket(NEW_GENERATION, ANSWER, { behind: 2 }));
    expect(client.read()).toBe(0x10205);
  });

  it('is undefined where the kernel refuses', () => {
    const payload = new Uint8Array(20);
    new DataView(payload.buffer).setInt32(0, -ERRNO.EPERM, true);
    const client = new NftablesGenerationClient(socket(NLMSG_ERROR, payload));
    expect(client.read()).toBeUndefined();
  });

  it('is undefined where no answer comes, or one without the number', () => {
    const silent = { send: () => undefined, receive: (): Received => ({ kind: 'timeout' }) };
    expect(new NftablesGenerationClient(silent).read()).toBeUndefined();
    const empty = new NftablesGenerationClient(socket(NEW_GENERATION, ANSWER.slice(0, 4)));
    expect(empty.read()).toBeUndefined();
  });
});
