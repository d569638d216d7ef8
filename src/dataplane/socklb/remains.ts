import type { IpAddress } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { formatEndpoint } from '../../model/virtual-server.ts';
import type { FrontendKey } from './layout.ts';

/** An element, or the slots of a generation, that nothing leads to any more. */
export type LeftElement =
  | {
      readonly kind: 'backend';
      readonly id: number;
      readonly serviceId: number;
      /** null where the element is damaged. */
      readonly endpoint: FrontendKey | null;
      /** Whether it takes no new connections, as one of weight 0. */
      readonly isTerminating: boolean;
    }
  | {
      readonly kind: 'slots';
      readonly serviceId: number;
      readonly generation: number;
      readonly slots: readonly number[];
    }
  | { readonly kind: 'table'; readonly serviceId: number }
  /** One of lb_svc that no Service can have. @property key its bytes in hexadecimal */
  | { readonly kind: 'entry'; readonly key: string };

export interface RemainTime {
  /** Since when, at the latest, in ms of a clock that nobody sets; null while a frontend that is to be replaced still leads to it. */
  readonly sinceMs: number | null;
}

export type Remain = LeftElement & RemainTime;

/**
 * How long something stays after nothing leads to it any more: a program that has read a frontend just before it
 * changed is done by then. Without this time, 25 of 660,000 connects failed under constant change.
 */
export const GRACE_MS = 50;

/** Identity of what remains: `backend 17`, `slots 3/2`, `table 3`, `entry 00ff…`. */
export function remainKey(left: LeftElement): string {
  switch (left.kind) {
    case 'backend':
      return `backend ${left.id}`;
    case 'slots':
      return `slots ${left.serviceId}/${left.generation}`;
    case 'table':
      return `table ${left.serviceId}`;
    case 'entry':
      return `entry ${left.key}`;
    default:
      return unreachable(left);
  }
}

/** Whether it may go by now. */
export function isDue({ sinceMs }: RemainTime, nowMs: number): boolean {
  return sinceMs !== null && nowMs - sinceMs >= GRACE_MS;
}

/** What could not go is tried again after as long a time as it has been due, but for these bounds. */
const MIN_REST_MS = 1000;
const MAX_REST_MS = 30_000;

/**
 * When another sync may take away what remains, in milliseconds from now; null if none will.
 * @param lookedAtMs when what remains was last looked at: what was due by then could not go
 */
export function waitMs(remains: Iterable<Remain>, nowMs: number, lookedAtMs: number): number | null {
  let wait: number | null = null;
  for (const remain of remains) {
    const each = waitOf(remain, nowMs, lookedAtMs);
    if (each !== null) wait = Math.min(wait ?? each, each);
  }
  return wait;
}

function waitOf(remain: Remain, nowMs: number, lookedAtMs: number): number | null {
  if (remain.sinceMs === null) return null;
  const dueAtMs = remain.sinceMs + GRACE_MS;
  if (!isDue(remain, lookedAtMs)) return Math.max(0, dueAtMs - nowMs);
  // It is kept while it terminates, and goes with the change that ends that.
  if (remain.kind === 'backend' && remain.isTerminating) return null;
  return Math.min(MAX_REST_MS, Math.max(MIN_REST_MS, nowMs - dueAtMs));
}

/** Key of a backend by whose and which it is: an endpoint that comes back gets its backend back. */
export function ownedEndpoint(
  serviceId: number,
  { address, port }: { readonly address: IpAddress; readonly port: number },
): string {
  return `${serviceId} ${formatEndpoint(address, port)}`;
}

/** Backends that remain, by {@link ownedEndpoint}. */
export function remainingBackends(
  remains: ReadonlyMap<string, Remain>,
): ReadonlyMap<string, Remain & { readonly kind: 'backend' }> {
  const found = new Map<string, Remain & { readonly kind: 'backend' }>();
  for (const remain of remains.values()) {
    if (remain.kind !== 'backend' || remain.endpoint === null) continue;
    const key = ownedEndpoint(remain.serviceId, remain.endpoint);
    const other = found.get(key);
    // One endpoint may remain twice after a crash: always the same one of both comes back.
    if (!other || remain.id < other.id) found.set(key, remain);
  }
  return found;
}
