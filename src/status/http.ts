import type { IncomingMessage, ServerResponse } from 'node:http';
import type { IpAddress } from '../model/address.ts';
import type { HealthCheck } from '../model/desired-state.ts';
import { healthResponse } from './health-check.ts';
import { HttpListener, type ListenOptions } from './listener-http.ts';

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

/** Answers at the health check node ports. */
export class HealthCheckPorts implements AsyncDisposable {
  readonly #options: ListenOptions;
  readonly #listeners = new Map<string, CheckedPort>();

  constructor(options: ListenOptions) {
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
      const listener = this.#listeners.get(key) ?? new CheckedPort(address, check.port, this.#options);
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
class CheckedPort implements AsyncDisposable {
  readonly #address: IpAddress | null;
  readonly #port: number;
  readonly #listener: HttpListener;
  #check: HealthCheck | undefined;
  #isHealthy = false;

  constructor(address: IpAddress | null, port: number, options: ListenOptions) {
    this.#address = address;
    this.#port = port;
    const subject = {
      describe: () => this.#describe(),
      respond: (request: IncomingMessage, response: ServerResponse) => this.#respond(request, response),
    };
    this.#listener = new HttpListener({ port, host: address }, subject, options);
  }

  answer(check: HealthCheck, isHealthy: boolean): void {
    this.#check = check;
    this.#isHealthy = isHealthy;
    this.#listener.listen();
  }

  failure(): ListenFailure | undefined {
    const message = this.#listener.failure();
    if (message === undefined) return undefined;
    return { service: this.#check?.service ?? '', port: this.#port, message };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listener[Symbol.asyncDispose]();
  }

  #describe(): string {
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
