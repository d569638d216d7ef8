import { readdirSync, readlinkSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { SysError } from '../../native-bindings/errno.ts';
import { NETLINK_GENERIC, NETLINK_ROUTE, NetlinkSocket } from '../../native-bindings/netlink-socket.ts';
import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import { GenlClient } from '../../src/netlink/client.ts';
import { decodeFamilyId, encodeGenlRequest, getFamily } from '../../src/netlink/genl.ts';
import { decodeAcknowledgement, decodeMessages, encodeMessage } from '../../src/netlink/message.ts';
import { FamilyNotFoundError } from '../../src/netlink/results.ts';
import type { Transport } from '../../src/netlink/transport.ts';
import { GENL_ID_CTRL } from '../../src/netlink/uapi/genetlink.ts';
import { NLM_F_REQUEST, NLMSG_ERROR } from '../../src/netlink/uapi/nlmsg.ts';

/** A question that every kernel answers, to everyone. */
function familyRequest(name: string, sequence: number): Uint8Array {
  const writer = new ByteWriter();
  encodeGenlRequest(writer, { type: GENL_ID_CTRL, flags: NLM_F_REQUEST, sequence }, getFamily(name));
  return writer.written();
}

function openSockets(): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // the descriptor of readdir itself is gone by now
    }
  });
  return targets.filter((target) => target.startsWith('socket:')).length;
}

describe('NetlinkSocket.open()', () => {
  test.each([
    { name: 'NETLINK_ROUTE', protocol: NETLINK_ROUTE },
    { name: 'NETLINK_GENERIC', protocol: NETLINK_GENERIC },
  ])('NetlinkSocket.open() opens $name', ({ protocol }) => {
    using socket = NetlinkSocket.open(protocol);
    expect(socket.receive(0)).toEqual({ kind: 'timeout' });
  });

  test('NetlinkSocket.open() throws SysError for a protocol that does not exist', () => {
    const before = openSockets();
    expect(() => NetlinkSocket.open(31)).toThrow(SysError);
    expect(() => NetlinkSocket.open(31)).toThrow(
      expect.objectContaining({ syscall: 'socket', code: 'EPROTONOSUPPORT' }),
    );
    expect(openSockets()).toBe(before);
  });
});

describe('NetlinkSocket', () => {
  test('NetlinkSocket is a Transport', () => {
    using socket = NetlinkSocket.open(NETLINK_GENERIC);
    const transport: Transport = socket;
    expect(() => GenlClient.open(transport, 'nlctrl')).not.toThrow();
    expect(() => GenlClient.open(transport, 'no-such')).toThrow(FamilyNotFoundError);
  });

  test('send() returns when the answer is there', () => {
    using socket = NetlinkSocket.open(NETLINK_GENERIC);
    socket.send(familyRequest('nlctrl', 77));
    const received = socket.receive(0);
    const [message] = received.kind === 'datagram' ? decodeMessages(byteViewOf(received.bytes)) : [];
    expect(message?.sequence).toBe(77);
    expect(message && decodeFamilyId(message)).toBe(GENL_ID_CTRL);
  });

  test('errors come without the refused message', () => {
    using socket = NetlinkSocket.open(NETLINK_GENERIC);
    socket.send(familyRequest('no-such-family', 1));
    const received = socket.receive(0);
    const [message] = received.kind === 'datagram' ? decodeMessages(byteViewOf(received.bytes)) : [];
    expect(message?.type).toBe(NLMSG_ERROR);
    expect(message && decodeAcknowledgement(message).errno).toBe(2);
    expect(message && message.payloadEnd - message.payloadStart).toBe(4 + 16);
  });

  test('receive() says that replies were lost, and then gives those that were not', () => {
    using socket = NetlinkSocket.open(NETLINK_GENERIC, { receiveBufferBytes: 4096 });
    const writer = new ByteWriter();
    for (let sequence = 1; sequence <= 100; sequence++)
      writer.bytes(familyRequest('no-such-family', sequence));
    socket.send(writer.written());
    expect(socket.receive(0)).toEqual({ kind: 'overrun' });
    const sequences: number[] = [];
    for (let received = socket.receive(0); received.kind !== 'timeout'; received = socket.receive(0)) {
      if (received.kind === 'datagram') {
        for (const message of decodeMessages(byteViewOf(received.bytes))) sequences.push(message.sequence);
      }
    }
    expect(sequences.length).toBeGreaterThan(0);
    expect(sequences.length).toBeLessThan(100);
    expect(sequences).toEqual(sequences.map((_, i) => i + 1));
  });

  test('receive() gives up when its time is up', () => {
    using socket = NetlinkSocket.open(NETLINK_GENERIC);
    expect(socket.receive(1)).toEqual({ kind: 'timeout' });
  });

  test('send() throws SysError EMSGSIZE for a datagram beyond the send buffer', () => {
    using socket = NetlinkSocket.open(NETLINK_GENERIC);
    const writer = new ByteWriter();
    encodeMessage(writer, { type: GENL_ID_CTRL, flags: NLM_F_REQUEST, sequence: 1 }, () =>
      writer.zeros(16 << 20),
    );
    expect(() => socket.send(writer.written())).toThrow(
      expect.objectContaining({ name: 'SysError', syscall: 'send', code: 'EMSGSIZE' }),
    );
  });

  test('dispose closes the descriptor once, however often it is called', () => {
    const before = openSockets();
    const sockets = Array.from({ length: 50 }, () => NetlinkSocket.open(NETLINK_GENERIC));
    expect(openSockets()).toBe(before + 50);
    for (const socket of [...sockets, ...sockets]) socket[Symbol.dispose]();
    expect(openSockets()).toBe(before);
  });

  test('send() and receive() throw after dispose', () => {
    const socket = NetlinkSocket.open(NETLINK_GENERIC);
    socket[Symbol.dispose]();
    expect(() => socket.send(new Uint8Array(16))).toThrow('closed');
    expect(() => socket.receive(0)).toThrow('closed');
  });
});
