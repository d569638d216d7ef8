import { ByteWriter, byteViewOf } from '../../src/netlink/bytes.ts';
import {
  decodeFlow,
  encodeConntrackMessage,
  type FlowAttributes,
} from '../../src/netlink/conntrack-messages.ts';
import { decodeMessages, encodeMessage, type NetlinkMessage } from '../../src/netlink/message.ts';
import type { Received, Transport } from '../../src/netlink/transport.ts';
import { CONNTRACK_MESSAGE } from '../../src/netlink/uapi/ctnetlink.ts';
import { ERRNO } from '../../src/netlink/uapi/errno.ts';
import { NLM_F_ACK, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR } from '../../src/netlink/uapi/nlmsg.ts';

/** A tracked flow, of the family that its addresses have. */
export interface FakeFlow {
  readonly family: number;
  readonly attributes: FlowAttributes;
}

/** What a fake conntrack does; by default it filters and acknowledges. */
export interface FakeConntrackBehaviour {
  /** A kernel before 5.8 passes over a filter; `refused`: one that takes it for an error. */
  readonly filter?: 'applied' | 'ignored' | 'refused';
  /** The errno for every deletion but of flows that are there. */
  readonly refusal?: number;
  /** Of a dump: the second datagram is lost, and the next receive says so. */
  readonly overruns?: boolean;
  /** Called before the first deletion: what happens between a dump and it. */
  readonly beforeDeletion?: (flows: FakeFlow[]) => void;
}

const FLOWS_PER_DATAGRAM = 2;

/** One netlink socket and the connection tracking behind it. @see net/netfilter/nf_conntrack_netlink.c */
export class FakeConntrack implements Transport {
  readonly flows: FakeFlow[];
  /** Messages in each send that deletes. */
  readonly deletionsPerSend: number[] = [];
  readonly #behaviour: FakeConntrackBehaviour;
  readonly #queue: Received[] = [];

  constructor(flows: readonly FakeFlow[], behaviour: FakeConntrackBehaviour = {}) {
    this.flows = [...flows];
    this.#behaviour = behaviour;
  }

  send(bytes: Uint8Array): void {
    const messages = [...decodeMessages(byteViewOf(bytes.slice()))];
    const deletions = messages.filter(({ type }) => type === CONNTRACK_MESSAGE.delete);
    if (deletions.length > 0) {
      if (this.deletionsPerSend.length === 0) this.#behaviour.beforeDeletion?.(this.flows);
      this.deletionsPerSend.push(deletions.length);
    }
    for (const message of messages) {
      if (message.type === CONNTRACK_MESSAGE.get) this.#dump(message);
      else this.#delete(message);
    }
  }

  receive(): Received {
    return this.#queue.shift() ?? { kind: 'timeout' };
  }

  #dump(request: NetlinkMessage): void {
    const { original, filter } = decodeFlow(request);
    const { filter: mode = 'applied', overruns } = this.#behaviour;
    if (filter && mode === 'refused') {
      this.#answer(request, ERRNO.EOPNOTSUPP);
      return;
    }
    const wanted = filter && mode === 'applied' ? original : undefined;
    const family = request.source.bytes[request.payloadStart];
    const found = this.flows.filter((flow) => flow.family === family && matches(flow.attributes, wanted));
    for (let first = 0; first < found.length; first += FLOWS_PER_DATAGRAM) {
      const writer = new ByteWriter();
      for (const flow of found.slice(first, first + FLOWS_PER_DATAGRAM)) {
        encodeConntrackMessage(
          writer,
          { ...request, type: CONNTRACK_MESSAGE.new },
          flow.family,
          flow.attributes,
        );
      }
      const lost = overruns && first === FLOWS_PER_DATAGRAM;
      this.#queue.push(lost ? { kind: 'overrun' } : { kind: 'datagram', bytes: writer.written() });
    }
    this.#reply({ ...request, type: NLMSG_DONE }, (writer) => writer.u32(0));
  }

  #delete(request: NetlinkMessage): void {
    const { original, zone, id } = decodeFlow(request);
    const name = JSON.stringify([original, zone]);
    const at = this.flows.findIndex(
      ({ attributes }) => JSON.stringify([attributes.original, attributes.zone]) === name,
    );
    // As the kernel does: another flow of the same tuple is not the one that was meant.
    const gone = at < 0 || this.flows[at]?.attributes.id !== id;
    const errno = gone ? ERRNO.ENOENT : (this.#behaviour.refusal ?? 0);
    if (errno === 0) this.flows.splice(at, 1);
    if (errno !== 0 || request.flags & NLM_F_ACK) this.#answer(request, errno);
  }

  #answer(request: NetlinkMessage, errno: number): void {
    this.#reply({ ...request, type: NLMSG_ERROR, flags: NLM_F_CAPPED }, (writer) => {
      writer.u32(-errno);
      writer.bytes(request.source.bytes.subarray(request.payloadStart - 16, request.payloadStart));
    });
  }

  #reply(header: NetlinkMessage, write: (writer: ByteWriter) => void): void {
    const writer = new ByteWriter();
    encodeMessage(writer, header, () => write(writer));
    this.#queue.push({ kind: 'datagram', bytes: writer.written() });
  }
}

/** Whether a flow has all that is in `wanted`. */
function matches({ original }: FlowAttributes, wanted: FlowAttributes['original']): boolean {
  const { ip, protocol } = wanted ?? {};
  if (protocol?.number !== undefined && protocol.number !== original?.protocol?.number) return false;
  if (protocol?.destinationPort !== undefined) {
    if (protocol.destinationPort !== original?.protocol?.destinationPort) return false;
  }
  const destination = ip?.ipv4Destination ?? ip?.ipv6Destination;
  return (
    !destination || `${destination}` === `${original?.ip?.ipv4Destination ?? original?.ip?.ipv6Destination}`
  );
}
