import { objectIn, type RawObject, textIn } from '../cluster/object-fields.ts';

/** How one of several controllers comes to lead, and stops in time. */
export interface LeaseTimes {
  /** Others take over once the holder has not renewed for so long; written into the Lease, in whole seconds. */
  readonly durationMs: number;
  /** The holder stops by itself so long after it began its last renewal: well before others may begin. */
  readonly deadlineMs: number;
  /** Between two renewals, and between two looks of those that wait. */
  readonly retryMs: number;
}

/** As of the controllers of Kubernetes itself. @see client-go tools/leaderelection */
export const LEASE_TIMES: LeaseTimes = { durationMs: 15_000, deadlineMs: 10_000, retryMs: 2000 };

/** What a Lease says. */
export interface LeaseState {
  readonly resourceVersion: string;
  /** "" if it was given back. */
  readonly holder: string;
  readonly durationMs: number;
  readonly transitions: number;
  readonly acquireTime: string;
}

/** A Lease, and since when nobody has changed it, by the clock of this process: other machines have other clocks. */
export interface ObservedLease {
  readonly state: LeaseState;
  readonly sinceMs: number;
}

/** Reads a coordination.k8s.io/v1 Lease. */
export function decodeLease(object: RawObject): LeaseState {
  const spec = objectIn(object, 'spec');
  const number = (value: unknown, fallback: number) => (typeof value === 'number' ? value : fallback);
  return {
    resourceVersion: textIn(objectIn(object, 'metadata'), 'resourceVersion') ?? '',
    holder: textIn(spec, 'holderIdentity') ?? '',
    durationMs: number(spec.leaseDurationSeconds, LEASE_TIMES.durationMs / 1000) * 1000,
    transitions: number(spec.leaseTransitions, 0),
    acquireTime: textIn(spec, 'acquireTime') ?? '',
  };
}

/** What is known of a Lease after it has been read again. */
export function observed(before: ObservedLease | null, state: LeaseState, nowMs: number): ObservedLease {
  const isSame = before?.state.resourceVersion === state.resourceVersion;
  return { state, sinceMs: isSame ? before.sinceMs : nowMs };
}

/** Whether it is `identity`'s for the taking: its own, given back, or not renewed for its whole duration. */
export function mayTake({ state, sinceMs }: ObservedLease, identity: string, nowMs: number): boolean {
  return state.holder === identity || state.holder === '' || nowMs - sinceMs >= state.durationMs;
}

export interface LeaseName {
  readonly namespace: string;
  readonly name: string;
}

/**
 * The Lease as its holder writes it.
 * @param before what is replaced, and only that; null if there is none
 */
export function heldLease(
  { namespace, name }: LeaseName,
  identity: string,
  before: LeaseState | null,
  durationMs: number,
  nowMs: number,
): object {
  const now = new Date(nowMs).toISOString().replace('Z', '000Z');
  const isOurs = before?.holder === identity;
  return {
    ...head(namespace, name, before),
    spec: {
      holderIdentity: identity,
      leaseDurationSeconds: Math.max(1, Math.ceil(durationMs / 1000)),
      acquireTime: isOurs && before.acquireTime !== '' ? before.acquireTime : now,
      renewTime: now,
      leaseTransitions: before === null || isOurs ? (before?.transitions ?? 0) : before.transitions + 1,
    },
  };
}

/** The Lease as who leaves in good order writes it, so that nobody has to wait. */
export function releasedLease({ namespace, name }: LeaseName, before: LeaseState): object {
  return {
    ...head(namespace, name, before),
    spec: { holderIdentity: '', leaseDurationSeconds: 1, leaseTransitions: before.transitions },
  };
}

function head(namespace: string, name: string, before: LeaseState | null) {
  const version = before === null ? {} : { resourceVersion: before.resourceVersion };
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { namespace, name, ...version },
  };
}
