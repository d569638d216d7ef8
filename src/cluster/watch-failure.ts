import { ApiConfigurationError, ApiError, NOT_JSON } from './api-connection.ts';
import { objectIn, type RawObject, textIn } from './object-fields.ts';

const GONE = 410;
const NOT_FOUND = 404;

/** The version that was asked for is too old: everything has to be listed. */
export class Gone extends Error {
  override readonly name = 'Gone';
}

/** A watch told of a failure, or of something that it can't tell. */
export class WatchFailure extends Error {
  override readonly name = 'WatchFailure';
  readonly retryAfterMs: number | null;

  constructor(message: string, retryAfterMs: number | null = null) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Whether everything has to be listed because what was asked for is no more. */
export function isGone(error: unknown): boolean {
  return error instanceof Gone || (error instanceof ApiError && error.status === GONE);
}

/** Whether it has to be listed. Not where only the connection broke, or where the server has too much to do just now. */
export function hasToList(error: unknown): boolean {
  if (error instanceof WatchFailure) return error.retryAfterMs === null;
  // Nothing was asked yet.
  if (error instanceof ApiConfigurationError) return false;
  return (
    isGone(error) || !(error instanceof ApiError) || error.status === NOT_FOUND || error.code === NOT_JSON
  );
}

/** The version of an object or a list. @throws WatchFailure where there is none */
export function versionOf(object: RawObject): string {
  const version = textIn(objectIn(object, 'metadata'), 'resourceVersion');
  if (version === undefined || !/^\d+$/.test(version))
    throw new WatchFailure('the API server tells of something without a resourceVersion');
  return version;
}

/** The failure that a watch ends with. @param status a Status of the API, as watches end with */
export function failureOf(status: RawObject): Error {
  const reason = textIn(status, 'message') ?? textIn(status, 'reason') ?? 'without a reason';
  if (status.code === GONE) return new Gone(reason);
  const seconds = objectIn(status, 'details').retryAfterSeconds;
  return new WatchFailure(reason, typeof seconds === 'number' ? seconds * 1000 : null);
}

/** Anything that was thrown, as an Error. */
export function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
