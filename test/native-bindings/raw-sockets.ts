import { constants, endianness } from 'node:os';
import koffi from 'koffi';
import { errnoName, SysError } from '../../native-bindings/errno.ts';
import { close, connect, poll, setsockopt, socket } from '../../native-bindings/libc.ts';
import { addressBytes, mappedBytes, parseIpAddress } from '../../src/model/address.ts';
import * as libc from '../kernel/traffic/libc.ts';

/** Sockets of the C library, for what Node's do not show: getpeername(2), IPv4 on IPv6 sockets, errno at once. */

const library = koffi.load(null);
const getpeernameFunction = library.func('int getpeername(int fd, _Out_ void *addr, _Inout_ void *len)');

// include/linux/socket.h, include/uapi/linux/in.h, include/uapi/asm-generic/socket.h
const AF_INET = 2;
const AF_INET6 = 10;
const [SOCK_STREAM, SOCK_DGRAM] = [1, 2];
const SOCK_FLAGS = 0o2000000 | 0o4000; // SOCK_CLOEXEC | SOCK_NONBLOCK
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_LINGER = 13;
const SO_COOKIE = 57;
const SO_NETNS_COOKIE = 71;
// include/uapi/asm-generic/poll.h: struct pollfd is an int and two shorts
const POLLIN = 1;
const POLLOUT = 4;
const POLLFD_BYTES = 8;
/** A busy kernel leaves packets of the loopback to ksoftirqd: they arrive after the call that sent them. */
export const LOOPBACK_MS = 2_000;
const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
const V4_MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);
const littleEndian = endianness() === 'LE';

/** What a client asks for: an IPv4 socket, an IPv6 one, or an IPv6 one that speaks to IPv4 addresses. */
export type ClientKind = 'IPv4' | 'IPv6' | 'IPv4 on IPv6';

/** One non-blocking socket. Addresses are texts such as `10.96.0.10:80` and `[fd00::a]:80`. */
export class RawSocket implements Disposable {
  readonly #family: number;
  readonly #accepted: number[] = [];
  #fd: number;

  constructor(protocol: 'TCP' | 'UDP', kind: ClientKind = 'IPv4') {
    this.#family = kind === 'IPv4' ? AF_INET : AF_INET6;
    const type = (protocol === 'TCP' ? SOCK_STREAM : SOCK_DGRAM) | SOCK_FLAGS;
    const { value, errno } = socket(this.#family, type, 0);
    if (value < 0) throw new SysError('socket', errno);
    this.#fd = value;
    // Closed by a reset, so that thousands of connections leave nothing behind.
    if (protocol === 'TCP') setsockopt(value, SOL_SOCKET, SO_LINGER, Int32Array.of(1, 0), 8);
  }

  /** @throws SysError */
  bind(address: string, listen = false): this {
    setsockopt(this.#fd, SOL_SOCKET, SO_REUSEADDR, Int32Array.of(1), 4);
    const bytes = this.#encode(address);
    const bound = libc.bind(this.#fd, bytes, bytes.length);
    if (bound.value < 0) throw new SysError(`bind ${address}`, bound.errno);
    if (listen) libc.listen(this.#fd, 4096);
    return this;
  }

  /** @returns the name of the errno, `''` for none. A connection that is on its way counts as none. */
  connect(address: string): string {
    const bytes = this.#encode(address);
    const { errno } = connect(this.#fd, bytes, bytes.length);
    if (errno === constants.errno.EINPROGRESS) pollFor([this.#fd], POLLOUT, LOOPBACK_MS);
    return errno === 0 || errno === constants.errno.EINPROGRESS ? '' : errnoName(errno);
  }

  /** @returns the name of the errno, `''` for none. @param address none: where it is connected to */
  send(text: string, address?: string): string {
    const bytes = Buffer.from(text);
    const to = address === undefined ? new Uint8Array(0) : this.#encode(address);
    const { value, errno } = libc.sendto(this.#fd, bytes, bytes.length, 0, to, to.length);
    return value < 0 ? errnoName(errno) : '';
  }

  /**
   * A datagram and where it says it comes from, undefined if there is none.
   * @param withinMs how long to wait for it
   * @throws SysError
   */
  receive(withinMs = 0): { readonly text: string; readonly from: string } | undefined {
    pollFor([this.#fd], POLLIN, withinMs);
    const buffer = new Uint8Array(512);
    const address = new Uint8Array(SOCKADDR_IN6_BYTES);
    const length = Uint32Array.of(SOCKADDR_IN6_BYTES);
    const { value, errno } = libc.recvfrom(this.#fd, buffer, buffer.length, 0, address, length);
    if (value < 0 && errno === constants.errno.EAGAIN) return undefined;
    if (value < 0) throw new SysError('recvfrom', errno);
    return { text: Buffer.from(buffer.subarray(0, value)).toString(), from: decodeAddress(address) };
  }

  /** Whether a connection waited; it is open as long as this socket. */
  accept(): boolean {
    const address = new Uint8Array(SOCKADDR_IN6_BYTES);
    const { value } = libc.accept4(this.#fd, address, Uint32Array.of(SOCKADDR_IN6_BYTES), SOCK_FLAGS);
    if (value >= 0) this.#accepted.push(value);
    return value >= 0;
  }

  /** Waits until something came to one of the sockets: a connection to accept, a datagram. */
  static awaitAny(sockets: readonly RawSocket[]): void {
    pollFor(
      sockets.map((socket) => socket.#fd),
      POLLIN,
      LOOPBACK_MS,
    );
  }

  /** Where the socket believes to be connected to, or the name of the errno. */
  peer(): string {
    const address = new Uint8Array(SOCKADDR_IN6_BYTES);
    const result: unknown = getpeernameFunction(this.#fd, address, Uint32Array.of(SOCKADDR_IN6_BYTES));
    return result === 0 ? decodeAddress(address) : errnoName(koffi.errno());
  }

  /** The number that the kernel gives to no other socket. */
  cookie(): bigint {
    return this.#cookie('SO_COOKIE', SO_COOKIE);
  }

  /** The number that the kernel gives to no other network namespace. */
  namespaceCookie(): bigint {
    return this.#cookie('SO_NETNS_COOKIE', SO_NETNS_COOKIE);
  }

  #cookie(name: string, option: number): bigint {
    const value = new Int32Array(2);
    const { errno } = libc.getsockopt(this.#fd, SOL_SOCKET, option, value, Uint32Array.of(8));
    if (errno !== 0) throw new SysError(`getsockopt ${name}`, errno);
    return new DataView(value.buffer).getBigUint64(0, littleEndian);
  }

  [Symbol.dispose](): void {
    for (const fd of [this.#fd, ...this.#accepted.splice(0)]) if (fd >= 0) close(fd);
    this.#fd = -1;
  }

  /** struct sockaddr_in or sockaddr_in6, by the family of the socket */
  #encode(text: string): Uint8Array {
    const { address, port } = splitAddress(text);
    const bytes = new Uint8Array(this.#family === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, this.#family, littleEndian);
    view.setUint16(2, port);
    if (this.#family === AF_INET) bytes.set(addressBytes(address), 4);
    else bytes.set(mappedBytes(address), 8);
    return bytes;
  }
}

/** Which of the servers a connection came to; waits for the first. */
export function acceptedBy(...servers: readonly RawSocket[]): readonly boolean[] {
  RawSocket.awaitAny(servers);
  return servers.map((server) => server.accept());
}

/** Returns when one of the sockets is as asked, or the time is up. */
function pollFor(fds: readonly number[], events: number, timeoutMs: number): void {
  const pollfds = new Uint8Array(fds.length * POLLFD_BYTES);
  const view = new DataView(pollfds.buffer);
  for (const [i, fd] of fds.entries()) {
    view.setInt32(i * POLLFD_BYTES, fd, littleEndian);
    view.setInt16(i * POLLFD_BYTES + 4, events, littleEndian);
  }
  const { value, errno } = poll(pollfds, fds.length, timeoutMs);
  if (value < 0) throw new SysError('poll', errno);
}

/** `10.0.0.1:80` and `[::1]:80`. */
export function splitAddress(text: string) {
  const [, v6, v4, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(text) ?? [];
  const address = parseIpAddress(v6 ?? v4);
  if (address === undefined) throw new TypeError(`${text} is no address with a port`);
  return { address, port: Number(port) };
}

function decodeAddress(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer);
  const port = view.getUint16(2);
  if (view.getUint16(0, littleEndian) === AF_INET) return `${[...bytes.subarray(4, 8)].join('.')}:${port}`;
  const address = bytes.subarray(8, 24);
  if (V4_MAPPED_PREFIX.every((byte, i) => address[i] === byte)) {
    return `[::ffff:${[...address.subarray(12)].join('.')}]:${port}`;
  }
  const words = Array.from({ length: 8 }, (_, i) => view.getUint16(8 + 2 * i).toString(16));
  // The tests' own addresses have one gap of zeros.
  return `[${words.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')}]:${port}`;
}
