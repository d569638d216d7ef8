/** What scale-daemon.ts tells scale.ts, and the other way round. */

/** Every second. Times are of the machine's monotonic clock, in milliseconds. */
export interface Progress {
  readonly virtualServers: number;
  readonly realServers: number;
  /** Numbers of changes, and when the kernel had them. */
  readonly seen: readonly (readonly [number: number, atMs: number])[];
}

/** The last, when it was told to end. */
export interface Ended {
  /** Of the JavaScript heap, of the kernels in memory alone. */
  readonly kernelBytes: number;
  readonly heapBytes: number;
  /** Requests that the IPVS table has executed. */
  readonly writes: number;
}

/** The address of the endpoint by which a change is known again: 100.96.0.0 and its number. */
const MARKED = 0x6460_0000;
const MARKED_END = 0x6470_0000;

export function markedAddress(change: number): string {
  const value = MARKED + change;
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

/** @returns the number of the change; undefined if the address is no marked one */
export function changeOf(address: string): number | undefined {
  if (!address.startsWith('100.')) return undefined;
  const value = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return value >= MARKED && value < MARKED_END ? value - MARKED : undefined;
}

/** The same clock in all processes of a machine. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
