/** What Go prints for a time that was never set. */
export const GO_ZERO_TIME = '0001-01-01 00:00:00 +0000 UTC';

/**
 * A time as Go's `time.Time.String` prints one that was read from the clock: what kube-proxy answers at `/healthz`, and
 * what its readers parse. In UTC, as in a container.
 * @param startMs when the process began, for the reading of the monotonic clock behind `m=`; both ms since the epoch
 * @see src/time/format.go (Time) String
 */
export function goTime(atMs: number, startMs: number): string {
  const [date = '', clock = ''] = new Date(atMs).toISOString().split('T');
  // Go leaves out zeros at the end of a fraction, and the point with them.
  const time = clock.replace(/\.?0*Z$/, '');
  const sinceMs = Math.round(atMs - startMs);
  const sign = sinceMs < 0 ? '-' : '+';
  const seconds = (Math.abs(sinceMs) / 1000).toFixed(9);
  return `${date} ${time} +0000 UTC m=${sign}${seconds}`;
}
