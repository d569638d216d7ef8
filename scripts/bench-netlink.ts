import { type ByteView, ByteWriter, byteViewOf } from '../src/netlink/bytes.ts';
import { encodeGenlRequest } from '../src/netlink/genl.ts';
import { decodeDestination, newDestination } from '../src/netlink/ipvs-messages.ts';
import { decodeMessages } from '../src/netlink/message.ts';

/** Rates of the netlink codec, without a kernel. */
export interface NetlinkBenchmark {
  /** NEW_DEST requests that are built and encoded in a second. */
  readonly encodedPerSecond: number;
  /** Bytes of one such request. */
  readonly encodedBytes: number;
  /** Rows of a GET_DEST dump, as the kernel writes them, that are decoded in a second. */
  readonly decodedPerSecond: number;
  /** Bytes of one such row. */
  readonly decodedBytes: number;
}

const ROWS = 50_000;
/** The kernel cuts dumps into datagrams of at most 32 KiB. */
const DATAGRAM_BYTES = 32 * 1024;
const ROUNDS = 5;
/** From test/golden/netlink, with its origin there. */
const DUMPED_ROW = [
  '64010000170002005d9c016b2e0140890501000050010200140001000a010006000000000000000000000000060002000035',
  '00000800030000000000080004000100000005000d000000000006000e000000000006000f00000000000800050000000000',
  '080006000000000008000700000000000800080000000000080009000000000006000b00020000005c000a00080001000000',
  '0000080002000000000008000300000000000c00040000000000000000000c00050000000000000000000800060000000000',
  '08000700000000000800080000000000080009000000000008000a00000000007c000c000c00010000000000000000000c00',
  '020000000000000000000c00030000000000000000000c00040000000000000000000c00050000000000000000000c000600',
  '00000000000000000c00070000000000000000000c00080000000000000000000c00090000000000000000000c000a000000',
  '000000000000',
].join('');
const MASQUERADE = { forwardingMethod: 0, weight: 1, upperThreshold: 0, lowerThreshold: 0 };

/** @returns the best of a few rounds each: what the code can do, not what else the machine does */
export function benchNetlink(): NetlinkBenchmark {
  const writer = new ByteWriter();
  const encodeMs = best(() => encodeRequests(writer));
  const { datagrams, rowBytes } = dumpReply();
  const decodeMs = best(() => decodeDump(datagrams));
  return {
    encodedPerSecond: Math.round((ROWS / encodeMs) * 1000),
    encodedBytes: Math.round(encodeRequests(writer) / ROWS),
    decodedPerSecond: Math.round((ROWS / decodeMs) * 1000),
    decodedBytes: rowBytes,
  };
}

function best(run: () => unknown): number {
  const times = Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    run();
    return performance.now() - start;
  });
  return Math.min(...times);
}

/** In slices, as the client does. @returns the bytes written */
function encodeRequests(writer: ByteWriter): number {
  let bytes = 0;
  for (let row = 0; row < ROWS; row++) {
    if (row % 256 === 0) {
      bytes += writer.length;
      writer.clear();
    }
    const service = { family: 2, protocol: 6, address: Uint8Array.of(10, 96, row >> 8, row), port: 80 };
    const server = { family: 2, address: Uint8Array.of(10, 1, row >> 8, row), port: 8080 };
    encodeGenlRequest(
      writer,
      { type: 23, flags: 1, sequence: row },
      newDestination(service, server, MASQUERADE),
    );
  }
  bytes += writer.length;
  writer.clear();
  return bytes;
}

function decodeDump(datagrams: readonly ByteView[]): number {
  let weight = 0;
  for (const datagram of datagrams) {
    for (const message of decodeMessages(datagram)) weight += decodeDestination(message, 2).weight;
  }
  if (weight !== ROWS) throw new Error(`decoded ${weight} rows of ${ROWS}`);
  return weight;
}

/** A dump of 50,000 rows, each a copy of one that Linux 7.2 wrote for `ipvsadm -Ln`, statistics included. */
function dumpReply(): { readonly datagrams: readonly ByteView[]; readonly rowBytes: number } {
  const row = Buffer.from(DUMPED_ROW, 'hex');
  const perDatagram = Math.floor(DATAGRAM_BYTES / row.length);
  const datagram = byteViewOf(Buffer.concat(new Array<Buffer>(perDatagram).fill(row)));
  const datagrams = new Array<ByteView>(Math.floor(ROWS / perDatagram)).fill(datagram);
  const rest = ROWS % perDatagram;
  return {
    datagrams: [...datagrams, byteViewOf(datagram.bytes.subarray(0, rest * row.length))],
    rowBytes: row.length,
  };
}
