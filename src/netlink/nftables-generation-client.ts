import { attributeCodec } from './attributes.ts';
import { ByteWriter, byteViewOf } from './bytes.ts';
import { encodeNfgenmsg } from './conntrack-messages.ts';
import { decodeMessages, encodeMessage, nextSequence } from './message.ts';
import type { Transport } from './transport.ts';
import { NFGENMSG_BYTES } from './uapi/ctnetlink.ts';
import { generationSchema, NFTABLES_MESSAGE } from './uapi/nftables.ts';
import { NLM_F_REQUEST, NLMSG_ERROR } from './uapi/nlmsg.ts';

/** The kernel answers within send. */
const ANSWER_TIMEOUT_MS = 2000;
const AF_UNSPEC = 0;

const generationCodec = attributeCodec(generationSchema);

/** What the nftables of a network namespace, that of the transport, tells of who writes to it. */
export class NftablesGenerationClient {
  readonly #transport: Transport;
  readonly #writer = new ByteWriter(64);
  #sequence = 0;

  /** @param transport a socket of NETLINK_NETFILTER; stays the caller's to close */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * A number of 32 bits, never 0, that is one more after each transaction of anybody, in whatever table.
   * @returns undefined where the kernel does not tell
   * @throws NetlinkDecodeError, or what the transport throws when the socket is broken
   * @see net/netfilter/nf_tables_api.c nf_tables_commit
   */
  read(): number | undefined {
    this.#sequence = nextSequence(this.#sequence);
    const sequence = this.#sequence;
    const header = { type: NFTABLES_MESSAGE.getGeneration, flags: NLM_F_REQUEST, sequence };
    this.#writer.clear();
    encodeMessage(this.#writer, header, () => encodeNfgenmsg(this.#writer, AF_UNSPEC));
    this.#transport.send(this.#writer.written());
    for (;;) {
      const received = this.#transport.receive(ANSWER_TIMEOUT_MS);
      if (received.kind !== 'datagram') return undefined;
      for (const message of decodeMessages(byteViewOf(received.bytes))) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_ERROR) return undefined;
        if (message.type !== NFTABLES_MESSAGE.newGeneration) continue;
        const { source, payloadStart, payloadEnd } = message;
        return generationCodec.decode(source, payloadStart + NFGENMSG_BYTES, payloadEnd).id;
      }
    }
  }
}
