import type { Agent, IncomingMessage } from 'node:http';
import type { Agent as SecureAgent } from 'node:https';
import {
  type ApiConnection,
  type ApiConnectionOptions,
  ApiError,
  type ApiRequestOptions,
  type ApiResponse,
  type ApiStreamOptions,
  NOT_JSON,
  refusal,
} from './api-connection.ts';
import { type ApiAccess, ApiCredentials, type ApiTls } from './api-credentials-store.ts';
import { bytesOf, createAgent, type HttpRequest, send, textOf } from './api-http.ts';
import { LineSplitter } from './api-lines.ts';

const ANSWER_TIMEOUT_MS = 60_000;
const USER_AGENT = 'svcplane';
const UNAUTHORIZED = 401;

/**
 * Reads the credentials, and connects when the first request is made.
 * @throws ApiConfigurationError if they can't be read
 */
export async function openApiConnection(options: ApiConnectionOptions): Promise<ApiConnection> {
  const credentials = new ApiCredentials(options);
  const access = await credentials.current();
  return new HttpConnection(credentials, access, options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS);
}

type Wanted = Omit<HttpRequest, 'answerTimeoutMs'>;

class HttpConnection implements ApiConnection {
  readonly #credentials: ApiCredentials;
  readonly #answerTimeoutMs: number;
  #configured: URL;
  /** Whether somebody else would be told from the API server. */
  #isVerified: boolean;
  #fallbacks: readonly string[] = [];
  /** Of the configured server and its fallbacks, which is used. */
  #turn = 0;
  #agent: { readonly tls: ApiTls; readonly agent: SecureAgent } | null = null;

  constructor(credentials: ApiCredentials, access: ApiAccess, answerTimeoutMs: number) {
    this.#credentials = credentials;
    this.#configured = access.server;
    this.#isVerified = isVerified(access);
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  get server(): string {
    return `${this.#configured.protocol}//${this.#host}`;
  }

  async request(method: string, path: string, options: ApiRequestOptions): Promise<ApiResponse> {
    const { query = {}, body, contentType = 'application/json', signal } = options;
    const action = `${method} ${this.server}${path}`;
    const response = await this.#send({
      method,
      path,
      query,
      headers: body === undefined ? {} : { 'Content-Type': contentType },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
    });
    return this.#answerOf(response, action, signal);
  }

  async *stream(path: string, options: ApiStreamOptions): AsyncGenerator<readonly unknown[]> {
    const { query = {}, idleTimeoutMs, signal } = options;
    const action = `GET ${this.server}${path}`;
    const response = await this.#send({ method: 'GET', path, query, headers: {}, body: null, signal });
    if (response.statusCode !== 200) throw refusal(action, await this.#answerOf(response, action, signal));
    yield [];
    const splitter = new LineSplitter();
    for await (const chunk of bytesOf(response, action, idleTimeoutMs, signal)) {
      const values = splitter.push(chunk).map((line) => parsedLine(line, action));
      if (values.length > 0) yield values;
    }
  }

  useFallbacks(addresses: readonly string[]): void {
    const current = this.#host;
    this.#fallbacks = addresses.filter((address) => address !== this.#configured.host);
    this.#turn = Math.max(0, this.#hosts.indexOf(current));
  }

  [Symbol.dispose](): void {
    this.#agent?.agent.destroy();
    this.#agent = null;
    this.#credentials[Symbol.dispose]();
  }

  get #hosts(): readonly string[] {
    return [this.#configured.host, ...(this.#isVerified ? this.#fallbacks : [])];
  }

  get #host(): string {
    return this.#hosts[this.#turn % this.#hosts.length] ?? this.#configured.host;
  }

  async #send(wanted: Wanted): Promise<IncomingMessage> {
    const response = await this.#sendOnce(wanted);
    if (response.statusCode !== UNAUTHORIZED) return response;
    // The token may have been replaced while it was in use.
    this.#credentials.invalidate();
    response.destroy();
    return this.#sendOnce(wanted);
  }

  async #sendOnce(wanted: Wanted): Promise<IncomingMessage> {
    const access = await untilAborted(this.#credentials.current(), wanted.signal);
    this.#configured = access.server;
    this.#isVerified = isVerified(access);
    const request = {
      ...wanted,
      headers: { Accept: 'application/json', 'User-Agent': USER_AGENT, ...access.headers, ...wanted.headers },
      answerTimeoutMs: this.#answerTimeoutMs,
    };
    const host = this.#host;
    try {
      return await send(access, this.#agentOf(access), host, request);
    } catch (error) {
      if (error instanceof ApiError) {
        // Others may have found that out meanwhile.
        if (this.#host === host) this.#turn = (this.#turn + 1) % this.#hosts.length;
        this.#credentials.expectChange();
      }
      throw error;
    }
  }

  #agentOf({ agent, tls }: ApiAccess): Agent {
    if (agent) return agent;
    if (this.#agent?.tls !== tls) {
      // Requests under way end in peace.
      for (const sockets of Object.values(this.#agent?.agent.freeSockets ?? {}))
        for (const socket of sockets ?? []) socket.destroy();
      this.#agent = { tls, agent: createAgent(tls) };
    }
    return this.#agent.agent;
  }

  async #answerOf(response: IncomingMessage, action: string, signal: AbortSignal): Promise<ApiResponse> {
    const text = await textOf(response, action, this.#answerTimeoutMs, signal);
    return { status: response.statusCode ?? 0, body: parsed(text), retryAfterMs: retryAfterOf(response) };
  }
}

/** What comes first: a program that is asked for credentials may take long. */
async function untilAborted<Value>(value: Promise<Value>, signal: AbortSignal): Promise<Value> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([value, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

function isVerified({ server, tls }: ApiAccess): boolean {
  return server.protocol === 'https:' && tls.rejectUnauthorized;
}

function parsedLine(line: string, action: string): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw new ApiError(action, 'a line of the answer is no JSON', { code: NOT_JSON, cause });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** In seconds; the API server sends no dates. */
function retryAfterOf(response: IncomingMessage): number | null {
  const seconds = Number(response.headers['retry-after'] ?? Number.NaN);
  return Number.isFinite(seconds) ? Math.max(0, seconds) * 1000 : null;
}
