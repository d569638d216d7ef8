/**
 * The name of the errno that the kernel has refused something with, be it as the cause of an error; undefined for any
 * other error, such as a mistake of ours, or an abort.
 */
export function errnoOf(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    // Node's own codes have underscores: ERR_INVALID_ARG_TYPE, ABORT_ERR.
    if ('code' in cause && typeof cause.code === 'string' && /^E[A-Z0-9]+$/.test(cause.code)) {
      return cause.code;
    }
  }
  return undefined;
}
