import { constants, endianness } from 'node:os';
import { SysError } from './errno.ts';
import type { EventFd } from './event-fd.ts';
import * as libc from './libc.ts';

/** What one receive gave. `overrun`: the kernel dropped replies (ENOBUFS); what is still queued can be read. */
export type Received =
  | { readonly kind: 'datagram'; readonly bytes: Uint8Array }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'overrun' }
  | { readonly kind: 'truncated' };

/** Netlink protocols. @see include/uapi/linux/netlink.h */
export const NETLINK_ROUTE = 0;
export const NETLINK_SOCK_DIAG = 4;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

/** How to open a socket. */
export interface NetlinkSocketOptions {
  /**
   * How many bytes of answers the kernel may queue, its own bookkeeping of some 800 bytes an answer included.
   * @default 4 MiB, 16 batches of nothing but errors
   */
  readonly receiveBufferBytes?: number;
  /** Multicast groups to join, by number: their notices come among the answers. @default none */
  readonly groups?: readonly number[];
}

// include/uapi/asm-generic/socket.h and include/linux/socket.h
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
// include/uapi/linux/netlink.h
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
// include/uapi/asm-generic/poll.h
const POLLIN = 1;

const { EAGAIN, EINTR, ENOBUFS, EPERM, ENOPROTOOPT } = constants.errno;

/** The kernel cuts dumps into datagrams of at most 32 KiB, if the receiver has shown so much room. */
const DATAGRAM_BYTES = 64 * 1024;
const DEFAULT_RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
const SOCKADDR_NL_BYTES = 12;
const POLLFD_BYTES = 8;
const littleEndian = endianness() === 'LE';

/**
 * One AF_NETLINK socket, connected to the kernel: nobody else's datagrams can reach it. Calls block at most for the
 * time that they are given, and in `send` for as long as the kernel works on the requests.
 */
export class NetlinkSocket implements Disposable {
  readonly #buffer = new Uint8Array(DATAGRAM_BYTES);
  /** Another thread may be waiting on it: it lives as long as the socket. */
  readonly #pollfds = new Uint8Array(2 * POLLFD_BYTES);
  #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * @param protocol NETLINK_ROUTE, NETLINK_GENERIC, …
   * @throws SysError EPROTONOSUPPORT, EMFILE, …
   */
  static open(protocol: number, options: NetlinkSocketOptions = {}): NetlinkSocket {
    const { value: fd, errno } = libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) throw new SysError('socket', errno);
    const socket = new NetlinkSocket(fd);
    try {
      socket.#setReceiveBuffer(options.receiveBufferBytes ?? DEFAULT_RECEIVE_BUFFER_BYTES);
      // Errors come without the refused message, so that even a batch of nothing but errors fits the buffer.
      socket.#setOptionIfKnown('NETLINK_CAP_ACK', NETLINK_CAP_ACK);
      socket.#setOptionIfKnown('NETLINK_EXT_ACK', NETLINK_EXT_ACK);
      socket.#setOptionIfKnown('NETLINK_GET_STRICT_CHK', NETLINK_GET_STRICT_CHK);
      socket.#connectToKernel();
      for (const group of options.groups ?? []) socket.#join(group);
      return socket;
    } catch (error) {
      socket[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Sends one datagram. The kernel has executed all of its requests when this returns.
   * @throws SysError EMSGSIZE if it does not fit the send buffer, EPERM without the privilege to send at all
   * @throws Error after dispose
   */
  send(bytes: Uint8Array): void {
    const { value, errno } = libc.send(this.#open(), bytes, bytes.length, 0);
    if (value < 0) throw new SysError('send', errno);
  }

  /**
   * The next datagram. Its bytes are the socket's own memory: the next call overwrites them.
   * @param timeoutMs 0 only looks; the thread waits, so keep it short
   * @throws SysError if the socket is broken
   * @throws Error after dispose
   */
  receive(timeoutMs: number): Received {
    const fd = this.#open();
    let deadline: number | undefined;
    for (;;) {
      const { value, errno } = libc.recv(fd, this.#buffer, DATAGRAM_BYTES, MSG_DONTWAIT | MSG_TRUNC);
      if (value > DATAGRAM_BYTES) return { kind: 'truncated' };
      if (value >= 0) return { kind: 'datagram', bytes: this.#buffer.subarray(0, value) };
      if (errno === ENOBUFS) return { kind: 'overrun' };
      if (errno !== EAGAIN && errno !== EINTR) throw new SysError('recv', errno);
      // The kernel has answered before send returned, so the clock is hardly ever asked.
      const now = performance.now();
      deadline ??= now + timeoutMs;
      const remainingMs = deadline - now;
      if (remainingMs <= 0) return { kind: 'timeout' };
      waitReadable(fd, remainingMs);
    }
  }

  /**
   * Waits in another thread until there is something to receive, or an error to report, or `wake` is signalled. Until
   * then nobody may dispose of this socket.
   */
  async untilReadable(wake: EventFd): Promise<void> {
    const view = new DataView(this.#pollfds.buffer);
    for (const [i, fd] of [this.#open(), wake.fd].entries()) {
      view.setInt32(i * POLLFD_BYTES, fd, littleEndian);
      view.setInt16(i * POLLFD_BYTES + 4, POLLIN, littleEndian);
    }
    await libc.pollInThread(this.#pollfds, 2);
  }

  /** Closes the socket; again is harmless. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    const { value, errno } = libc.close(this.#fd);
    this.#fd = -1;
    if (value < 0) throw new SysError('close', errno);
  }

  #open(): number {
    if (this.#fd < 0) throw new Error('Cannot use netlink socket: it is closed');
    return this.#fd;
  }

  /** SO_RCVBUFFORCE passes net.core.rmem_max but needs CAP_NET_ADMIN; without it we take what the limit gives. */
  #setReceiveBuffer(bytes: number): void {
    const forced = this.#setOption(SOL_SOCKET, SO_RCVBUFFORCE, bytes);
    if (forced === 0) return;
    if (forced !== EPERM) throw new SysError('setsockopt SO_RCVBUFFORCE', forced);
    const errno = this.#setOption(SOL_SOCKET, SO_RCVBUF, bytes);
    if (errno !== 0) throw new SysError('setsockopt SO_RCVBUF', errno);
  }

  /** ENOPROTOOPT is success: an older kernel answers in more words or fewer, and the reader takes both. */
  #setOptionIfKnown(name: string, option: number): void {
    const errno = this.#setOption(SOL_NETLINK, option, 1);
    if (errno !== 0 && errno !== ENOPROTOOPT) throw new SysError(`setsockopt ${name}`, errno);
  }

  #join(group: number): void {
    const errno = this.#setOption(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group);
    if (errno !== 0) throw new SysError(`setsockopt NETLINK_ADD_MEMBERSHIP ${group}`, errno);
  }

  #setOption(level: number, option: number, value: number): number {
    return libc.setsockopt(this.#fd, level, option, Int32Array.of(value), 4).errno;
  }

  /** A connected netlink socket refuses datagrams of other processes. @see struct sockaddr_nl */
  #connectToKernel(): void {
    const address = new Uint8Array(SOCKADDR_NL_BYTES);
    new DataView(address.buffer).setUint16(0, AF_NETLINK, littleEndian);
    const { value, errno } = libc.connect(this.#fd, address, SOCKADDR_NL_BYTES);
    if (value < 0) throw new SysError('connect', errno);
  }
}

/** Returns when there is something to read, an error to report, or the time is up. @see struct pollfd */
function waitReadable(fd: number, timeoutMs: number): void {
  const pollfd = new Uint8Array(POLLFD_BYTES);
  const view = new DataView(pollfd.buffer);
  view.setInt32(0, fd, littleEndian);
  view.setInt16(4, POLLIN, littleEndian);
  const { value, errno } = libc.poll(pollfd, 1, Math.ceil(timeoutMs));
  if (value < 0 && errno !== EINTR) throw new SysError('poll', errno);
}
