import type { IncomingMessage, ServerResponse } from 'node:http';
import { HttpListener, type ListenOptions, type ListenPlace } from './listener-http.ts';

/** What is answered. */
export interface HttpAnswer {
  readonly status: number;
  /** As the header Content-Type. */
  readonly type: string;
  readonly body: string;
}

/** Answers one request. A throw is answered with 500 and its message. @param signal aborted when the asker has gone */
export type Route = (query: URLSearchParams, signal: AbortSignal) => HttpAnswer | Promise<HttpAnswer>;

/** By method and path: `GET /healthz`. What answers GET answers HEAD, too. */
export type Routes = Readonly<Record<string, Route>>;

export const JSON_TYPE = 'application/json';
export const TEXT_TYPE = 'text/plain; charset=utf-8';

/** A few paths at one place, which can be moved while it runs. */
export class StatusServer implements AsyncDisposable {
  readonly #name: string;
  readonly #routes: Routes;
  readonly #options: ListenOptions;
  #place: ListenPlace | null = null;
  #listener: HttpListener | undefined;

  /** @param name for reports: `metrics` */
  constructor(name: string, routes: Routes, options: ListenOptions) {
    this.#name = name;
    this.#routes = routes;
    this.#options = options;
  }

  /**
   * Listens there from now on, and nowhere else; a place that can't be had is tried again and again.
   * @param place null for nowhere
   */
  async rebind(place: ListenPlace | null): Promise<void> {
    if (this.#listener && JSON.stringify(place) === JSON.stringify(this.#place)) return;
    const before = this.#listener;
    this.#place = place;
    this.#listener = undefined;
    // First: the new place may be another address of the same port.
    await before?.[Symbol.asyncDispose]();
    if (place === null || place !== this.#place) return;
    const subject = {
      describe: () => `${this.#name} at ${placeText(place)}`,
      respond: (request: IncomingMessage, response: ServerResponse) => void this.#respond(request, response),
    };
    this.#listener = new HttpListener(place, subject, this.#options);
    this.#listener.listen();
  }

  /** Why nobody is answered now, in one line; undefined while somebody is, or nobody is to be. */
  failure(): string | undefined {
    return this.#listener?.failure();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rebind(null);
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    // Nobody sends us a body that we want.
    request.resume();
    const { status, headers, body } = await answerTo(this.#routes, request, gone.signal);
    if (response.destroyed) return;
    response.writeHead(status, {
      ...headers,
      'X-Content-Type-Options': 'nosniff',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  }
}

async function answerTo(routes: Routes, request: IncomingMessage, signal: AbortSignal) {
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? '');
  const [path = '', query = ''] = (request.url ?? '').split('?', 2);
  const route = Object.hasOwn(routes, `${method} ${path}`) ? routes[`${method} ${path}`] : undefined;
  if (!route) {
    const allowed = Object.keys(routes).flatMap((each) => {
      const [verb = '', at] = each.split(' ');
      return at === path ? [verb, ...(verb === 'GET' ? ['HEAD'] : [])] : [];
    });
    const text = { 'Content-Type': TEXT_TYPE };
    if (allowed.length === 0) return { status: 404, headers: text, body: 'not found\n' };
    return { status: 405, headers: { ...text, Allow: allowed.join(', ') }, body: 'method not allowed\n' };
  }
  try {
    const { status, type, body } = await route(new URLSearchParams(query), signal);
    return { status, headers: { 'Content-Type': type }, body };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { status: 500, headers: { 'Content-Type': TEXT_TYPE }, body: `${message}\n` };
  }
}

function placeText(place: ListenPlace): string {
  if ('path' in place) return place.path;
  const { host, port } = place;
  return host?.includes(':') ? `[${host}]:${port}` : `${host ?? ''}:${port}`;
}
