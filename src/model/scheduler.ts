import type { Brand } from './brand.ts';

/** An IPVS scheduler that some kernel has; whether the running one has it, only the kernel can tell. */
export type Scheduler = Brand<string, 'Scheduler'>;

/** Every scheduler in Linux, net/netfilter/ipvs/ip_vs_*.c, 2.6.28 to 7.2. */
export const SCHEDULERS = [
  'rr',
  'wrr',
  'lc',
  'wlc',
  'fo',
  'ovf',
  'lblc',
  'lblcr',
  'dh',
  'sh',
  'mh',
  'sed',
  'nq',
  'twos',
] as const;

/** The same client gets the same real server, as long as there are the same ones. */
export const SOURCE_HASH = 'sh' as Scheduler;

/** @returns undefined if no Linux has a scheduler of that name */
export function parseScheduler(name: unknown): Scheduler | undefined {
  return SCHEDULERS.some((scheduler) => scheduler === name) ? (name as Scheduler) : undefined;
}

/** Names a scheduler read back from a kernel, which may be newer than our list. */
export function schedulerFromKernel(name: string): Scheduler {
  return name as Scheduler;
}
