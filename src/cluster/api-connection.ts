import { asObject, textIn } from './object-fields.ts';

/** Where the API server is, and how to be known to it. */
export interface ApiConnectionOptions {
  /** Path of a kubeconfig; without, the Pod's service account is used. */
  readonly kubeconfig?: string;
  /**
   * `https://host:port` instead of what the kubeconfig or the Pod's environment names: on a node whose Services are
   * our own work, the ClusterIP of `kubernetes` leads nowhere until we have been at work.
   */
  readonly server?: string;
  /** The environment of the process: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are read. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where kubelet puts token and ca.crt. @default /var/run/secrets/kubernetes.io/serviceaccount */
  readonly serviceAccountDirectory?: string;
  /** How long an answer may keep silent, in milliseconds, connecting included. @default 60000 */
  readonly answerTimeoutMs?: number;
  /** How long a credential plugin may take, in milliseconds. @default 30000 */
  readonly execTimeoutMs?: number;
}

export interface ApiRequestOptions {
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of `body`. @default application/json */
  readonly contentType?: string;
  readonly signal: AbortSignal;
}

/** An answer, whatever its status: a refusal is a value. */
export interface ApiResponse {
  readonly status: number;
  /** What the JSON of the answer means, or its text if it is none. */
  readonly body: unknown;
  /** From the header Retry-After; null without. */
  readonly retryAfterMs: number | null;
}

export interface ApiStreamOptions {
  readonly query?: Readonly<Record<string, string>>;
  /** The connection is given up once nothing has come for so long, in milliseconds. */
  readonly idleTimeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * A connection to an API server, as one user. Credentials are files that others replace: they are read again when they
 * have changed, and after each failure that they may be the reason of.
 */
export interface ApiConnection extends Disposable {
  /** As `https://172.16.0.1:6443`: where the next request goes. */
  readonly server: string;
  /**
   * @param path from the first slash
   * @throws ApiError without a status if there was no answer; the signal's reason if aborted
   */
  request(method: string, path: string, options: ApiRequestOptions): Promise<ApiResponse>;
  /**
   * A GET whose answer is one JSON value per line, without end: those that have come together are yielded together.
   * The first is an empty list: the answer has begun. Returns where the server ends it.
   * @throws ApiError with the status of a refusal, or without one if the connection broke; the signal's reason if aborted
   */
  stream(path: string, options: ApiStreamOptions): AsyncGenerator<readonly unknown[]>;
  /**
   * Other addresses of the same API server, as `172.16.0.1:6443`, tried in turn where it can't be reached. Each has to
   * prove by its certificate to be the configured server, or `kubernetes.default.svc`. None is used without TLS, or
   * where certificates are not verified.
   */
  useFallbacks(addresses: readonly string[]): void;
}

/** `ApiError.code` of a line that is no JSON. */
export const NOT_JSON = 'NOT_JSON';

/** A request that got no answer, or a stream that was refused. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** Of HTTP; null if there was no answer. */
  readonly status: number | null;
  /** What stopped it, as Node calls it: ECONNREFUSED, CERT_HAS_EXPIRED; or NOT_JSON; null if there was an answer. */
  readonly code: string | null;
  readonly retryAfterMs: number | null;

  /** @param action as `GET https://172.16.0.1:6443/version` */
  constructor(
    action: string,
    problem: string,
    { status = null, code = null, retryAfterMs = null, cause }: ApiErrorDetails = {},
  ) {
    super(`Cannot ${action}: ${problem}`, cause === undefined ? undefined : { cause });
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

interface ApiErrorDetails {
  readonly status?: number | null;
  readonly code?: string | null;
  readonly retryAfterMs?: number | null;
  readonly cause?: unknown;
}

/** A kubeconfig, a service account or a server's name that can't be used. */
export class ApiConfigurationError extends Error {
  override readonly name = 'ApiConfigurationError';
}

/** A refusal as an error, for who has no use for it as a value. */
export function refusal(action: string, { status, body, retryAfterMs }: ApiResponse): ApiError {
  const reason = typeof body === 'string' ? body : textIn(asObject(body) ?? {}, 'message');
  return new ApiError(action, `${status}${reason ? `: ${reason}` : ''}`, { status, retryAfterMs });
}
