import { constants } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { errnoName } from '../../../native-bindings/errno.ts';
import { recv, send } from '../../../native-bindings/libc.ts';
import { familyOf, type IpAddress, parseIpAddress } from '../../../src/model/address.ts';
import type { Protocol } from '../../../src/model/port.ts';
import { addressPair } from './dual-stack.ts';
import { POLLIN, POLLOUT, Poller } from './poller.ts';
import {
  abortOnClose,
  acceptSocket,
  bindSocket,
  closeSocket,
  connectSocket,
  openSocket,
  receiveFrom,
  sendTo,
  sourceTowards,
  takeError,
  within,
} from './raw-socket.ts';

/** A server to be opened: it answers whoever asks with its name, and with the address that it saw them come from. */
export interface Server {
  readonly name: string;
  /** Network namespace, as `ip netns` knows it. */
  readonly namespace: string;
  readonly address: IpAddress;
  readonly port: number;
  readonly protocol: Protocol;
}

/** A question of a client to whoever answers at a destination. */
export interface Request {
  /** Network namespace of the client. */
  readonly namespace: string;
  readonly destination: IpAddress;
  readonly port: number;
  readonly protocol: Protocol;
  /** The client's own address; by default the one that the kernel chooses. */
  readonly source?: IpAddress;
  /** The client's own port; by default one that no request of this namespace had before. */
  readonly sourcePort?: number;
}

/** How a request ended. */
export type Outcome =
  | {
      readonly kind: 'answered';
      readonly server: string;
      readonly source: IpAddress;
      readonly afterMs: number;
    }
  /**
   * ECONNREFUSED: by a TCP reset, an SCTP ABORT or an ICMP port unreachable. ENOPROTOOPT: by an ICMP protocol
   * unreachable. EPERM: by the client's own host, which has thrown its packet away and says so.
   */
  | { readonly kind: 'refused'; readonly code: string; readonly afterMs: number }
  /** By any other error. */
  | { readonly kind: 'unreachable'; readonly code: string; readonly afterMs: number }
  | { readonly kind: 'timeout' };

export interface ExchangeOptions {
  /** How long each request may take. */
  readonly timeoutMs: number;
  /**
   * How many are under way at once. More would overflow the queues between namespaces (1,000 packets), and UDP has
   * nobody who sends again.
   * @default 256
   */
  readonly concurrency?: number;
}

/** What starts a request, and calls `end` once. */
interface Running {
  readonly fd: number;
  readonly deadlineMs: number;
  end(outcome: Outcome): void;
}

/** Above the NodePorts, so that no answer comes to a port that is one. */
const FIRST_SOURCE_PORT = 33_000;
const LAST_SOURCE_PORT = 65_535;
const LONGEST_TURN_MS = 50;
const QUESTION = new TextEncoder().encode('who are you?\n');
const { EAGAIN, ECONNREFUSED, EINPROGRESS, EINTR, ENOPROTOOPT, EPERM } = constants.errno;

/**
 * Servers and clients in any number of network namespaces, all of this one process: none is started, which would
 * take most of the time where a processor is emulated. Servers answer only while an exchange is under way.
 */
export class Sockets implements Disposable {
  readonly #poller = new Poller();
  readonly #open = new Set<number>();
  readonly #nextSourcePort = new Map<string, number>();
  readonly #buffer = new Uint8Array(2048);

  /** Opens a server; it stays until disposed of. @throws SysError EADDRINUSE, EADDRNOTAVAIL, … */
  serve(server: Server): void {
    const { protocol, address } = server;
    const fd = within(server.namespace, () => this.#register(openSocket(familyOf(address), protocol)));
    bindSocket(fd, server, { listen: protocol !== 'UDP' });
    this.#poller.watch(fd, POLLIN, () => {
      if (protocol === 'UDP') this.#answerDatagrams(fd, server.name);
      else this.#acceptConnections(fd, server.name);
    });
  }

  /**
   * Makes all requests, started in their order, and serves them. @returns an outcome for each, in the same order
   */
  async exchange(requests: readonly Request[], options: ExchangeOptions): Promise<readonly Outcome[]> {
    const { timeoutMs, concurrency = 256 } = options;
    const outcomes: Outcome[] = [];
    const running = new Set<Running>();
    let next = 0;
    while (next < requests.length || running.size > 0) {
      for (; next < requests.length && running.size < concurrency; next++) {
        const index = next;
        const request = requests[index];
        if (request)
          this.#start(request, timeoutMs, running, (outcome) => {
            outcomes[index] = outcome;
          });
      }
      this.#poller.turn(LONGEST_TURN_MS);
      for (const each of running) if (each.deadlineMs <= performance.now()) each.end({ kind: 'timeout' });
      // Whatever else this process is about goes on meanwhile.
      await setImmediate();
    }
    return outcomes;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open) this.#close(fd);
  }

  #start(
    request: Request,
    timeoutMs: number,
    running: Set<Running>,
    onEnd: (outcome: Outcome) => void,
  ): void {
    const { destination, port } = request;
    const startedMs = performance.now();
    const fd = within(request.namespace, () => this.#openClient(request));
    const client: Running = {
      fd,
      deadlineMs: startedMs + timeoutMs,
      end: (outcome) => {
        if (!running.delete(client)) return;
        this.#close(fd);
        onEnd(outcome);
      },
    };
    running.add(client);
    const since = () => performance.now() - startedMs;
    const fail = (errno: number) => client.end(failure(errno, since()));
    const onAnswer = () => {
      const { value, errno } = recv(fd, this.#buffer, this.#buffer.length, 0);
      if (value < 0) return errno === EAGAIN || errno === EINTR ? undefined : fail(errno);
      client.end(parseAnswer(this.#buffer.subarray(0, value), since()));
    };
    const ask = () => {
      const { value, errno } = send(fd, QUESTION, QUESTION.length, 0);
      if (value < 0) fail(errno);
      else this.#poller.watch(fd, POLLIN, onAnswer);
    };
    const errno = connectSocket(fd, { address: destination, port });
    if (errno === 0) ask();
    else if (errno !== EINPROGRESS) fail(errno);
    else {
      this.#poller.watch(fd, POLLOUT, () => {
        const met = takeError(fd);
        if (met === 0) ask();
        else fail(met);
      });
    }
  }

  /** In the client's namespace. */
  #openClient({ namespace, destination, protocol, source, sourcePort }: Request): number {
    const family = familyOf(destination);
    const fd = this.#register(openSocket(family, protocol));
    if (protocol !== 'UDP') abortOnClose(fd);
    // An SCTP socket bound to no address offers all that its host has, VIPs included, for the peer to send to.
    const single = protocol === 'SCTP' ? sourceTowards(destination) : undefined;
    const address = source ?? single ?? UNSPECIFIED[family];
    bindSocket(fd, { address, port: sourcePort ?? this.#sourcePort(namespace) });
    return fd;
  }

  /**
   * IPVS keeps a client's port. Two connections from one port to two virtual servers of one real server would be the
   * same to it, and Linux does hand out a port again for another destination.
   */
  #sourcePort(namespace: string): number {
    const port = this.#nextSourcePort.get(namespace) ?? FIRST_SOURCE_PORT;
    this.#nextSourcePort.set(namespace, port === LAST_SOURCE_PORT ? FIRST_SOURCE_PORT : port + 1);
    return port;
  }

  #acceptConnections(listener: number, name: string): void {
    for (let taken = acceptSocket(listener); taken; taken = acceptSocket(listener)) {
      const { fd, peer } = taken;
      this.#register(fd);
      abortOnClose(fd);
      this.#poller.watch(fd, POLLIN, () => {
        const { value, errno } = recv(fd, this.#buffer, this.#buffer.length, 0);
        if (value > 0) {
          const bytes = answerOf(name, peer.address);
          send(fd, bytes, bytes.length, 0);
        } else if (value === 0 || (errno !== EAGAIN && errno !== EINTR)) this.#close(fd);
      });
    }
  }

  #answerDatagrams(fd: number, name: string): void {
    for (let asked = receiveFrom(fd, this.#buffer); asked; asked = receiveFrom(fd, this.#buffer)) {
      sendTo(fd, answerOf(name, asked.peer.address), asked.peer);
    }
  }

  #register(fd: number): number {
    this.#open.add(fd);
    return fd;
  }

  #close(fd: number): void {
    this.#poller.unwatch(fd);
    if (this.#open.delete(fd)) closeSocket(fd);
  }
}

const UNSPECIFIED = addressPair('0.0.0.0', '::');

function failure(errno: number, afterMs: number): Outcome {
  const kind = [ECONNREFUSED, ENOPROTOOPT, EPERM].includes(errno) ? 'refused' : 'unreachable';
  return { kind, code: errnoName(errno), afterMs };
}

function answerOf(name: string, source: IpAddress): Uint8Array {
  return new TextEncoder().encode(`${name} ${source}\n`);
}

function parseAnswer(bytes: Uint8Array, afterMs: number): Outcome {
  const [server = '', text] = new TextDecoder().decode(bytes).trim().split(' ');
  const source = parseIpAddress(text);
  return source
    ? { kind: 'answered', server, source, afterMs }
    : { kind: 'unreachable', code: 'EPROTO', afterMs };
}
