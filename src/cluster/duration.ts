const UNIT_SECONDS = { h: 3600, m: 60, s: 1, ms: 0.001 } as const;

const NUMBER = String.raw`\d+(?:\.\d+)?`;
const SECONDS = new RegExp(`^${NUMBER}$`);
const PARTS = new RegExp(`^(?:${NUMBER}(?:ms|[hms]))+$`);
const PART = new RegExp(`(${NUMBER})(ms|[hms])`, 'g');

/**
 * Reads a number of seconds (`90`), or a duration as Go writes it (`90s`, `1h30m`, `1.5m`).
 * @returns seconds, to the millisecond; undefined if it is neither
 */
export function parseDurationSeconds(text: string): number | undefined {
  if (SECONDS.test(text)) return toMilliseconds(Number(text));
  if (!PARTS.test(text)) return undefined;
  let seconds = 0;
  for (const [, number, unit] of text.matchAll(PART)) seconds += Number(number) * secondsOf(unit);
  return toMilliseconds(seconds);
}

function secondsOf(unit: string | undefined): number {
  return unit === 'h' || unit === 'm' || unit === 'ms' ? UNIT_SECONDS[unit] : UNIT_SECONDS.s;
}

function toMilliseconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
