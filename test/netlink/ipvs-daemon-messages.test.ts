import { describe, expect, test } from 'vitest';
import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import { encodeGenlRequest, type GenlRequest } from '../../src/netlink/genl.ts';
import { decodeDaemon, deleteDaemon, newDaemon } from '../../src/netlink/ipvs-daemon-messages.ts';
import { decodeMessages } from '../../src/netlink/message.ts';
import { DAEMON_STATE } from '../../src/netlink/uapi/ipvs.ts';

/** What strace showed of ipvsadm 1.31 on Linux 7.2.13, behind the netlink header; 83 is 0x53. */
const CAPTURED = {
  /** ipvsadm --start-daemon master --mcast-interface lo --syncid 83 */
  start: '09010000 1c000380 0800010001000000 070002006c6f0000 0800030053000000',
  /** ipvsadm -L --daemon, the reply: with size, port, TTL and group of the kernel's own */
  list:
    '09010000 3c000300 0800010001000000 070002006c6f0000 0800030053000000 ' +
    '06000400c0050000 0600070090220000 0500080001000000 08000500e0000051',
};
const MASTER = { state: DAEMON_STATE.master, interface: 'lo', id: 83 };
const HEADER_BYTES = 16;

function payloadOf(request: GenlRequest): string {
  const writer = new ByteWriter();
  encodeGenlRequest(writer, { type: 0x17, flags: 0, sequence: 1 }, request);
  return Buffer.from(writer.written().subarray(HEADER_BYTES)).toString('hex');
}

function messageOf(payload: string) {
  const bytes = Buffer.from(payload.replaceAll(' ', ''), 'hex');
  const datagram = Buffer.alloc(HEADER_BYTES + bytes.length);
  datagram.writeUInt32LE(datagram.length, 0);
  datagram.writeUInt16LE(0x17, 4);
  bytes.copy(datagram, HEADER_BYTES);
  const [message] = decodeMessages(byteViewOf(datagram));
  return message ?? expect.unreachable();
}

describe('daemons of connection synchronisation', () => {
  test('newDaemon() is what ipvsadm sends', () => {
    expect(payloadOf(newDaemon(MASTER))).toBe(CAPTURED.start.replaceAll(' ', ''));
  });

  test('deleteDaemon() has the state alone, for the kernel looks at nothing else', () => {
    expect(payloadOf(deleteDaemon(DAEMON_STATE.backup))).toBe('0a0100000c000380' + '0800010002000000');
  });

  test('decodeDaemon() reads what the kernel answered', () => {
    expect(decodeDaemon(messageOf(CAPTURED.list))).toEqual(MASTER);
  });

  test('decodeDaemon() refuses one of a state that there is not, and one that says too little', () => {
    const [state, id] = ['0800010001000000', '0800030053000000'];
    for (const text of [CAPTURED.list.replace(state, '0800010003000000'), CAPTURED.list.replace(id, '')]) {
      const short = text.replace('3c000300', text.length < CAPTURED.list.length ? '34000300' : '3c000300');
      expect(() => decodeDaemon(messageOf(short))).toThrow('lacks state, link or id');
    }
  });
});
