import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteWriter, byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';
import { decodeMessages, type NetlinkMessage } from '../../src/netlink/message.ts';
import {
  decodeListedSocket,
  encodeEndSocket,
  encodeListSockets,
} from '../../src/netlink/sock-diag-messages.ts';
import { SOCK_DESTROY, SOCK_DIAG_BY_FAMILY } from '../../src/netlink/uapi/sock-diag.ts';

interface Golden {
  readonly captures: readonly {
    readonly command: string;
    readonly datagrams: readonly { readonly direction: 'request' | 'reply'; readonly hex: string }[];
  }[];
}

/** What SockDiagClient and a kernel have said to each other. */
const golden: Golden = JSON.parse(
  readFileSync(new URL('../golden/sock-diag/linux-6.18.json', import.meta.url), 'utf8'),
);

function messages(command: string, direction: 'request' | 'reply', type: number): NetlinkMessage[] {
  const datagrams = golden.captures.find((capture) => capture.command === command)?.datagrams ?? [];
  return datagrams
    .filter((datagram) => datagram.direction === direction)
    .flatMap(({ hex }) => [...decodeMessages(byteViewOf(Buffer.from(hex, 'hex')))])
    .filter((message) => message.type === type);
}

const only = (command: string, type: number): NetlinkMessage => {
  const [message] = messages(command, 'request', type);
  if (!message) throw new Error(`no request of ${command}`);
  return message;
};

const LISTED = [
  ...messages('list AF_INET', 'reply', SOCK_DIAG_BY_FAMILY),
  ...messages('list AF_INET6', 'reply', SOCK_DIAG_BY_FAMILY),
];

function written(write: (writer: ByteWriter) => void): string {
  const writer = new ByteWriter();
  write(writer);
  return Buffer.from(writer.written()).toString('hex');
}

const hexOf = ({ source }: NetlinkMessage) => Buffer.from(source.bytes).toString('hex');

describe('messages of sock_diag', () => {
  test.each([
    { command: 'list AF_INET', family: 2, port: 0 },
    { command: 'list AF_INET6', family: 10, port: 0 },
    { command: 'list AF_INET6 to port 53', family: 10, port: 53 },
  ])('encodeListSockets() writes the request of $command', ({ command, family, port }) => {
    const request = only(command, SOCK_DIAG_BY_FAMILY);
    expect(written((writer) => void encodeListSockets(writer, request, family, port))).toBe(hexOf(request));
  });

  test('decodeListedSocket() reads what the kernel lists', () => {
    const read = LISTED.map(decodeListedSocket).map(
      (socket) =>
        socket && [
          socket.family,
          socket.cookie,
          Buffer.from(socket.destination).toString('hex'),
          socket.destinationPort,
        ],
    );
    expect(read).toEqual([
      [2, 79n, '7f000001', 5353],
      [10, 80n, '00000000000000000000000000000001', 5353],
      [10, 81n, '00000000000000000000ffff7f000002', 53],
    ]);
  });

  test.each([
    'end 2 79',
    'end 10 80',
    'end 10 81',
  ])('encodeEndSocket() writes the request of %s', (command) => {
    const socket = LISTED.map(decodeListedSocket).find((each) => command.endsWith(` ${each?.cookie}`));
    if (!socket) throw new Error('not listed');
    const request = only(command, SOCK_DESTROY);
    expect(written((writer) => void encodeEndSocket(writer, request, socket))).toBe(hexOf(request));
  });

  test('decodeListedSocket() knows a cookie of more than 32 bits, and passes over what is not connected', () => {
    const alter = (offset: number, value: number) => {
      const [listed] = LISTED;
      if (!listed) throw new Error('nothing is listed');
      const bytes = listed.source.bytes.slice(listed.payloadStart, listed.payloadEnd);
      bytes[offset] = value;
      return decodeListedSocket({
        ...listed,
        source: byteViewOf(bytes),
        payloadStart: 0,
        payloadEnd: bytes.length,
      });
    };
    expect(alter(4 + 44, 2)?.cookie).toBe(0x2_0000_004fn);
    expect(alter(1, 7)).toBeUndefined();
    expect(alter(0, 1)).toBeUndefined();
  });

  test('decodeListedSocket() takes no bytes from behind the message', () => {
    const bytes = LISTED.map(({ source }) => source.bytes);
    fc.assert(
      fc.property(
        fc.constantFrom(...bytes),
        fc.nat(80),
        fc.uint8Array({ maxLength: 8 }),
        (whole, end, noise) => {
          const roomy = new Uint8Array(whole.length + 64).fill(0xee);
          roomy.set(whole, 32);
          roomy.set(noise, 32 + 20);
          const source = byteViewOf(roomy.subarray(32, 32 + whole.length));
          const message = {
            type: 20,
            flags: 0,
            sequence: 1,
            portId: 0,
            source,
            payloadStart: 16,
            payloadEnd: 16 + end,
          };
          if (end < 72) expect(() => decodeListedSocket(message)).toThrow(NetlinkDecodeError);
          else expect(decodeListedSocket(message)?.id.length ?? 48).toBe(48);
        },
      ),
    );
  });
});
