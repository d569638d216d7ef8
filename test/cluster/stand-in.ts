import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** A request that has come. */
export interface Asked {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
  /** Common name of the client's certificate; null without one. */
  readonly client: string | null;
  /** Counts connections from 1: equal for requests over the same one. */
  readonly connection: number;
}

export type Answering = (asked: Asked, response: ServerResponse) => void;

/**
 * A server that misbehaves as a test wants it to, on demand: what a real API server does only when it breaks. It knows
 * nothing of Kubernetes but what `answer` says.
 */
export class StandIn implements AsyncDisposable {
  readonly asked: Asked[] = [];
  answer: Answering = (_, response) => json(response, 200, {});
  readonly #server: Server;
  readonly #scheme: string;
  readonly #sockets = new Map<Socket, number>();
  #connections = 0;

  private constructor(server: Server, scheme: string) {
    this.#server = server;
    this.#scheme = scheme;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      let body = '';
      request.setEncoding('utf8').on('data', (piece: string) => {
        body += piece;
      });
      request.on('end', () => this.#take(request, response, body));
    });
    server.on(scheme === 'https' ? 'secureConnection' : 'connection', (socket: Socket) => {
      this.#sockets.set(socket, ++this.#connections);
      socket.on('error', () => undefined); // tests cut connections
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** @param tls for HTTPS; without, HTTP */
  static async start(tls?: ServerOptions, host = '127.0.0.1', port = 0): Promise<StandIn> {
    const server = tls ? createSecureServer(tls) : createServer();
    const standIn = new StandIn(server, tls ? 'https' : 'http');
    await new Promise<void>((resolve) => server.listen(port, host, resolve));
    return standIn;
  }

  /** As `https://127.0.0.1:12345`. */
  get url(): string {
    return `${this.#scheme}://${this.address}`;
  }

  /** As `127.0.0.1:12345`. */
  get address(): string {
    const { address, port } = this.#server.address() as AddressInfo;
    return `${address}:${port}`;
  }

  get connections(): number {
    return this.#connections;
  }

  /** Cuts all connections, as a server that is killed. */
  cut(): void {
    for (const socket of this.#sockets.keys()) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    this.cut();
    await closed;
  }

  #take(request: IncomingMessage, response: ServerResponse, body: string): void {
    const { method = '', headers, socket } = request;
    const url = new URL(request.url ?? '/', 'http://stand-in');
    const names = socket instanceof TLSSocket ? socket.getPeerCertificate().subject : undefined;
    const asked = {
      method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers,
      body,
      client: names === undefined ? null : String(names.CN),
      connection: this.#sockets.get(socket) ?? 0,
    };
    this.asked.push(asked);
    this.answer(asked, response);
  }
}

/** A whole answer. */
export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

/** As the API server refuses. */
export function refuse(
  response: ServerResponse,
  code: number,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  json(response, code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code }, headers);
}
