import { setTimeout as sleep } from 'node:timers/promises';
import { type ApiClient, ApiError, type ApiObject } from './api-client.ts';
import {
  CONTENT_NAMESPACE,
  type EndpointObject,
  type ServiceContent,
  type SliceObject,
} from './cluster-content.ts';

/** What is needed of a connection to write: an `ApiServer` has it too. */
export type ApiRequests = Pick<ApiClient, 'request'>;

/** As many requests at once as an `ApiClient` has connections; more would only wait in its queue. */
const CONNECTIONS = 16;

const COLLECTIONS: Readonly<Record<string, string>> = {
  Service: `/api/v1/namespaces/${CONTENT_NAMESPACE}/services`,
  EndpointSlice: `/apis/discovery.k8s.io/v1/namespaces/${CONTENT_NAMESPACE}/endpointslices`,
};

/** Runs `work` for each item, 16 at once, in order of their beginning. */
export async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, worker));
}

/**
 * Creates the Services and their slices, slices first, as a rolling start of a whole cluster might not, so that no
 * virtual server is first programmed without endpoints.
 * @throws ApiError 409 if one exists
 */
export async function createContent(api: ApiRequests, content: readonly ServiceContent[]): Promise<void> {
  await api
    .request('POST', '/api/v1/namespaces', {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: CONTENT_NAMESPACE },
    })
    .catch((error: unknown) => {
      // It is there from an earlier content.
      if (!(error instanceof ApiError && error.status === 409)) throw error;
    });
  const create = (object: ApiObject) => api.request('POST', collectionOf(object), object);
  await inParallel(
    content.flatMap(({ slices }) => slices),
    create,
  );
  await inParallel(
    content.map(({ service }) => service),
    create,
  );
}

/** Deletes the Services and their slices. @throws ApiError 404 if one is not there */
export async function deleteContent(api: ApiRequests, content: readonly ServiceContent[]): Promise<void> {
  const objects = content.flatMap(({ service, slices }) => [service, ...slices]);
  await inParallel(objects, (object) =>
    api.request('DELETE', `${collectionOf(object)}/${object.metadata.name}`),
  );
}

/**
 * Gives a slice these endpoints and no others, with the time as its last change, as Kubernetes' controller does.
 * Resolves when the API server has acknowledged the write.
 */
export async function writeEndpoints(
  api: ApiRequests,
  slice: SliceObject,
  endpoints: readonly EndpointObject[],
): Promise<void> {
  const annotations = {
    'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString(),
  };
  await api.request(
    'PATCH',
    `${collectionOf(slice)}/${slice.metadata.name}`,
    { metadata: { annotations }, endpoints },
    'application/merge-patch+json',
  );
}

/** One write of a rolling update: the endpoints that the slice has after it. */
export type RollingStep = readonly EndpointObject[];

/**
 * The writes by which a Deployment's pods are replaced: in each step `surge` new ones become ready while as many old
 * ones terminate, and the next step takes those away. The last one leaves the new ones alone.
 * @param fresh as many as `old`
 */
export function rollingUpdate(
  old: readonly EndpointObject[],
  fresh: readonly EndpointObject[],
  surge: number,
): readonly RollingStep[] {
  const terminating = (endpoint: EndpointObject): EndpointObject => ({
    ...endpoint,
    conditions: { ready: false, serving: true, terminating: true },
  });
  const steps = Array.from({ length: Math.ceil(old.length / surge) }, (_, i) => [
    ...fresh.slice(0, (i + 1) * surge),
    ...old.slice(i * surge, (i + 1) * surge).map(terminating),
    ...old.slice((i + 1) * surge),
  ]);
  return [...steps, fresh];
}

export interface PollOptions {
  /** The pause between two looks; longer if a look takes more than a tenth of it. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/**
 * Looks until it is so, taking at most a tenth of a processor for it, but never pausing more than a second.
 * @returns when it was seen, as `performance.now()`; undefined if `timeoutMs` passed before
 */
export async function pollUntil(
  isSo: () => boolean | Promise<boolean>,
  { intervalMs, timeoutMs }: PollOptions,
): Promise<number | undefined> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const startMs = performance.now();
    if (await isSo()) return performance.now();
    const nowMs = performance.now();
    if (nowMs > deadline) return undefined;
    await sleep(Math.min(1000, Math.max(intervalMs, 9 * (nowMs - startMs))));
  }
}

function collectionOf({ kind }: ApiObject): string {
  const collection = COLLECTIONS[kind];
  if (collection === undefined) throw new TypeError(`no collection of ${kind}`);
  return collection;
}
