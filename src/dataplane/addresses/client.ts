import { endianness } from 'node:os';
import { getSystemErrorName } from 'node:util';
import type { NetlinkMessage, NetlinkSocket } from 'netlink';
import type { IpAddress } from '../../model/address.ts';
import type { KernelAddress, KernelAnswer, KernelLink, KernelRoute, LinkKernel } from './kernel.ts';
import { type RtnetlinkCodec, type RtnetlinkRequest, rtnetlinkCodec } from './wire.ts';

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

/**
 * The links of this process's network namespace. Opens its socket, and loads the package behind it, at the first
 * request: whoever never asks pays nothing. A broken socket is replaced at the next request.
 */
export function openLinkKernel(): LinkKernel & AsyncDisposable {
  return new RtnetlinkClient();
}

/** Receive buffer in bytes: more than rmem_max asks for all of that. It bounds the answers that may be waiting. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

/** A dump that the kernel marks as inconsistent is taken again; on a host that never rests the last one must do. */
const MAX_DUMPS = 5;

/** @see include/uapi/linux/netlink.h */
const NLMSG_ERROR = 2;
const NLM_F_DUMP_INTR = 0x10;
const EOPNOTSUPP = 95;

const HOST_IS_LITTLE_ENDIAN = endianness() === 'LE';

interface Channel {
  readonly socket: NetlinkSocket;
  readonly codec: RtnetlinkCodec;
}

class RtnetlinkClient implements LinkKernel, AsyncDisposable {
  #channel: Promise<Channel> | undefined;
  #closed = false;
  readonly #inFlight = new Set<(reason: RtnetlinkError) => void>();

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

  addDummy(name: string): Promise<KernelAnswer> {
    return this.#change((codec) => codec.addDummy(name));
  }

  setUp(linkIndex: number): Promise<KernelAnswer> {
    return this.#change((codec) => codec.setUp(linkIndex));
  }

  deleteLink(linkIndex: number): Promise<KernelAnswer> {
    return this.#change((codec) => codec.deleteLink(linkIndex));
  }

  addAddress(linkIndex: number, address: IpAddress): Promise<KernelAnswer> {
    return this.#change((codec) => codec.addAddress(linkIndex, address));
  }

  deleteAddress(linkIndex: number, address: IpAddress): Promise<KernelAnswer> {
    return this.#change((codec) => codec.deleteAddress(linkIndex, address));
  }

  addRoute(route: KernelRoute): Promise<KernelAnswer> {
    return this.#change((codec) => codec.addRoute(route));
  }

  replaceRoute(route: KernelRoute): Promise<KernelAnswer> {
    return this.#change((codec) => codec.replaceRoute(route));
  }

  deleteRoute(linkIndex: number, prefix: string): Promise<KernelAnswer> {
    return this.#change((codec) => codec.deleteRoute(linkIndex, prefix));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const channel = this.#channel;
    this.#channel = undefined;
    (await channel)?.socket.close();
  }

  async #change(request: (codec: RtnetlinkCodec) => RtnetlinkRequest): Promise<KernelAnswer> {
    const { codec } = await this.#open();
    const [message] = await this.#request(request(codec));
    const code = message && errorCode(message);
    return code === undefined ? { outcome: 'ok' } : { outcome: 'refused', code };
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

  async #request({ type, flags, body }: RtnetlinkRequest): Promise<readonly NetlinkMessage[]> {
    const { socket } = await this.#open();
    return await new Promise((resolve, reject) => {
      this.#inFlight.add(reject);
      // With checkError the package turns an errno into text; without it, its promise ends only with an answer.
      socket
        .request(type, body, { flags, checkError: false })
        .then(([messages]) => resolve(messages), reject)
        .finally(() => this.#inFlight.delete(reject));
    });
  }

  #open(): Promise<Channel> {
    if (this.#closed) throw new RtnetlinkError('use the rtnetlink socket', 'it is closed');
    this.#channel ??= this.#connect();
    return this.#channel;
  }

  async #connect(): Promise<Channel> {
    const netlink = await import('netlink');
    const socket = netlink.createNetlink(netlink.Protocol.ROUTE);
    socket.setRecvBufferSize(RECEIVE_BUFFER_BYTES);
    socket.on('error', (error) => this.#break(socket, error.code, error));
    socket.on('invalid', (error: unknown) => this.#break(socket, 'EBADMSG', error));
    return { socket, codec: rtnetlinkCodec(netlink) };
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
