/**
 * One side of traffic, as a process of its own that uses blocking sockets and nothing of Node's: a server of one kind, or
 * a client that measures, or connects until it is told to end.
 * usage: traffic-process.ts server KIND PORT    on all IPv4 addresses
 *        traffic-process.ts client              told what to do by messages
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { errnoName, SysError } from '../../../native-bindings/errno.ts';
import { close, connect, recv, send, setsockopt, socket } from '../../../native-bindings/libc.ts';
import { addressBytes } from '../../../src/model/address.ts';
import * as libc from '../../kernel/traffic/libc.ts';
import { within } from '../../kernel/traffic/raw-socket.ts';
import { splitAddress } from '../../native-bindings/raw-sockets.ts';

/** A connection and its end; 64 bytes there and back over an open connection; the same by a datagram. */
export const TRAFFIC = ['connect', 'echo', 'udp'] as const;

export type Traffic = (typeof TRAFFIC)[number];

/** What a client is to do, or `end`. */
export interface Slice {
  readonly kind: Traffic;
  /** `10.96.0.10:80` */
  readonly to: string;
  /** The client's network namespace and cgroup. */
  readonly namespace: string;
  readonly cgroup: string;
  /** For so long, in ms; null: connects, until it is told to end. */
  readonly ms: number | null;
  /** The process of the server, whose processor time counts as well. */
  readonly server?: number;
}

/** What came of a slice. */
export interface SliceReport {
  readonly operations: number;
  readonly elapsedMs: number;
  /** Time of a processor that client and server had together, in ms; null where the kernel does not say. */
  readonly processorMs: number | null;
  /** Median time of connect(2) alone, in µs; null for other kinds. */
  readonly connectUs: number | null;
  /** How often it failed, by errno. */
  readonly failed: Readonly<Record<string, number>>;
}

type Attempt = Omit<SliceReport, 'processorMs'>;

// include/linux/socket.h, include/linux/net.h, include/uapi/asm-generic/socket.h
const AF_INET = 2;
const SOCKET_TYPE = { connect: 1, echo: 1, udp: 2 } as const;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_LINGER = 13;
const SO_RCVTIMEO = 20;
const BYTES = 64;
const SOCKADDR_BYTES = 16;
const ANSWER_SECONDS = 5;
/** Between two looks at the clock. */
const TURNS = 32;
/** Of a client that connects until it is told to end, before it looks for messages. */
const HAMMER_MS = 20;
const MOST_SAMPLES = 100_000;

function must(syscall: string, { value, errno }: { readonly value: number; readonly errno: number }): number {
  if (value < 0) throw new SysError(syscall, errno);
  return value;
}

function sockaddr(text: string): Uint8Array {
  const { address, port } = splitAddress(text);
  const bytes = new Uint8Array(SOCKADDR_BYTES);
  bytes[0] = AF_INET;
  new DataView(bytes.buffer).setUint16(2, port);
  bytes.set(addressBytes(address), 4);
  return bytes;
}

function open(kind: Traffic): number {
  const fd = must('socket', socket(AF_INET, SOCKET_TYPE[kind] | SOCK_CLOEXEC, 0));
  // Ended by a reset, so that thousands of connections leave nothing behind.
  if (kind === 'connect') setsockopt(fd, SOL_SOCKET, SO_LINGER, Int32Array.of(1, 0), 8);
  else setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, Int32Array.of(ANSWER_SECONDS, 0, 0, 0), 16);
  return fd;
}

function serve(kind: Traffic, port: number): void {
  const fd = must('socket', socket(AF_INET, SOCKET_TYPE[kind] | SOCK_CLOEXEC, 0));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, Int32Array.of(1), 4);
  must('bind', libc.bind(fd, sockaddr(`0.0.0.0:${port}`), SOCKADDR_BYTES));
  const buffer = new Uint8Array(BYTES);
  const from = new Uint8Array(SOCKADDR_BYTES);
  const length = Uint32Array.of(SOCKADDR_BYTES);
  if (kind !== 'udp') must('listen', libc.listen(fd, 4096));
  process.stdout.write('ready\n', () => {
    for (;;) {
      if (kind === 'udp') {
        const { value } = libc.recvfrom(fd, buffer, BYTES, 0, from, length);
        if (value >= 0) libc.sendto(fd, buffer, value, 0, from, SOCKADDR_BYTES);
        continue;
      }
      const peer = libc.accept4(fd, from, Uint32Array.of(SOCKADDR_BYTES), SOCK_CLOEXEC).value;
      if (peer < 0) continue;
      for (let read = 1; kind === 'echo' && read > 0; ) {
        read = recv(peer, buffer, BYTES, 0).value;
        if (read > 0) send(peer, buffer, read, 0);
      }
      close(peer);
    }
  });
}

/** Connects again and again. */
function hammer(to: Uint8Array, ms: number, samples: Float64Array | null): Attempt {
  const failed: Record<string, number> = {};
  const start = performance.now();
  let operations = 0;
  for (; operations % TURNS !== 0 || performance.now() - start < ms; operations++) {
    const fd = open('connect');
    const before = samples ? performance.now() : 0;
    const { value, errno } = connect(fd, to, SOCKADDR_BYTES);
    if (samples && operations < samples.length) samples[operations] = performance.now() - before;
    if (value < 0) failed[errnoName(errno)] = (failed[errnoName(errno)] ?? 0) + 1;
    close(fd);
  }
  const elapsedMs = performance.now() - start;
  const sorted = samples?.subarray(0, operations).sort();
  const middle = sorted?.[sorted.length >> 1];
  return { operations, elapsedMs, connectUs: middle === undefined ? null : middle * 1000, failed };
}

/** Asks again and again over one socket: the connection is open before, or is none. */
function ask(kind: 'echo' | 'udp', to: Uint8Array, ms: number): Attempt {
  const fd = open(kind);
  try {
    if (kind === 'echo') must('connect', connect(fd, to, SOCKADDR_BYTES));
    const buffer = new Uint8Array(BYTES);
    const from = new Uint8Array(SOCKADDR_BYTES);
    const length = Uint32Array.of(SOCKADDR_BYTES);
    let start = performance.now();
    let operations = -TURNS;
    for (; operations % TURNS !== 0 || performance.now() - start < ms; operations++) {
      // The first ones find out the way.
      if (operations === 0) start = performance.now();
      if (kind === 'echo') {
        must('send', send(fd, buffer, BYTES, 0));
        must('recv', recv(fd, buffer, BYTES, 0));
      } else {
        must('sendto', libc.sendto(fd, buffer, BYTES, 0, to, SOCKADDR_BYTES));
        must('recvfrom', libc.recvfrom(fd, buffer, BYTES, 0, from, length));
        if (from[4] !== to[4] || from[7] !== to[7]) throw new Error('The answer is from somebody else');
      }
    }
    return { operations, elapsedMs: performance.now() - start, connectUs: null, failed: {} };
  } finally {
    close(fd);
  }
}

/** A socket belongs to the cgroup in which it was made. Whoever moves waits, and so do others, until RCU has gone round. */
function enter(cgroup: string): void {
  writeFileSync(`${cgroup}/cgroup.procs`, String(process.pid));
}

/**
 * On a processor, in ms: of this thread, and of the main thread of another process. NaN where the kernel does not say.
 * @see proc(5) schedstat
 */
function processorMs(server: number | undefined): number {
  let ns = 0;
  for (const pid of [process.pid, ...(server === undefined ? [] : [server])]) {
    const path = `/proc/${pid}/task/${pid}/schedstat`;
    ns += existsSync(path) ? Number(readFileSync(path, 'utf8').split(' ')[0]) : Number.NaN;
  }
  return ns / 1e6;
}

function measure(slice: Slice, ms: number): SliceReport {
  const before = processorMs(slice.server);
  const report = attempt(slice, ms, true);
  const spent = processorMs(slice.server) - before;
  return { ...report, processorMs: Number.isNaN(spent) ? null : spent };
}

function attempt({ kind, to, namespace }: Slice, ms: number, timesEach: boolean): Attempt {
  const address = sockaddr(to);
  const samples = timesEach ? new Float64Array(MOST_SAMPLES) : null;
  return within(namespace, () =>
    kind === 'connect' ? hammer(address, ms, samples) : ask(kind, address, ms),
  );
}

function runClient(): void {
  let isEnded = false;
  process.on('message', async (message: Slice | 'end') => {
    if (message === 'end') {
      isEnded = true;
      return;
    }
    enter(message.cgroup);
    if (message.ms !== null) process.send?.(measure(message, message.ms));
    else {
      let [operations, elapsedMs] = [0, 0];
      const failed: Record<string, number> = {};
      while (!isEnded) {
        const turn = attempt(message, HAMMER_MS, false);
        operations += turn.operations;
        elapsedMs += turn.elapsedMs;
        for (const [errno, count] of Object.entries(turn.failed))
          failed[errno] = (failed[errno] ?? 0) + count;
        await setImmediate();
      }
      process.send?.({
        operations,
        elapsedMs,
        processorMs: null,
        connectUs: null,
        failed,
      } satisfies SliceReport);
    }
  });
  process.send?.('ready');
}

function main([role, kindText, port]: readonly string[]): void {
  const kind = TRAFFIC.find((each) => each === kindText);
  if (role === 'server' && kind) serve(kind, Number(port));
  else if (role === 'client') runClient();
}

if (import.meta.main) main(process.argv.slice(2));
