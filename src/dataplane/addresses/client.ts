import { getSystemErrorName } from 'node:util';
import type { NetlinkMessage, NetlinkSocket } from 'netlink';
import { type BatchSocket, openBatchSocket } from './batch.ts';
import {
  type KernelAddress,
  type KernelAnswer,
  type KernelLink,
  type KernelRoute,
  type LinkChange,
  type LinkKernel,
  MAX_CHANGES,
} from './kernel.ts';
import { loadNetlinkPackage } from './package-client.ts';
import { HOST_IS_LITTLE_ENDIAN, type RtnetlinkCodec, type RtnetlinkRequest, rtnetlinkCodec } from './wire.ts';

/** The channel to the kernel broke, or the kernel refused to be read. Nothing is known of the requests in flight. */
export class RtnetlinkError extends Error {
  override readonly name = 'RtnetlinkError';
  /** e.g. `ENOBUFS` */
  readonly code: string;

  constructor(action: string, code: string, cause?: unknown) {
    super(`Cannot ${action}: ${code}`, { cause });
    this.code = code;
  }
}

/** What was sent since the client was made. Writes are changes, reads are look-ups and dumps. */
export interface RtnetlinkTraffic {
  readonly writeSends: number;
  readonly writeMessages: number;
  readonly readSends: number;
}

/** The links of the network namespace that this process is in. */
export interface HostLinkKernel extends LinkKernel, AsyncDisposable {
  /** A copy of the counters. */
  traffic(): RtnetlinkTraffic;
}

/**
 * The links of this process's network namespace. Opens its socket, and loads the package behind it, at the first
 * request: whoever never asks pays nothing. A broken socket is replaced at the next request.
 *
 * One request at a time: the package takes the answer to another request for the end of a dump that runs meanwhile.
 */
export function openLinkKernel(): HostLinkKernel {
  return new RtnetlinkClient();
}

/** Receive buffer in bytes: more than rmem_max asks for all of that. It bounds the answers that may be waiting. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

/**
 * What an answer takes of the receive buffer: the request comes back in a refusal, and memory is allotted in powers
 * of two. More answers than fit must not wait there: the package ends the process (abort) when the buffer overflows.
 */
const ANSWER_BYTES = 1280;

/** A dump that the kernel marks as inconsistent is taken again; on a host that never rests the last one must do. */
const MAX_DUMPS = 5;

/** @see include/uapi/linux/netlink.h */
const NLMSG_ERROR = 2;
const NLM_F_DUMP_INTR = 0x10;
const EOPNOTSUPP = 95;

interface Channel {
  readonly raw: BatchSocket;
  readonly socket: NetlinkSocket;
  readonly codec: RtnetlinkCodec;
}

class RtnetlinkClient implements HostLinkKernel {
  #channel: Promise<Channel> | undefined;
  #closed = false;
  readonly #inFlight = new Set<(reason: RtnetlinkError) => void>();
  readonly #traffic = { writeSends: 0, writeMessages: 0, readSends: 0 };

  traffic(): RtnetlinkTraffic {
    return { ...this.#traffic };
  }

  async links(): Promise<readonly KernelLink[]> {
    const { codec } = await this.#open();
    return await this.#dump('read links', codec.getLinks(), codec.parseLink);
  }

  async link(name: string): Promise<KernelLink | undefined> {
    const { codec } = await this.#open();
    const [message] = await this.#request(codec.getLink(name));
    const code = message && errorCode(message);
    if (code === 'ENODEV') return undefined;
    if (code !== undefined) throw new RtnetlinkError(`read link ${name}`, code);
    return message && codec.parseLink(message.data);
  }

  async addresses(): Promise<readonly KernelAddress[]> {
    const { codec } = await this.#open();
    return await this.#dump('read addresses', codec.getAddresses(), codec.parseAddress);
  }

  async localRoutes(): Promise<readonly KernelRoute[]> {
    const { codec } = await this.#open();
    return await this.#dump('read routes', codec.getRoutes(), codec.parseLocalRoute);
  }

  async change(changes: readonly LinkChange[]): Promise<readonly KernelAnswer[]> {
    if (changes.length > MAX_CHANGES) throw new RangeError(`Cannot make ${changes.length} changes at once`);
    if (changes.length === 0) return [];
    const { raw, codec } = await this.#open();
    const requests = changes.map(codec.changeRequest);
    const answers: KernelAnswer[] = [];
    for (const batch of batchesOf(requests, Math.floor(raw.getRecvBufferSize() / ANSWER_BYTES))) {
      answers.push(...(await this.#execute(batch)));
    }
    return answers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const channel = this.#channel;
    this.#channel = undefined;
    (await channel)?.socket.close();
  }

  async #dump<Row>(
    action: string,
    request: RtnetlinkRequest,
    parse: (body: Buffer) => Row | undefined,
  ): Promise<readonly Row[]> {
    for (let attempt = 1; ; attempt++) {
      const messages = await this.#request(request);
      const code = messages[0] && errorCode(messages[0]);
      if (code !== undefined) throw new RtnetlinkError(action, code);
      const interrupted = messages.some(({ flags }) => flags & NLM_F_DUMP_INTR);
      if (!interrupted || attempt === MAX_DUMPS) return messages.flatMap(({ data }) => parse(data) ?? []);
    }
  }

  async #request(request: RtnetlinkRequest): Promise<readonly NetlinkMessage[]> {
    const { socket } = await this.#open();
    this.#traffic.readSends += 1;
    return await this.#unlessBroken(() => ask(socket, request));
  }

  async #execute(batch: readonly RtnetlinkRequest[]): Promise<readonly KernelAnswer[]> {
    const { raw, socket } = await this.#open();
    this.#traffic.writeSends += 1;
    this.#traffic.writeMessages += batch.length;
    const send = () => batch.map((request) => ask(socket, request));
    return (await this.#unlessBroken(() => Promise.all(raw.batch(send)))).map(answerIn);
  }

  /** The answer; or, as none comes through a channel that broke, the error that broke it. */
  async #unlessBroken<Answer>(send: () => Promise<Answer>): Promise<Answer> {
    return await new Promise((resolve, reject) => {
      this.#inFlight.add(reject);
      send()
        .then(resolve, reject)
        .finally(() => this.#inFlight.delete(reject));
    });
  }

  #open(): Promise<Channel> {
    if (this.#closed) throw new RtnetlinkError('use the rtnetlink socket', 'it is closed');
    this.#channel ??= this.#connect();
    return this.#channel;
  }

  async #connect(): Promise<Channel> {
    const netlink = await loadNetlinkPackage();
    const raw = openBatchSocket(netlink);
    const socket = new netlink.NetlinkSocket(raw);
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
    socket.on('error', (error) => this.#break(socket, error.code, error));
    socket.on('invalid', (error: unknown) => this.#break(socket, 'EBADMSG', error));
    return { raw, socket, codec: rtnetlinkCodec(netlink) };
  }

  /** An answer was lost, and with it all knowledge of what is in flight. */
  #break(socket: NetlinkSocket, code: string, cause: unknown): void {
    const waiting = [...this.#inFlight];
    this.#inFlight.clear();
    this.#channel = undefined;
    socket.close();
    for (const reject of waiting) reject(new RtnetlinkError('talk to rtnetlink', code, cause));
  }
}

function batchesOf<Item>(items: readonly Item[], size: number): readonly (readonly Item[])[] {
  const batches = Math.ceil(items.length / size);
  return Array.from({ length: batches }, (_, i) => items.slice(i * size, (i + 1) * size));
}

async function ask(
  socket: NetlinkSocket,
  { type, flags, body }: RtnetlinkRequest,
): Promise<readonly NetlinkMessage[]> {
  // With checkError the package turns an errno into text; without it, its promise ends only with an answer.
  const [messages] = await socket.request(type, body, { flags, checkError: false });
  return messages;
}

function answerIn([message]: readonly NetlinkMessage[]): KernelAnswer {
  const code = message && errorCode(message);
  return code === undefined ? { outcome: 'ok' } : { outcome: 'refused', code };
}

/** The errno name of an answer; undefined if it is an acknowledgement, or data. */
function errorCode(message: NetlinkMessage): string | undefined {
  if (message.type !== NLMSG_ERROR) return undefined;
  // struct nlmsgerr begins with the negative errno, in host byte order.
  const errno = -new DataView(message.data.buffer, message.data.byteOffset, 4).getInt32(
    0,
    HOST_IS_LITTLE_ENDIAN,
  );
  if (errno === 0) return undefined;
  // libuv knows 95 by its other name.
  return errno === EOPNOTSUPP ? 'EOPNOTSUPP' : getSystemErrorName(-errno);
}
