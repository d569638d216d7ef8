import { Agent, request as httpsRequest } from 'node:https';

/** Enough to keep an API server on two processors busy. */
const CONNECTIONS = 16;
/** Server-side apply: in whose name, and with every field taken over that another one has set. */
const APPLY_QUERY = 'fieldManager=svcplane-test&force=true';
const DRY_RUN_QUERY = `${APPLY_QUERY}&dryRun=All&fieldValidation=Strict`;

/** What a server refuses to be given in metadata, or another server's means nothing to. */
const SET_BY_SERVER: readonly string[] = [
  'uid',
  'resourceVersion',
  'managedFields',
  'creationTimestamp',
  'generation',
];

/** What every object has that can be written. */
export interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly status?: unknown;
}

/** An answer other than 2xx. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;

  constructor(method: string, path: string, status: number, answer: string) {
    super(`Cannot ${method} ${path}: ${status}: ${answer}`);
    this.status = status;
  }
}

/** A connection to an API server, as one user. */
export interface ApiClient extends Disposable {
  /**
   * @param path from the first slash
   * @param contentType of `body`, which is sent as JSON
   * @returns what the JSON of the answer means, or its text if it is none
   * @throws ApiError
   */
  request(method: string, path: string, body?: unknown, contentType?: string): Promise<unknown>;
  /**
   * Makes the objects or changes them to what is given, `status` included, and first the namespaces they are in.
   * They may have been read from another server: what only a server can set is left out.
   */
  apply(objects: readonly unknown[]): Promise<void>;
  /**
   * What `apply` would do, by everything that the server checks; unknown fields are refused too. Changes nothing.
   * @returns the objects as they would be
   */
  dryRun(objects: readonly unknown[]): Promise<readonly unknown[]>;
  /** Changes the status of an object to the one given, and nothing else. */
  patchStatus(object: unknown): Promise<void>;
  /** Deletes the objects; one that is not there is none the less gone. */
  delete(objects: readonly unknown[]): Promise<void>;
}

/** A kind of object, as the server describes it. */
interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/**
 * @param server as `https://192.0.2.10:6443`
 * @param ca PEM of the certificate, or of those that signed it
 */
export function connectToApi(server: string, ca: string, token: string): ApiClient {
  const agent = new Agent({ ca, keepAlive: true, maxSockets: CONNECTIONS });
  const request = requestOver(server, agent, token);
  const locate = locatorOver(request);
  const namespaces = new Set<string>();

  const patchStatus: ApiClient['patchStatus'] = async (object) => {
    const parsed = parseObject(object);
    const { path } = await locate(parsed);
    await request('PATCH', `${path}/status`, { status: parsed.status }, 'application/merge-patch+json');
  };

  async function applyOne(object: ApiObject): Promise<void> {
    const { path, hasStatus } = await locate(object);
    const { status, metadata, ...rest } = object;
    const given = Object.entries(metadata).filter(([key]) => !SET_BY_SERVER.includes(key));
    const body = { ...rest, metadata: Object.fromEntries(given) };
    // JSON is YAML too.
    await request('PATCH', `${path}?${APPLY_QUERY}`, body, 'application/apply-patch+yaml');
    if (hasStatus && status !== undefined) await patchStatus(object);
  }

  async function applyNamespacesOf(objects: readonly ApiObject[]): Promise<void> {
    const places = await Promise.all(objects.map(locate));
    const missing = new Set(places.flatMap(({ namespace }) => namespace ?? [])).difference(namespaces);
    const make = async (name: string): Promise<void> => {
      const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } };
      await request('POST', '/api/v1/namespaces', body).catch((error) => ignoreStatus(409, error));
      namespaces.add(name);
    };
    await Promise.all([...missing].map(make));
  }

  return {
    request,
    apply: async (objects) => {
      const parsed = objects.map(parseObject);
      await applyNamespacesOf(parsed);
      await Promise.all(parsed.map(applyOne));
    },
    dryRun: async (objects) =>
      Promise.all(
        objects.map(parseObject).map(async (object) => {
          const { path } = await locate(object);
          return request('PATCH', `${path}?${DRY_RUN_QUERY}`, object, 'application/apply-patch+yaml');
        }),
      ),
    patchStatus,
    delete: async (objects) => {
      const places = await Promise.all(objects.map((object) => locate(parseObject(object))));
      await Promise.all(
        places.map(({ path }) => request('DELETE', path).catch((error) => ignoreStatus(404, error))),
      );
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function requestOver(server: string, agent: Agent, token: string): ApiClient['request'] {
  return (method, path, body, contentType = 'application/json') => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'content-type': contentType }),
    };
    return new Promise((resolve, reject) => {
      const sent = httpsRequest(`${server}${path}`, { method, agent, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        answer.once('error', reject);
        answer.once('end', () => {
          const { statusCode = 0 } = answer;
          if (statusCode < 200 || statusCode > 299) reject(new ApiError(method, path, statusCode, text));
          else resolve(answer.headers['content-type'] === 'application/json' ? JSON.parse(text) : text);
        });
      });
      sent.once('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  };
}

/** Finds where an object is, by asking the server once for the kinds of each API version. */
function locatorOver(request: ApiClient['request']) {
  const resources = new Map<string, Promise<readonly Resource[]>>();
  return async ({ apiVersion, kind, metadata }: ApiObject) => {
    const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const known = resources.get(root) ?? request('GET', root).then(resourcesOf);
    resources.set(root, known);
    const named = (await known).filter((each) => each.kind === kind);
    const resource = named.find(({ name }) => !name.includes('/'));
    if (!resource) throw new TypeError(`no kind ${kind} in ${apiVersion}`);
    const namespace = resource.namespaced ? (metadata.namespace ?? 'default') : undefined;
    const within = namespace === undefined ? '' : `/namespaces/${namespace}`;
    return {
      namespace,
      path: `${root}${within}/${resource.name}/${metadata.name}`,
      hasStatus: named.some(({ name }) => name === `${resource.name}/status`),
    };
  };
}

function ignoreStatus(status: number, error: unknown): void {
  if (!(error instanceof ApiError && error.status === status)) throw error;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function resourcesOf(list: unknown): readonly Resource[] {
  const found: readonly unknown[] = isRecord(list) && Array.isArray(list.resources) ? list.resources : [];
  return found.filter(
    (each): each is Resource & Readonly<Record<string, unknown>> =>
      isRecord(each) &&
      typeof each.name === 'string' &&
      typeof each.kind === 'string' &&
      typeof each.namespaced === 'boolean',
  );
}

/** @throws TypeError if it is not an object of the API with a name */
function parseObject(value: unknown): ApiObject {
  if (isRecord(value)) {
    const { apiVersion, kind, metadata } = value;
    if (typeof apiVersion === 'string' && typeof kind === 'string' && isRecord(metadata)) {
      const { name, namespace } = metadata;
      if (typeof name === 'string' && (namespace === undefined || typeof namespace === 'string')) {
        const place = namespace === undefined ? { name } : { name, namespace };
        return { ...value, apiVersion, kind, metadata: { ...metadata, ...place } };
      }
    }
  }
  throw new TypeError(`not an object of the API: ${JSON.stringify(value)}`);
}
