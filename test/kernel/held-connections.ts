import { constants } from 'node:os';
import { errnoName } from '../../native-bindings/errno.ts';
import { recv, send } from '../../native-bindings/libc.ts';
import { familyOf } from '../../src/model/address.ts';
import { addressPair } from './traffic/dual-stack.ts';
import {
  abortOnClose,
  bindSocket,
  closeSocket,
  connectSocket,
  openSocket,
  within,
} from './traffic/raw-socket.ts';
import type { Request } from './traffic/sockets.ts';

/** A connection to be held; `name` tells it from the others. */
export interface Held extends Request {
  readonly name: string;
  readonly protocol: 'TCP';
}

/** Name of whoever answered over each connection, or what went wrong: `timeout`, or an errno's name. */
export type Answers = Readonly<Record<string, string>>;

const QUESTION = new TextEncoder().encode('still there?\n');
const { EAGAIN, EINTR, EINPROGRESS } = constants.errno;
/** Below the ports that the kernel, or an exchange, gives to others. */
const FIRST_SOURCE_PORT = 20_000;
const UNSPECIFIED = addressPair('0.0.0.0', '::');

/** TCP connections that stay open. */
export class HeldConnections implements Disposable {
  readonly #fds = new Map<string, number>();
  readonly #buffer = new Uint8Array(2048);
  #nextSourcePort = FIRST_SOURCE_PORT;

  /** Opens one; the first question shows whether it came about. */
  open({ name, namespace, destination, port, source }: Held): void {
    const family = familyOf(destination);
    const fd = within(namespace, () => openSocket(family, 'TCP'));
    this.#fds.set(name, fd);
    abortOnClose(fd);
    within(namespace, () =>
      bindSocket(fd, { address: source ?? UNSPECIFIED[family], port: this.#nextSourcePort++ }),
    );
    const errno = connectSocket(fd, { address: destination, port });
    if (errno !== 0 && errno !== EINPROGRESS) throw new Error(`Cannot hold ${name}: ${errnoName(errno)}`);
  }

  /**
   * Asks over every connection, and over those that lose a packet again: TCP does that by itself.
   * @param serve called again and again: makes the servers answer, for a short while
   */
  async ask(timeoutMs: number, serve: () => Promise<unknown>): Promise<Answers> {
    const deadlineMs = performance.now() + timeoutMs;
    const answers = new Map<string, string>();
    const asked = new Set<string>();
    while (answers.size < this.#fds.size && performance.now() < deadlineMs) {
      for (const [name, fd] of this.#fds) {
        if (answers.has(name)) continue;
        const told = asked.has(name) ? this.#receive(fd) : this.#send(fd, () => asked.add(name));
        if (told !== undefined) answers.set(name, told);
      }
      await serve();
    }
    return Object.fromEntries([...this.#fds.keys()].map((name) => [name, answers.get(name) ?? 'timeout']));
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds.values()) closeSocket(fd);
    this.#fds.clear();
  }

  /** EAGAIN while it is still connecting. */
  #send(fd: number, onSent: () => void): string | undefined {
    // An answer may have come late, to a question that was given up.
    while (recv(fd, this.#buffer, this.#buffer.length, 0).value > 0);
    const { value, errno } = send(fd, QUESTION, QUESTION.length, 0);
    if (value > 0) onSent();
    return value > 0 ? undefined : failure(errno);
  }

  #receive(fd: number): string | undefined {
    const { value, errno } = recv(fd, this.#buffer, this.#buffer.length, 0);
    if (value < 0) return failure(errno);
    if (value === 0) return 'closed';
    return new TextDecoder().decode(this.#buffer.subarray(0, value)).split(' ')[0];
  }
}

function failure(errno: number): string | undefined {
  return errno === EAGAIN || errno === EINTR ? undefined : errnoName(errno);
}
