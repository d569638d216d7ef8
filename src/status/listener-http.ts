import { lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';

/** Where to listen: a port, on one address or on all of both families; or a unix socket, for its owner alone. */
export type ListenPlace = { readonly port: number; readonly host: string | null } | { readonly path: string };

export interface ListenOptions {
  /** When a place that could not be had is tried again, in milliseconds. @param failures at least 1 */
  retryDelayMs(failures: number): number;
  /** Told of each place that can't be had, once while the reason stays the same, and of each that was had after all. */
  report(line: string): void;
}

/** What listens, and answers what it is asked. */
export interface ListenSubject {
  /** What it is, for reports: `health check node port 32000 (Service web/front)`. */
  describe(): string;
  respond(request: IncomingMessage, response: ServerResponse): void;
}

/**
 * Whoever asks does so every few seconds; one that is slower than this, or twice this, keeps a connection from others. Each
 * place is looked at so often, too: once a second, that was a third of what an idle daemon did. Milliseconds.
 */
const TIMEOUTS = {
  headersTimeout: 5000,
  requestTimeout: 5000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 5000,
} as const;

/** Of one place: each holds a descriptor. */
const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 8192;

/** Leaves read and write to the owner. */
const OWNER_ONLY_UMASK = 0o177;

/** One HTTP server at one place, tried again until it has it. What it costs is bounded, whoever asks. */
export class HttpListener implements AsyncDisposable {
  readonly #place: ListenPlace;
  readonly #subject: ListenSubject;
  readonly #options: ListenOptions;
  #server: Server | undefined;
  #failures = 0;
  #failure: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(place: ListenPlace, subject: ListenSubject, options: ListenOptions) {
    this.#place = place;
    this.#subject = subject;
    this.#options = options;
  }

  /** Once is enough: from then on it listens, or tries to. Returns at once. */
  listen(): void {
    if (this.#server || this.#retry || this.#closed) return;
    const server = createServer({ ...TIMEOUTS, maxHeaderSize: MAX_HEADER_BYTES }, (request, response) =>
      this.#subject.respond(request, response),
    );
    server.maxConnections = MAX_CONNECTIONS;
    server.once('listening', () => {
      if (this.#failure !== undefined) this.#options.report(`listening: ${this.#subject.describe()}`);
      this.#failure = undefined;
      this.#failures = 0;
    });
    server.on('error', (error) => void this.#fail(error));
    this.#server = server;
    try {
      listenAt(server, this.#place);
    } catch (error) {
      void this.#fail(error);
    }
  }

  /** Why nobody is answered now, in one line; undefined while somebody is. */
  failure(): string | undefined {
    return this.#failure;
  }

  /** The port it has, of a place that left the choice to the kernel; undefined where it has none. */
  port(): number | undefined {
    const address = this.#server?.address();
    return typeof address === 'object' && address ? address.port : undefined;
  }

  /** Closes everything, connections too. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const server = this.#server;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  async #fail(error: unknown): Promise<void> {
    this.#server?.close();
    this.#server = undefined;
    if (this.#closed) return;
    const code = codeOf(error);
    if (code === 'EADDRINUSE' && 'path' in this.#place && (await removeStale(this.#place.path))) {
      this.listen();
      return;
    }
    const message = `Cannot listen: ${this.#subject.describe()}: ${code}${hintAt(this.#place, code)}`;
    if (message !== this.#failure) this.#options.report(`failed: ${message}`);
    this.#failure = message;
    this.#failures += 1;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.listen();
    }, this.#options.retryDelayMs(this.#failures));
  }
}

function listenAt(server: Server, place: ListenPlace): void {
  if (!('path' in place)) {
    // Without a host: on :: for both families, or on 0.0.0.0 where the kernel has no IPv6.
    server.listen({ port: place.port, ...(place.host === null ? {} : { host: place.host }) });
    return;
  }
  mkdirSync(dirname(place.path), { recursive: true });
  const before = process.umask(OWNER_ONLY_UMASK);
  try {
    // A unix socket is bound before this returns.
    server.listen({ path: place.path });
  } finally {
    process.umask(before);
  }
}

/** Removes the socket of a process that has ended without. @returns whether there is none any more */
async function removeStale(path: string): Promise<boolean> {
  const code = await new Promise<string>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve('');
    }).once('error', (error) => resolve(codeOf(error)));
  });
  if (code === 'ENOENT') return true;
  if (code !== 'ECONNREFUSED') return false;
  try {
    // A file that is no socket refuses, too.
    if (!lstatSync(path).isSocket()) return false;
    unlinkSync(path);
    return true;
  } catch {
    // Somebody else has removed it, or nobody may: listening again tells which.
    return false;
  }
}

function hintAt(place: ListenPlace, code: string): string {
  if (code !== 'EADDRINUSE') return '';
  if ('path' in place) return ': another svcplane listens there, or the file is no socket';
  return ': another program has the port (ss -ltnp shows which)';
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error ? String(error.code) : error.message;
}
