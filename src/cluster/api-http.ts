import { type Agent, type IncomingMessage, request as requestHttp } from 'node:http';
import { type AgentOptions, request as requestHttps, Agent as SecureAgent } from 'node:https';
import { isIP } from 'node:net';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import { ApiError } from './api-connection.ts';
import type { ApiAccess } from './api-credentials-store.ts';

/** A server that is there answers the first packet at once, also from far away. */
const CONNECT_TIMEOUT_MS = 10_000;
/** After so long in silence the peer's kernel is asked whether it still has the connection; 10 s later it is given up. */
const KEEP_ALIVE_MS = 15_000;
/** No kubelet's certificate is for this name, though the same authority may have signed it. */
const API_SERVER_NAME = 'kubernetes.default.svc';
/** Requests other than watches are one after the other. */
const MAX_FREE_SOCKETS = 2;

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** Until the answer begins, in milliseconds. */
  readonly answerTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** @param tls PEM texts; connections made with it are kept for later requests */
export function createAgent(tls: AgentOptions): SecureAgent {
  return new SecureAgent({ ...tls, keepAlive: true, maxFreeSockets: MAX_FREE_SOCKETS });
}

/**
 * Sends a request, and waits until its answer begins.
 * @param host `address:port` to connect to, instead of that of the server
 * @throws ApiError without a status; the signal's reason if aborted
 */
export async function send(
  access: ApiAccess,
  agent: Agent,
  host: string,
  wanted: HttpRequest,
): Promise<IncomingMessage> {
  const { method, path, query, headers, body, answerTimeoutMs, signal } = wanted;
  signal.throwIfAborted();
  const url = new URL(access.server);
  url.host = host;
  url.pathname = access.server.pathname.replace(/\/$/, '') + path;
  url.search = new URLSearchParams(query).toString();
  const action = `${method} ${url.origin}${path}`;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const isSecure = url.protocol === 'https:';
  const request = (isSecure ? requestHttps : requestHttp)(url, {
    method,
    headers: { ...headers, Host: access.server.host },
    agent: isSecure || access.agent ? agent : undefined,
    signal,
    ...(isSecure && identityOf(access, url)),
  });
  const limit = (ms: number, what: string) => setTimeout(() => request.destroy(timeout(what, ms)), ms);
  let timer = limit(answerTimeoutMs, 'no answer');
  request.once('socket', (socket) => {
    if (!socket.connecting) return;
    clearTimeout(timer);
    timer = limit(CONNECT_TIMEOUT_MS, 'no connection');
    socket.once(isSecure ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      timer = limit(answerTimeoutMs, 'no answer');
    });
  });
  request.setSocketKeepAlive(true, KEEP_ALIVE_MS);
  request.once('response', resolve);
  // Errors of the body come from the response.
  request.on('error', reject);
  request.end(body);
  try {
    return await promise;
  } catch (error) {
    signal.throwIfAborted();
    const refused = broken(action, error);
    // The server had closed a connection that was kept for later, and has not seen the request.
    const isStale = request.reusedSocket && method === 'GET' && refused.code === 'ECONNRESET';
    if (!isStale) throw refused;
  } finally {
    clearTimeout(timer);
  }
  return send(access, agent, host, wanted);
}

/**
 * All of an answer.
 * @throws as `bytesOf`
 */
export async function textOf(
  response: IncomingMessage,
  action: string,
  idleTimeoutMs: number,
  signal: AbortSignal,
): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of bytesOf(response, action, idleTimeoutMs, signal)) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}

/**
 * The bytes of an answer, as they come.
 * @throws ApiError if it is cut off, or keeps silent for `idleTimeoutMs`; the signal's reason if aborted
 */
export async function* bytesOf(
  response: IncomingMessage,
  action: string,
  idleTimeoutMs: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const timer = setTimeout(() => response.destroy(timeout('nothing has come', idleTimeoutMs)), idleTimeoutMs);
  try {
    for await (const chunk of response) {
      timer.refresh();
      yield chunk;
    }
  } catch (error) {
    signal.throwIfAborted();
    throw broken(action, error);
  } finally {
    clearTimeout(timer);
    response.destroy();
  }
}

/** An error of Node's sockets as ours. */
function broken(action: string, error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code =
    error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
  return new ApiError(action, message, { code, cause: error });
}

function timeout(what: string, ms: number): Error {
  return Object.assign(new Error(`${what} within ${ms / 1000} s`), { code: 'ETIMEDOUT' });
}

/** Another address of the same server has a certificate for the server's name, or for the one that all of them have. */
function identityOf({ server, tlsServerName }: ApiAccess, url: URL) {
  const name = tlsServerName ?? bare(server.hostname);
  // An address can't be asked for by SNI; empty text turns it off.
  const servername = isIP(name) === 0 ? name : '';
  const isConfigured = url.host === server.host;
  // Node keeps no connection whose certificate a function has checked; its own check is for `servername`, or the host.
  if (isConfigured && (servername !== '' || name === bare(url.hostname))) return { servername };
  const accepted = isConfigured ? [name] : [name, API_SERVER_NAME];
  return {
    servername,
    checkServerIdentity: (_: string, certificate: PeerCertificate) => {
      const refusals = accepted.map((each) => checkServerIdentity(each, certificate));
      return refusals.includes(undefined) ? undefined : refusals[0];
    },
  };
}

/** Without the brackets that URLs put around IPv6 addresses. */
function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
