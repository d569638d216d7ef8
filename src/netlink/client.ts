import { setImmediate } from 'node:timers/promises';
import { ByteWriter, byteViewOf } from './bytes.ts';
import { decodeFamilyId, encodeGenlRequest, type GenlRequest, getFamily } from './genl.ts';
import {
  decodeAcknowledgement,
  decodeDone,
  decodeMessages,
  type NetlinkMessage,
  nextSequence,
  replaceMessageFlags,
} from './message.ts';
import {
  type DumpResult,
  FamilyNotFoundError,
  NetlinkRequestError,
  type QueryResult,
  type Refusal,
  type RequestResult,
  type Traffic,
} from './results.ts';
import type { Received, Transport } from './transport.ts';
import { ERRNO, errnoName } from './uapi/errno.ts';
import { GENL_ID_CTRL } from './uapi/genetlink.ts';
import {
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from './uapi/nlmsg.ts';

/** A send blocks the event loop until the kernel has executed it: 256 operations are some milliseconds. */
const SLICE_MESSAGES = 256;
/** Well below the default SO_SNDBUF of 208 KiB, above which the kernel refuses a datagram. */
const SLICE_BYTES = 64 * 1024;
/** Reads block too, a little: yield after so many datagrams. */
const DATAGRAMS_PER_TURN = 64;
/** IPVS answers within send, so a longer wait is a fault and not load. */
const ANSWER_TIMEOUT_MS = 2000;
const DUMP_ATTEMPTS = 4;

const OK: RequestResult = { outcome: 'ok' };
const UNKNOWN: RequestResult = { outcome: 'unknown' };
const NOT_ATTEMPTED: RequestResult = { outcome: 'notAttempted' };

/** Requests that are sent as one datagram. */
interface Slice {
  readonly bytes: Uint8Array;
  /** Indexes of the first request, and of the one behind the last. */
  readonly first: number;
  readonly end: number;
  /** Index of the request by its sequence number. */
  readonly sequences: ReadonlyMap<number, number>;
  readonly lastSequence: number;
}

/**
 * Requests to one generic netlink family. Exchanges with the kernel are synchronous and the event loop runs only
 * between them, so callers may overlap: no answer can meet another's request.
 */
export class GenlClient {
  readonly #transport: Transport;
  readonly #writer = new ByteWriter(SLICE_BYTES + 4096);
  #familyId = GENL_ID_CTRL;
  #sequence = 0;
  #datagramsThisTurn = 0;
  readonly #traffic = {
    writeSends: 0,
    writeMessages: 0,
    writeBytes: 0,
    readSends: 0,
    receivedDatagrams: 0,
    receivedBytes: 0,
  };

  private constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Looks the family up, once. The transport stays the caller's to close.
   * @throws FamilyNotFoundError if the kernel does not have it
   * @throws NetlinkRequestError if the look-up is refused otherwise
   */
  static open(transport: Transport, familyName: string): GenlClient {
    const client = new GenlClient(transport);
    const reply = client.query(getFamily(familyName), decodeFamilyId);
    if (reply.outcome === 'ok') {
      client.#familyId = reply.row;
      return client;
    }
    if (reply.outcome === 'refused' && reply.errno === ERRNO.ENOENT) {
      throw new FamilyNotFoundError(familyName);
    }
    throw new NetlinkRequestError(
      `look up generic netlink family ${familyName}`,
      reply.outcome === 'refused' ? reply : undefined,
    );
  }

  /** A copy of the counters. */
  traffic(): Traffic {
    return { ...this.#traffic };
  }

  /**
   * Executes requests in order, many per send, and yields to the event loop between sends. The signal is checked
   * before each send; an abort is no error, what was left out is `notAttempted`.
   * @returns one result per request, in the same order
   * @throws whatever the transport throws when the socket is broken: then observe again
   */
  async executeBatch(
    requests: readonly GenlRequest[],
    signal: AbortSignal,
  ): Promise<readonly RequestResult[]> {
    const results: RequestResult[] = new Array<RequestResult>(requests.length).fill(NOT_ATTEMPTED);
    const slices = await this.#encodeSlices(requests);
    for (const [i, slice] of slices.entries()) {
      if (i > 0) await setImmediate();
      if (signal.aborted) break;
      this.#executeSlice(slice, results);
    }
    return results;
  }

  /**
   * Asks for a table and reads all of it, again if it changed meanwhile.
   * @param decodeRow called for each message of the reply, whose memory is valid only during the call
   * @throws the signal's reason if it is aborted, NetlinkDecodeError, or what the transport throws
   */
  async dump<Row>(
    request: GenlRequest,
    decodeRow: (message: NetlinkMessage) => Row,
    signal: AbortSignal,
  ): Promise<DumpResult<Row>> {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      if (this.#datagramsThisTurn >= DATAGRAMS_PER_TURN) {
        await setImmediate();
        this.#datagramsThisTurn = 0;
      }
      signal.throwIfAborted();
      const result = this.#dumpOnce(request, decodeRow);
      if (result.outcome !== 'inconsistent') return result;
    }
    return { outcome: 'inconsistent' };
  }

  /**
   * Asks for one row. @param decodeRow as for `dump`
   * @throws NetlinkDecodeError, or what the transport throws
   */
  query<Row>(request: GenlRequest, decodeRow: (message: NetlinkMessage) => Row): QueryResult<Row> {
    const sequence = this.#sendRead(request, NLM_F_REQUEST);
    for (;;) {
      const received = this.#receive(ANSWER_TIMEOUT_MS);
      if (received.kind !== 'datagram') return { outcome: 'unknown' };
      for (const message of decodeMessages(byteViewOf(received.bytes))) {
        if (message.sequence !== sequence) continue;
        if (message.type !== NLMSG_ERROR) return { outcome: 'ok', row: decodeRow(message) };
        return refusalOf(message) ?? { outcome: 'unknown' };
      }
    }
  }

  /** All datagrams before the first is sent, for between the first and the last the table is half made. */
  async #encodeSlices(requests: readonly GenlRequest[]): Promise<readonly Slice[]> {
    const slices: Slice[] = [];
    for (let next = 0; next < requests.length; next = slices.at(-1)?.end ?? requests.length) {
      if (next > 0) await setImmediate();
      slices.push(this.#encodeSlice(requests, next));
    }
    return slices;
  }

  /** What fits into one datagram, from the request with index `first` on. */
  #encodeSlice(requests: readonly GenlRequest[], first: number): Slice {
    const writer = this.#writer;
    const sequences = new Map<number, number>();
    writer.clear();
    let end = first;
    let lastMessage = 0;
    for (let request = requests[end]; request !== undefined; request = requests[++end]) {
      if (sequences.size === SLICE_MESSAGES || writer.length >= SLICE_BYTES) break;
      this.#sequence = nextSequence(this.#sequence);
      sequences.set(this.#sequence, end);
      const header = { type: this.#familyId, flags: NLM_F_REQUEST, sequence: this.#sequence };
      lastMessage = encodeGenlRequest(writer, header, request);
    }
    // Refusals come unasked and in order, so the answer to the last request settles all before it.
    replaceMessageFlags(writer, lastMessage, NLM_F_REQUEST | NLM_F_ACK);
    return { bytes: writer.written().slice(), first, end, sequences, lastSequence: this.#sequence };
  }

  /** Sends one datagram and fills in its results. */
  #executeSlice({ bytes, first, end, sequences, lastSequence }: Slice, results: RequestResult[]): void {
    this.#transport.send(bytes);
    this.#traffic.writeSends += 1;
    this.#traffic.writeMessages += end - first;
    this.#traffic.writeBytes += bytes.length;
    const settled = this.#collectAnswers(sequences, lastSequence, results);
    for (let i = first; i < end; i++) {
      if (results[i] === NOT_ATTEMPTED) results[i] = settled ? OK : UNKNOWN;
    }
  }

  /** Reads until the last request is answered. @returns whether silence means success */
  #collectAnswers(sequences: ReadonlyMap<number, number>, last: number, results: RequestResult[]): boolean {
    let complete = true;
    for (;;) {
      // After an overrun the last answer may be among the lost ones: read what is there, wait for nothing.
      const received = this.#receive(complete ? ANSWER_TIMEOUT_MS : 0);
      if (received.kind === 'timeout') return false;
      if (received.kind !== 'datagram') {
        complete = false;
        continue;
      }
      for (const message of decodeMessages(byteViewOf(received.bytes))) {
        const index = sequences.get(message.sequence);
        if (index === undefined || message.type !== NLMSG_ERROR) continue;
        results[index] = refusalOf(message) ?? OK;
        if (message.sequence === last && complete) return true;
      }
    }
  }

  #dumpOnce<Row>(request: GenlRequest, decodeRow: (message: NetlinkMessage) => Row): DumpResult<Row> {
    const sequence = this.#sendRead(request, NLM_F_REQUEST | NLM_F_DUMP);
    const rows: Row[] = [];
    let consistent = true;
    // The socket can hold only one dump (EBUSY), so an inconsistent one is read to its end, too.
    for (;;) {
      const received = this.#receive(ANSWER_TIMEOUT_MS);
      if (received.kind === 'timeout') return { outcome: 'inconsistent' };
      if (received.kind !== 'datagram') {
        consistent = false;
        continue;
      }
      for (const message of decodeMessages(byteViewOf(received.bytes))) {
        if (message.sequence !== sequence) continue;
        if (message.flags & NLM_F_DUMP_INTR) consistent = false;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          const refusal = refusalOf(message);
          if (refusal !== undefined) return refusal;
          return consistent ? { outcome: 'ok', rows } : { outcome: 'inconsistent' };
        }
        if (consistent) rows.push(decodeRow(message));
      }
    }
  }

  #sendRead(request: GenlRequest, flags: number): number {
    this.#sequence = nextSequence(this.#sequence);
    this.#writer.clear();
    encodeGenlRequest(this.#writer, { type: this.#familyId, flags, sequence: this.#sequence }, request);
    this.#transport.send(this.#writer.written());
    this.#traffic.readSends += 1;
    return this.#sequence;
  }

  #receive(timeoutMs: number): Received {
    const received = this.#transport.receive(timeoutMs);
    if (received.kind === 'datagram') {
      this.#datagramsThisTurn += 1;
      this.#traffic.receivedDatagrams += 1;
      this.#traffic.receivedBytes += received.bytes.length;
    }
    return received;
  }
}

/** The refusal in an NLMSG_ERROR or NLMSG_DONE, undefined for an acknowledgement. */
export function refusalOf(message: NetlinkMessage): Refusal | undefined {
  const answer =
    message.type === NLMSG_DONE ? { errno: decodeDone(message) } : decodeAcknowledgement(message);
  if (answer.errno === 0) return undefined;
  return {
    outcome: 'refused',
    errno: answer.errno,
    code: errnoName(answer.errno),
    ...(answer.message === undefined ? {} : { message: answer.message }),
  };
}
