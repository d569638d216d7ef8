import { setImmediate } from 'node:timers/promises';
import { ByteWriter, byteViewOf } from './bytes.ts';
import { refusalOf } from './client.ts';
import {
  emptyLocation,
  encodeConntrackMessage,
  encodeDeleteFlow,
  type FlowFilter,
  filterAttributes,
  locateFlow,
} from './conntrack-messages.ts';
import { EndpointTable, type RawEndpoint } from './endpoint-table.ts';
import { decodeMessages, type NetlinkMessage, nextSequence, replaceMessageFlags } from './message.ts';
import type { Refusal, RequestResult } from './results.ts';
import type { Transport } from './transport.ts';
import { CONNTRACK_MESSAGE } from './uapi/ctnetlink.ts';
import { ERRNO } from './uapi/errno.ts';
import { NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR } from './uapi/nlmsg.ts';

/** The flows to one destination, all but those that are answered by one of `keep`. */
export interface FlowSelection extends RawEndpoint {
  /** AF_INET or AF_INET6. */
  readonly family: number;
  /** IPPROTO_*. */
  readonly protocol: number;
  readonly keep: readonly RawEndpoint[];
}

/** What went through a client since it was made. */
export interface ConntrackTraffic {
  readonly dumps: number;
  /** Flows that dumps brought. */
  readonly flowsRead: number;
  readonly deletions: number;
}

/**
 * Up to so many destinations the kernel looks for each by itself; of more it sends all flows of the protocol, once.
 * With 100,000 flows the second costs as much as 8 of the first on Linux 7.2 (UML), as 40 on an emulated 6.1.
 */
const MAX_FILTERED_DUMPS = 16;
const SLICE_MESSAGES = 256;
/** As in client.ts: well below the send buffer. */
const SLICE_BYTES = 64 * 1024;
const DATAGRAMS_PER_TURN = 64;
/** ctnetlink answers within send, or when it is read. */
const ANSWER_TIMEOUT_MS = 2000;

const OK: RequestResult = { outcome: 'ok' };
const UNKNOWN: RequestResult = { outcome: 'unknown' };
const NOT_ATTEMPTED: RequestResult = { outcome: 'notAttempted' };

/** Selections of one family and protocol, as a dump is compared with them. */
interface Group {
  readonly filter: FlowFilter;
  readonly addressBytes: number;
  /** Index of each selection among all. */
  readonly indexes: readonly number[];
  readonly destinations: EndpointTable;
  readonly kept: readonly EndpointTable[];
}

/** Deletions that are sent as one datagram. */
interface Slice {
  readonly bytes: Uint8Array;
  /** Index of the selection by sequence number. */
  readonly selections: ReadonlyMap<number, number>;
  readonly lastSequence: number;
}

/** Connection tracking through ctnetlink. Calls must not overlap: the event loop runs while a dump is read. */
export class ConntrackClient {
  readonly #transport: Transport;
  readonly #traffic = { dumps: 0, flowsRead: 0, deletions: 0 };
  #sequence = 0;
  /** Whether the kernel narrows a dump as it is told; one before 5.8 passes over that and sends more. */
  #filters = true;

  /** @param transport a socket of NETLINK_NETFILTER; stays the caller's to close */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** A copy of the counters. */
  traffic(): ConntrackTraffic {
    return { ...this.#traffic };
  }

  /**
   * Deletes the selected flows. A flow that is gone already is success.
   * @returns one result per selection, in the same order
   * @throws NetlinkDecodeError, or what the transport throws when the socket is broken
   */
  async deleteFlows(
    selections: readonly FlowSelection[],
    signal: AbortSignal,
  ): Promise<readonly RequestResult[]> {
    const results = selections.map(() => NOT_ATTEMPTED);
    for (const group of groupsOf(selections)) {
      if (signal.aborted) break;
      const slicer = new DeletionSlicer(() => this.#nextSequence());
      const dumped = await this.#dumpStale(group, slicer);
      for (const index of group.indexes) results[index] = dumped;
      if (dumped.outcome !== 'ok') continue;
      for (const slice of slicer.finish()) {
        await setImmediate();
        this.#execute(slice, results);
      }
    }
    return results;
  }

  /** Reads the flows of a group, and writes the deletions of the stale ones. */
  async #dumpStale(group: Group, slicer: DeletionSlicer): Promise<RequestResult> {
    const location = emptyLocation();
    const result = await this.#dump(group.filter, (message) => {
      if (!locateFlow(message, group.addressBytes, location)) return;
      const { bytes } = message.source;
      if (bytes[location.protocol] !== group.filter.protocol) return;
      const { originalDestination, originalDestinationPort, replySource, replySourcePort } = location;
      const found = group.destinations.find(bytes, originalDestination, originalDestinationPort);
      const keep = group.kept[found];
      if (keep === undefined || keep.find(bytes, replySource, replySourcePort) >= 0) return;
      slicer.add(group.filter.family, message, location, group.indexes[found] ?? 0);
    });
    if (result.outcome !== 'refused' || !this.#filters || !isFilterRefusal(result)) return result;
    this.#filters = false;
    return this.#dumpStale(group, slicer);
  }

  /** Reads a dump to its end, in turns. */
  async #dump(filter: FlowFilter, onFlow: (message: NetlinkMessage) => void): Promise<RequestResult> {
    const sequence = this.#nextSequence();
    const writer = new ByteWriter(256);
    const header = { type: CONNTRACK_MESSAGE.get, flags: NLM_F_REQUEST | NLM_F_DUMP, sequence };
    encodeConntrackMessage(writer, header, filter.family, this.#filters ? filterAttributes(filter) : {});
    this.#transport.send(writer.written());
    this.#traffic.dumps += 1;
    let complete = true;
    for (let datagrams = 1; ; datagrams++) {
      if (datagrams % DATAGRAMS_PER_TURN === 0) await setImmediate();
      const received = this.#transport.receive(ANSWER_TIMEOUT_MS);
      if (received.kind === 'timeout') return UNKNOWN;
      if (received.kind !== 'datagram') {
        complete = false;
        continue;
      }
      for (const message of decodeMessages(byteViewOf(received.bytes))) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) {
          return refusalOf(message) ?? (complete ? OK : UNKNOWN);
        }
        this.#traffic.flowsRead += 1;
        onFlow(message);
      }
    }
  }

  /** Sends one datagram of deletions, and enters what was refused. */
  #execute({ bytes, selections, lastSequence }: Slice, results: RequestResult[]): void {
    this.#transport.send(bytes);
    this.#traffic.deletions += selections.size;
    let complete = true;
    for (;;) {
      const received = this.#transport.receive(complete ? ANSWER_TIMEOUT_MS : 0);
      if (received.kind === 'timeout') break;
      if (received.kind !== 'datagram') {
        complete = false;
        continue;
      }
      for (const message of decodeMessages(byteViewOf(received.bytes))) {
        const index = selections.get(message.sequence);
        if (index === undefined || message.type !== NLMSG_ERROR) continue;
        const refusal = refusalOf(message);
        if (refusal !== undefined && refusal.errno !== ERRNO.ENOENT) results[index] = refusal;
        if (message.sequence === lastSequence && complete) return;
      }
    }
    for (const index of selections.values()) results[index] = UNKNOWN;
  }

  #nextSequence(): number {
    this.#sequence = nextSequence(this.#sequence);
    return this.#sequence;
  }
}

/** Writes deletions, cut into datagrams. */
class DeletionSlicer {
  readonly #writer = new ByteWriter(4096);
  readonly #slices: Slice[] = [];
  readonly #nextSequence: () => number;
  #selections = new Map<number, number>();
  #last = { start: 0, sequence: 0 };

  constructor(nextSequenceNumber: () => number) {
    this.#nextSequence = nextSequenceNumber;
  }

  add(
    family: number,
    message: NetlinkMessage,
    location: Parameters<typeof encodeDeleteFlow>[4],
    selection: number,
  ): void {
    if (this.#selections.size === SLICE_MESSAGES || this.#writer.length >= SLICE_BYTES) this.#cut();
    const sequence = this.#nextSequence();
    const header = { flags: NLM_F_REQUEST, sequence };
    const start = encodeDeleteFlow(this.#writer, header, family, message, location);
    this.#last = { start, sequence };
    this.#selections.set(sequence, selection);
  }

  finish(): readonly Slice[] {
    if (this.#selections.size > 0) this.#cut();
    return this.#slices;
  }

  #cut(): void {
    const { start, sequence } = this.#last;
    // Refusals come unasked and in order, so the answer to the last request settles all before it.
    replaceMessageFlags(this.#writer, start, NLM_F_REQUEST | NLM_F_ACK);
    const bytes = this.#writer.written().slice();
    this.#slices.push({ bytes, selections: this.#selections, lastSequence: sequence });
    this.#writer.clear();
    this.#selections = new Map();
  }
}

/** What a kernel that knows no such filter may answer. */
function isFilterRefusal({ errno }: Refusal): boolean {
  return errno === ERRNO.EOPNOTSUPP || errno === ERRNO.EINVAL;
}

/** One group per selection, or per family and protocol where they are many. */
function groupsOf(selections: readonly FlowSelection[]): Group[] {
  const byFilter = new Map<string, number[]>();
  for (const [i, { family, protocol }] of selections.entries()) {
    const indexes = byFilter.get(`${family} ${protocol}`);
    if (indexes) indexes.push(i);
    else byFilter.set(`${family} ${protocol}`, [i]);
  }
  return [...byFilter.values()].flatMap((indexes) =>
    indexes.length > MAX_FILTERED_DUMPS
      ? groupOf(selections, indexes)
      : indexes.flatMap((index) => groupOf(selections, [index])),
  );
}

function groupOf(selections: readonly FlowSelection[], indexes: readonly number[]): Group[] {
  const members = indexes.flatMap((index) => selections[index] ?? []);
  const [first] = members;
  if (first === undefined) return [];
  const addressBytes = first.address.length;
  const { family, protocol } = first;
  return [
    {
      filter: { family, protocol, destination: members.length === 1 ? first : null },
      addressBytes,
      indexes,
      destinations: new EndpointTable(members, addressBytes),
      kept: members.map(({ keep }) => new EndpointTable(keep, addressBytes)),
    },
  ];
}
