import { closeSync, openSync } from 'node:fs';
import { constants, endianness } from 'node:os';
import { SysError } from '../../../native-bindings/errno.ts';
import { type CallResult, close, connect, setsockopt, socket } from '../../../native-bindings/libc.ts';
import {
  addressBytes,
  addressFromBytes,
  familyOf,
  type IpAddress,
  type IpFamily,
} from '../../../src/model/address.ts';
import type { Protocol } from '../../../src/model/port.ts';
import * as libc from './libc.ts';

/** An address and a port of a protocol: what a socket is bound or connected to. */
export interface SocketAddress {
  readonly address: IpAddress;
  /** 0: any */
  readonly port: number;
}

// include/linux/socket.h, include/uapi/linux/in.h, sctp.h, sched.h
const AF: Readonly<Record<IpFamily, number>> = { IPv4: 2, IPv6: 10 };
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_LINGER = 13;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;
const CLONE_NEWNET = 0x40000000;

const littleEndian = endianness() === 'LE';
const BACKLOG = 4096;
const SOCKADDR_BYTES = 28;

/**
 * Runs `body` with this thread in another network namespace, and comes back whatever happens. What `body` opens
 * stays in that namespace: sockets, and files below /proc/sys/net. Not for anything asynchronous, nor for what
 * libuv does on threads of its own.
 * @param name as `ip netns` knows it
 */
export function within<T>(name: string, body: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const away = openSync(`/run/netns/${name}`, 'r');
    try {
      must('setns', libc.setns(away, CLONE_NEWNET));
    } finally {
      closeSync(away);
    }
    try {
      return body();
    } finally {
      must('setns', libc.setns(home, CLONE_NEWNET));
    }
  } finally {
    closeSync(home);
  }
}

/** Opens a socket that never blocks, in the namespace of this thread. SCTP is one-to-one style. */
export function openSocket(family: IpFamily, protocol: Protocol): number {
  const type = (protocol === 'UDP' ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  const fd = must('socket', socket(AF[family], type, IPPROTO[protocol]));
  if (family === 'IPv6') setOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
  return fd;
}

/** Makes close() send a TCP reset or an SCTP ABORT: no end of a connection lingers. */
export function abortOnClose(fd: number): void {
  must('setsockopt', setsockopt(fd, SOL_SOCKET, SO_LINGER, Int32Array.of(1, 0), 8));
}

/** Binds a socket; with `listen` it takes connections too. */
export function bindSocket(
  fd: number,
  address: SocketAddress,
  options: { readonly listen?: boolean } = {},
): void {
  if (options.listen) setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  const bytes = encodeAddress(address);
  must('bind', libc.bind(fd, bytes, bytes.length));
  if (options.listen) must('listen', libc.listen(fd, BACKLOG));
}

/** Starts to connect. @returns 0, or the errno: EINPROGRESS is the rule for all but UDP */
export function connectSocket(fd: number, address: SocketAddress): number {
  const bytes = encodeAddress(address);
  return connect(fd, bytes, bytes.length).errno;
}

/** The address that the kernel sends from, in the namespace of this thread, to another. Sends nothing. */
export function sourceTowards(destination: IpAddress): IpAddress | undefined {
  const fd = openSocket(familyOf(destination), 'UDP');
  try {
    if (connectSocket(fd, { address: destination, port: 9 }) !== 0) return undefined;
    const bytes = new Uint8Array(SOCKADDR_BYTES);
    must('getsockname', libc.getsockname(fd, bytes, Uint32Array.of(SOCKADDR_BYTES)));
    return decodeAddress(bytes).address;
  } finally {
    closeSocket(fd);
  }
}

/** A connection that waits, with the address it comes from; undefined if there is none (any more). */
export function acceptSocket(fd: number): { readonly fd: number; readonly peer: SocketAddress } | undefined {
  const bytes = new Uint8Array(SOCKADDR_BYTES);
  const { value, errno } = libc.accept4(
    fd,
    bytes,
    Uint32Array.of(SOCKADDR_BYTES),
    SOCK_NONBLOCK | SOCK_CLOEXEC,
  );
  if (value >= 0) return { fd: value, peer: decodeAddress(bytes) };
  if (isTransient(errno)) return undefined;
  throw new SysError('accept4', errno);
}

/** A datagram that waits, with the address it comes from; undefined if there is none. */
export function receiveFrom(
  fd: number,
  buffer: Uint8Array,
): { readonly bytes: number; readonly peer: SocketAddress } | undefined {
  const address = new Uint8Array(SOCKADDR_BYTES);
  const { value, errno } = libc.recvfrom(
    fd,
    buffer,
    buffer.length,
    0,
    address,
    Uint32Array.of(SOCKADDR_BYTES),
  );
  if (value >= 0) return { bytes: value, peer: decodeAddress(address) };
  if (isTransient(errno)) return undefined;
  throw new SysError('recvfrom', errno);
}

/** Sends a datagram; one that cannot be sent is lost, as datagrams are. */
export function sendTo(fd: number, bytes: Uint8Array, peer: SocketAddress): void {
  const address = encodeAddress(peer);
  libc.sendto(fd, bytes, bytes.length, 0, address, address.length);
}

/** The error that a socket has met, which it then forgets; 0 if none. */
export function takeError(fd: number): number {
  const value = new Int32Array(1);
  must('getsockopt', libc.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, Uint32Array.of(4)));
  return value[0] ?? 0;
}

/** Closes a socket. */
export function closeSocket(fd: number): void {
  must('close', close(fd));
}

/** Whether a call has only found nothing to do, or somebody else's connection gone before it was taken. */
function isTransient(errno: number): boolean {
  const { EAGAIN, EINTR, ECONNABORTED, ECONNREFUSED, ECONNRESET } = constants.errno;
  return [EAGAIN, EINTR, ECONNABORTED, ECONNREFUSED, ECONNRESET].includes(errno);
}

function setOption(fd: number, level: number, option: number, value: number): void {
  must('setsockopt', setsockopt(fd, level, option, Int32Array.of(value), 4));
}

function must(syscall: string, { value, errno }: CallResult): number {
  if (value < 0) throw new SysError(syscall, errno);
  return value;
}

/** struct sockaddr_in or sockaddr_in6: family in host order; port and address in network order. */
function encodeAddress({ address, port }: SocketAddress): Uint8Array {
  const family = familyOf(address);
  const bytes = new Uint8Array(family === 'IPv4' ? 16 : SOCKADDR_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF[family], littleEndian);
  view.setUint16(2, port);
  bytes.set(addressBytes(address), family === 'IPv4' ? 4 : 8);
  return bytes;
}

function decodeAddress(bytes: Uint8Array): SocketAddress {
  const view = new DataView(bytes.buffer);
  const isIpv4 = view.getUint16(0, littleEndian) === AF.IPv4;
  return {
    address: addressFromBytes(isIpv4 ? bytes.slice(4, 8) : bytes.slice(8, 24)),
    port: view.getUint16(2),
  };
}
