import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { IpAddress } from '../model/address.ts';
import type { HealthCheck } from '../model/desired-state.ts';
import { healthResponse } from './health-check.ts';

/** What is to be answered, and where. */
export interface HealthChecks {
  readonly checks: readonly HealthCheck[];
  /** null: on every address of both families. */
  readonly addresses: readonly IpAddress[] | null;
  /** Whether this node's dataplane is as it should be. */
  readonly isHealthy: boolean;
}

/** A port where nobody is answered, for now. */
export interface ListenFailure {
  /** `namespace/name` */
  readonly service: string;
  readonly port: number;
  /** One line. */
  readonly message: string;
}

export interface HealthCheckOptions {
  /** When a port that could not be had is tried again, in milliseconds. @param failures at least 1 */
  retryDelayMs(failures: number): number;
  /** Told of each port that can't be had, once while the reason stays the same, and of each that was had after all. */
  report(line: string): void;
}

/** Load balancers ask every few seconds; whoever is slower than this keeps a connection from others. Milliseconds. */
const TIMEOUTS = {
  headersTimeout: 5000,
  requestTimeout: 5000,
  keepAliveTimeout: 5000,
  connectionsCheckingInterval: 1000,
} as const;

/** Of one port: each holds a descriptor. */
const MAX_CONNECTIONS = 256;
const MAX_HEADER_BYTES = 8192;

/** Answers at the health check node ports. */
export class HealthCheckPorts implements AsyncDisposable {
  readonly #options: HealthCheckOptions;
  readonly #listeners = new Map<string, Listener>();

  constructor(options: HealthCheckOptions) {
    this.#options = options;
  }

  /** From now on exactly these are answered. A listener that stays goes on without a gap. Returns at once. */
  update({ checks, addresses, isHealthy }: HealthChecks): void {
    const wanted = new Map<string, { check: HealthCheck; address: IpAddress | null }>();
    for (const check of checks) {
      // Should two Services claim one port, the first has it: the API server lets no two.
      for (const address of addresses ?? [null]) {
        const key = `${address} ${check.port}`;
        if (!wanted.has(key)) wanted.set(key, { check, address });
      }
    }
    for (const [key, listener] of this.#listeners) {
      if (wanted.has(key)) continue;
      this.#listeners.delete(key);
      void listener[Symbol.asyncDispose]();
    }
    for (const [key, { check, address }] of wanted) {
      const listener = this.#listeners.get(key) ?? new Listener(address, check.port, this.#options);
      this.#listeners.set(key, listener);
      listener.answer(check, isHealthy);
    }
  }

  /** Ports where nobody is answered now, in no particular order. */
  failures(): readonly ListenFailure[] {
    return [...this.#listeners.values()].flatMap((listener) => listener.failure() ?? []);
  }

  /** Closes everything, connections too. */
  async [Symbol.asyncDispose](): Promise<void> {
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    await Promise.all(listeners.map((listener) => listener[Symbol.asyncDispose]()));
  }
}

/** One port on one address, or on all. */
class Listener implements AsyncDisposable {
  readonly #address: IpAddress | null;
  readonly #port: number;
  readonly #options: HealthCheckOptions;
  #server: Server | undefined;
  #check: HealthCheck | undefined;
  #isHealthy = false;
  #failures = 0;
  #failure: string | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(address: IpAddress | null, port: number, options: HealthCheckOptions) {
    this.#address = address;
    this.#port = port;
    this.#options = options;
  }

  answer(check: HealthCheck, isHealthy: boolean): void {
    this.#check = check;
    this.#isHealthy = isHealthy;
    if (!this.#server && !this.#retry) this.#listen();
  }

  failure(): ListenFailure | undefined {
    if (this.#failure === undefined) return undefined;
    return { service: this.#check?.service ?? '', port: this.#port, message: this.#failure };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    const server = this.#server;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  }

  #listen(): void {
    const server = createServer({ ...TIMEOUTS, maxHeaderSize: MAX_HEADER_BYTES }, (request, response) =>
      this.#respond(request, response),
    );
    server.maxConnections = MAX_CONNECTIONS;
    server.once('listening', () => {
      if (this.#failure !== undefined) this.#options.report(`listening: ${this.#subject()}`);
      this.#failure = undefined;
      this.#failures = 0;
    });
    server.on('error', (error) => this.#fail(error));
    this.#server = server;
    // Without a host: on :: for both families, or on 0.0.0.0 where the kernel has no IPv6.
    server.listen({ port: this.#port, ...(this.#address === null ? {} : { host: this.#address }) });
  }

  #fail(error: Error): void {
    this.#server?.close();
    this.#server = undefined;
    if (this.#closed) return;
    const code = 'code' in error ? String(error.code) : error.message;
    const hint = code === 'EADDRINUSE' ? ': another program has the port (ss -ltnp shows which)' : '';
    const message = `Cannot listen: ${this.#subject()}: ${code}${hint}`;
    if (message !== this.#failure) this.#options.report(`failed: ${message}`);
    this.#failure = message;
    this.#failures += 1;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#listen();
    }, this.#options.retryDelayMs(this.#failures));
  }

  #subject(): string {
    const where = this.#address === null ? '' : ` of ${this.#address}`;
    return `health check node port ${this.#port}${where} (Service ${this.#check?.service})`;
  }

  #respond(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#check || (request.method !== 'GET' && request.method !== 'HEAD')) {
      response.writeHead(405, { Allow: 'GET, HEAD', Connection: 'close' }).end();
      return;
    }
    const { status, headers, body } = healthResponse(this.#check, this.#isHealthy);
    response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) }).end(body);
  }
}
