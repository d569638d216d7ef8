import { asObject, listIn, objectIn, type RawObject, textIn } from '../cluster/object-fields.ts';
import { ADDRESS_CONDITION } from './decode-service.ts';
import type { Decision, Verdict } from './draft.ts';
import type { AddressCondition, LoadBalancerFacts } from './facts.ts';

/** As reasons of conditions and, after `Svcplane`, of Events. */
export const REASONS = {
  assign: 'AddressAssigned',
  keep: 'AddressAssigned',
  free: 'AddressFreed',
  conflict: 'AddressConflict',
  exhausted: 'AddressPoolExhausted',
  outside: 'AddressOutsidePools',
  invalid: 'AddressRequestInvalid',
  shrunk: 'AddressPoolShrunk',
  notOurs: 'NotOurs',
} as const satisfies Readonly<Record<Verdict, string>>;

/** The longest message that the API server takes. @see maxMessageLen of metav1.Condition */
const MAX_MESSAGE = 32_768;

/** What our condition is to say; null where there is to be none. */
export function conditionOf({ verdict, addresses, reason }: Decision): AddressCondition | null {
  if (verdict === 'free' || verdict === 'notOurs') return null;
  const isAsAsked = verdict === 'assign' || verdict === 'keep' || verdict === 'shrunk';
  return {
    status: isAsAsked && addresses.length > 0 ? 'True' : 'False',
    reason: REASONS[verdict],
    message: reason.slice(0, MAX_MESSAGE),
  };
}

/** Whether the status of a Service says other than what was decided. */
export function hasToBeWritten(service: LoadBalancerFacts, decision: Decision): boolean {
  if (decision.verdict === 'notOurs') return false;
  const wanted = conditionOf(decision);
  const { condition, ingress } = service;
  const isSaid =
    condition?.status === wanted?.status &&
    condition?.reason === wanted?.reason &&
    condition?.message === wanted?.message;
  const isRecorded =
    ingress.length === decision.addresses.length &&
    ingress.every(({ address, ipMode }, i) => address === decision.addresses[i] && ipMode === 'VIP');
  return !isSaid || !isRecorded;
}

/**
 * The merge patch of a Service's status, which fails if the Service is not the one that was read.
 * @param object as it was read: with its resourceVersion, and the conditions of others
 */
export function statusPatch(object: RawObject, decision: Decision, nowMs: number): object {
  const metadata = objectIn(object, 'metadata');
  const wanted = conditionOf(decision);
  const conditions = listIn(objectIn(object, 'status'), 'conditions').map((each) => asObject(each) ?? {});
  const before = conditions.find(({ type }) => type === ADDRESS_CONDITION);
  const kept = wanted && before?.status === wanted.status ? textIn(before, 'lastTransitionTime') : undefined;
  const lastTransitionTime = kept ?? `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
  const ours = wanted ? [{ type: ADDRESS_CONDITION, ...wanted, lastTransitionTime }] : [];
  const ingress = decision.addresses.map((ip) => ({ ip, ipMode: 'VIP' }));
  return {
    metadata: { uid: metadata.uid, resourceVersion: metadata.resourceVersion },
    status: {
      loadBalancer: { ingress: ingress.length > 0 ? ingress : null },
      conditions: [...conditions.filter(({ type }) => type !== ADDRESS_CONDITION), ...ours],
    },
  };
}
