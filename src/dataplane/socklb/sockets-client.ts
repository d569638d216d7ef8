import { setImmediate } from 'node:timers/promises';
import { familyOf, mappedBytes } from '../../model/address.ts';
import { SockDiagClient } from '../../netlink/sock-diag-client.ts';
import type { ListedSocket } from '../../netlink/sock-diag-messages.ts';
import type { Transport } from '../../netlink/transport.ts';
import { errnoOf } from './errno.ts';
import type { EndedSockets, SocketEnder, SocketEnding, SocklbOutcome } from './kernel.ts';

/** A network namespace: the number it is told by, and a file it is entered by; null for that of this process. */
export interface VisibleNamespace {
  readonly id: string;
  readonly path: string | null;
}

/** The network namespaces of this machine, as far as this process sees them. */
export interface NamespaceAccess {
  /** Each at least once; looks only as far as it is asked. */
  candidates(): Iterable<VisibleNamespace>;
  /** A socket of sock_diag in a namespace. @throws an error whose code is ENOENT or ESRCH if the namespace is gone */
  open(namespace: VisibleNamespace): Transport & Disposable;
}

const AF_INET = 2;
const AF_INET6 = 10;
/** A machine may have ten thousand processes: yield after so many that were looked at. */
const CANDIDATES_PER_TURN = 256;

/** The kernel ends a socket within send: so many are a few milliseconds. */
const ENDS_PER_TURN = 256;

const OK: SocklbOutcome = { outcome: 'ok' };

/** Ends UDP sockets by sock_diag, namespace by namespace; the event loop runs between them. */
export class NamespaceSockets implements SocketEnder {
  readonly ending: SocketEnding;
  readonly #access: NamespaceAccess;

  constructor(ending: SocketEnding, access: NamespaceAccess) {
    this.ending = ending;
    this.#access = access;
  }

  /** Goes through all namespaces, or until each cookie has been met. @returns the first refusal, if there was one */
  async endSockets(targets: readonly EndedSockets[], signal: AbortSignal): Promise<SocklbOutcome> {
    const search = new Search(targets);
    const done = new Set<string>();
    let outcome = OK;
    let looked = 0;
    for (const namespace of this.#access.candidates()) {
      looked += 1;
      if (looked % CANDIDATES_PER_TURN === 0) await setImmediate();
      if (done.has(namespace.id)) continue;
      signal.throwIfAborted();
      using transport = this.#open(namespace);
      // Another process may still hold it.
      if (!transport) continue;
      done.add(namespace.id);
      const answer = await search.endIn(new SockDiagClient(transport));
      if (outcome.outcome === 'ok') outcome = answer;
      if (search.isOver) break;
      await setImmediate();
    }
    return outcome;
  }

  #open(namespace: VisibleNamespace): (Transport & Disposable) | undefined {
    try {
      return this.#access.open(namespace);
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'ENOENT' || code === 'ESRCH') return undefined;
      throw error;
    }
  }
}

/** The sockets that are still to be met. */
class Search {
  /** Where each is connected to, address and port in hexadecimal, by cookie. */
  readonly #destinations = new Map<bigint, string>();
  readonly #families: readonly number[];
  /** 0 where there is more than one. */
  readonly #port: number;

  constructor(targets: readonly EndedSockets[]) {
    const ports = new Set<number>();
    let hasIpv4 = false;
    for (const { address, port, cookies } of targets) {
      const destination = textOf(mappedBytes(address), port);
      for (const cookie of cookies) this.#destinations.set(cookie, destination);
      ports.add(port);
      hasIpv4 ||= familyOf(address) === 'IPv4';
    }
    // A socket of IPv6 may be connected to either.
    this.#families = hasIpv4 ? [AF_INET, AF_INET6] : [AF_INET6];
    const [port = 0] = ports;
    this.#port = ports.size === 1 ? port : 0;
  }

  /** Whether each socket has been met. */
  get isOver(): boolean {
    return this.#destinations.size === 0;
  }

  async endIn(client: SockDiagClient): Promise<SocklbOutcome> {
    let outcome = OK;
    for (const family of this.#families) {
      const listed = await client.list(family, this.#port, ({ cookie }) => this.#destinations.has(cookie));
      if (listed.outcome !== 'ok') return refusal(listed);
      for (const [i, socket] of listed.row.entries()) {
        if (i % ENDS_PER_TURN === ENDS_PER_TURN - 1) await setImmediate();
        const isSought = this.#destinations.get(socket.cookie) === destinationOf(socket);
        const answer = isSought ? client.end(socket) : OK;
        if (answer.outcome !== 'ok') outcome = refusal(answer);
        this.#destinations.delete(socket.cookie);
      }
    }
    return outcome;
  }
}

function refusal(answer: { readonly outcome: string; readonly code?: string }): SocklbOutcome {
  // Without a code an answer was lost.
  return { outcome: 'refused', code: answer.code ?? 'ENOBUFS' };
}

/** An IPv4 address as ::ffff:a.b.c.d, whatever the socket's family. */
function destinationOf({ destination, destinationPort }: ListedSocket): string {
  if (destination.length === 16) return textOf(destination, destinationPort);
  return textOf(Uint8Array.of(...new Uint8Array(10), 0xff, 0xff, ...destination), destinationPort);
}

function textOf(address: Uint8Array, port: number): string {
  return `${Buffer.from(address).toString('hex')} ${port}`;
}
