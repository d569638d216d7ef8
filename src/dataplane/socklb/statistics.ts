/** What the programs count, in the order of their counters. @see native-bindings/bpf/socklb.h STAT_* */
export const SOCKET_EVENTS = [
  'hit',
  'miss',
  'refused',
  'stale',
  'affinity',
  'flow',
  'reverse',
  'no_memory',
] as const;

/** By name. @param counters as the programs have them, summed over all processors; none where there are no maps yet */
export function socketEvents(counters: readonly bigint[]): Readonly<Record<string, number>> {
  return Object.fromEntries(SOCKET_EVENTS.map((name, i) => [name, Number(counters[i] ?? 0n)]));
}
