import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteWriter, byteViewOf, NetlinkDecodeError } from '../../src/netlink/bytes.ts';
import {
  decodeFlow,
  emptyLocation,
  encodeConntrackMessage,
  encodeDeleteFlow,
  type FlowAttributes,
  filterAttributes,
  locateFlow,
} from '../../src/netlink/conntrack-messages.ts';
import { ADDRESS_FAMILY } from '../../src/netlink/ipvs-messages.ts';
import { decodeMessages, type NetlinkMessage } from '../../src/netlink/message.ts';
import { CONNTRACK_MESSAGE } from '../../src/netlink/uapi/ctnetlink.ts';

interface GoldenFile {
  readonly kernel: string;
  readonly captures: readonly {
    readonly command: string;
    readonly datagrams: readonly { readonly direction: 'request' | 'reply'; readonly hex: string }[];
  }[];
}

const folder = new URL('../golden/conntrack/', import.meta.url);
const goldens: readonly GoldenFile[] = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => JSON.parse(readFileSync(new URL(name, folder), 'utf8')));

const LIST = 'conntrack -L';
const DELETE = 'conntrack -D -p udp --orig-src 10.0.0.1';
const { ipv4, ipv6 } = ADDRESS_FAMILY;

/** The messages of a type in one direction of a captured command. */
function messagesOf(golden: GoldenFile, command: string, direction: string, type: number): NetlinkMessage[] {
  return golden.captures
    .filter((capture) => capture.command === command)
    .flatMap(({ datagrams }) => datagrams.filter((datagram) => datagram.direction === direction))
    .flatMap(({ hex }) => [...decodeMessages(byteViewOf(Uint8Array.from(Buffer.from(hex, 'hex'))))])
    .filter((message) => message.type === type);
}

/** The bytes of a message with its header, the port id left out. */
function hexOf({ source, payloadStart, payloadEnd }: NetlinkMessage): string {
  const bytes = Buffer.from(source.bytes.slice(payloadStart - 16, payloadEnd));
  return bytes.fill(0, 12, 16).toString('hex');
}

const flowsOf = (golden: GoldenFile) => messagesOf(golden, LIST, 'reply', CONNTRACK_MESSAGE.new);
const familyIn = ({ source, payloadStart }: NetlinkMessage) => source.bytes[payloadStart] ?? 0;

function encoded(message: NetlinkMessage, attributes: FlowAttributes): string {
  const writer = new ByteWriter();
  encodeConntrackMessage(writer, message, familyIn(message), attributes);
  return Buffer.from(writer.written()).toString('hex');
}

/** What tells the flow with these addresses. */
function locate(golden: GoldenFile, isIt: (flow: FlowAttributes) => boolean) {
  const message = flowsOf(golden).find((candidate) => isIt(decodeFlow(candidate)));
  if (!message) throw new Error('no such flow was captured');
  const location = emptyLocation();
  const found = locateFlow(message, familyIn(message) === ipv4 ? 4 : 16, location);
  return { message, location, found };
}

describe.each(goldens)('on $kernel', (golden) => {
  test('encodeConntrackMessage() asks for a dump in the bytes of conntrack -L', () => {
    const [request] = messagesOf(golden, LIST, 'request', CONNTRACK_MESSAGE.get);
    expect(request && encoded(request, {})).toBe(request && hexOf(request));
    expect(request).toBeDefined();
  });

  test('encodeConntrackMessage(decodeFlow()) gives the bytes of every captured flow with ports', () => {
    const flows = flowsOf(golden).filter((message) => decodeFlow(message).original?.protocol?.number === 17);
    expect(flows).toHaveLength(3);
    for (const flow of flows) expect(encoded(flow, decodeFlow(flow))).toBe(hexOf(flow));
  });

  test('encodeConntrackMessage(decodeFlow()) says what conntrack -D says', () => {
    const [request] = messagesOf(golden, DELETE, 'request', CONNTRACK_MESSAGE.delete);
    if (!request) throw new Error('no deletion was captured');
    const again = Uint8Array.from(Buffer.from(encoded(request, decodeFlow(request)), 'hex'));
    const [message] = decodeMessages(byteViewOf(again));
    expect(message && decodeFlow(message)).toEqual(decodeFlow(request));
    // It writes the same attributes in another order.
    expect(again).toHaveLength(hexOf(request).length / 2);
  });

  test('locateFlow() finds what decodeFlow() reads', () => {
    for (const message of flowsOf(golden)) {
      const family = familyIn(message);
      const location = emptyLocation();
      const flow = decodeFlow(message);
      const hasPorts = flow.original?.protocol?.number === 17;
      expect(locateFlow(message, family === ipv4 ? 4 : 16, location)).toBe(hasPorts);
      expect(locateFlow(message, family === ipv4 ? 16 : 4, emptyLocation())).toBe(false);
      if (!hasPorts) continue;
      const { bytes, view } = message.source;
      const address = (at: number) => bytes.slice(at, at + (family === ipv4 ? 4 : 16));
      const { original, reply } = flow;
      const destination = family === ipv4 ? original?.ip?.ipv4Destination : original?.ip?.ipv6Destination;
      expect(address(location.originalDestination)).toEqual(destination);
      expect(address(location.replySource)).toEqual(
        family === ipv4 ? reply?.ip?.ipv4Source : reply?.ip?.ipv6Source,
      );
      expect(bytes[location.protocol]).toBe(17);
      expect(view.getUint16(location.originalDestinationPort)).toBe(original?.protocol?.destinationPort);
      expect(view.getUint16(location.replySourcePort)).toBe(reply?.protocol?.sourcePort);
    }
  });

  test('encodeDeleteFlow() names a flow by original tuple, zone and id', () => {
    const { message, location } = locate(golden, ({ zone }) => zone === 9);
    const { original, zone, id } = decodeFlow(message);
    const writer = new ByteWriter();
    encodeDeleteFlow(writer, { flags: 5, sequence: 3 }, ipv4, message, location);
    const [deletion] = decodeMessages(byteViewOf(writer.written()));
    expect(deletion && decodeFlow(deletion)).toEqual({ original, zone, id });
    expect(deletion).toMatchObject({ type: CONNTRACK_MESSAGE.delete, flags: 5, sequence: 3 });
  });

  test('encodeDeleteFlow() says nothing of a zone that a flow does not have', () => {
    const { message, location } = locate(golden, ({ original }) => original?.ip?.ipv6Source !== undefined);
    const { original, id } = decodeFlow(message);
    const writer = new ByteWriter();
    encodeDeleteFlow(writer, { flags: 1, sequence: 3 }, ipv6, message, location);
    const [deletion] = decodeMessages(byteViewOf(writer.written()));
    expect(deletion && decodeFlow(deletion)).toEqual({ original, id });
  });
});

describe('locateFlow()', () => {
  test('throws NetlinkDecodeError for odd bytes, and nothing else', () => {
    const datagrams = goldens
      .flatMap(({ captures }) => captures.flatMap((capture) => capture.datagrams))
      .map(({ hex }) => Uint8Array.from(Buffer.from(hex, 'hex')));
    const changes = fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 4 });
    fc.assert(
      fc.property(
        fc.constantFrom(...datagrams),
        changes,
        fc.constantFrom(4, 16),
        (datagram, edits, bytes) => {
          const odd = datagram.slice();
          for (const [at, value] of edits) odd[at % odd.length] = value;
          try {
            for (const message of decodeMessages(byteViewOf(odd)))
              locateFlow(message, bytes, emptyLocation());
          } catch (error) {
            expect(error).toBeInstanceOf(NetlinkDecodeError);
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe('filterAttributes()', () => {
  test('compares protocol, port and IPv4 destination, or the protocol alone', () => {
    const filter = { family: ipv4, protocol: 132, destination: null };
    expect(filterAttributes(filter)).toEqual({
      original: { protocol: { number: 132 } },
      filter: { original: 0x08 },
    });
    const address = Uint8Array.of(10, 96, 0, 10);
    expect(filterAttributes({ ...filter, destination: { address, port: 53 } })).toEqual({
      original: { ip: { ipv4Destination: address }, protocol: { number: 132, destinationPort: 53 } },
      filter: { original: 0x2a },
    });
    const wide = new Uint8Array(16).fill(0xfd);
    expect(filterAttributes({ ...filter, family: ipv6, destination: { address: wide, port: 53 } })).toEqual({
      original: { protocol: { number: 132, destinationPort: 53 } },
      filter: { original: 0x28 },
    });
  });
});
