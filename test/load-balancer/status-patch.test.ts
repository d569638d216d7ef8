import { describe, expect, it } from 'vitest';
import { ADDRESS_CONDITION, decodeLoadBalancer } from '../../src/load-balancer/decode-service.ts';
import type { Decision } from '../../src/load-balancer/draft.ts';
import { hasToBeWritten, statusPatch } from '../../src/load-balancer/status-patch.ts';
import { ip, serviceObject } from './build.ts';

const ASSIGN: Decision = {
  key: 'web/front',
  verdict: 'assign',
  addresses: [ip('10.10.0.1')],
  reason: '10.10.0.1 of pool main',
};
const OTHERS = { type: 'example.com/Other', status: 'True' };
const OURS = {
  type: ADDRESS_CONDITION,
  status: 'True',
  reason: 'AddressAssigned',
  message: '10.10.0.1 of pool main',
  lastTransitionTime: '2026-01-01T00:00:00Z',
};

function isDue(decision: Decision, ...args: Parameters<typeof serviceObject>): boolean {
  const facts = decodeLoadBalancer(serviceObject(...args));
  if (!facts) throw new TypeError('has no name');
  return hasToBeWritten(facts, decision);
}

describe('statusPatch()', () => {
  it('writes address and condition, only to the version that was read, and keeps the conditions of others', () => {
    const object = serviceObject({ name: 'front', conditions: [OTHERS] });
    expect(statusPatch(object, ASSIGN, Date.UTC(2026, 10, 28))).toEqual({
      metadata: { uid: 'uid-front', resourceVersion: '1' },
      status: {
        loadBalancer: { ingress: [{ ip: '10.10.0.1', ipMode: 'VIP' }] },
        conditions: [OTHERS, { ...OURS, lastTransitionTime: '2026-11-28T00:00:00Z' }],
      },
    });
  });

  it('keeps since when a condition has been so, and takes away what is freed', () => {
    const object = serviceObject({ name: 'front', conditions: [OURS] });
    expect(statusPatch(object, ASSIGN, 0)).toMatchObject({ status: { conditions: [OURS] } });
    const freed = statusPatch(object, { ...ASSIGN, verdict: 'free', addresses: [] }, 0);
    expect(freed).toMatchObject({ status: { loadBalancer: { ingress: null }, conditions: [] } });
  });
});

describe('hasToBeWritten()', () => {
  const done = { name: 'front', ingress: ['10.10.0.1'], conditions: [OURS] };

  it('is false once it is written, whether it was given now or kept', () => {
    expect(isDue(ASSIGN, done)).toBe(false);
    expect(isDue({ ...ASSIGN, verdict: 'keep' }, done)).toBe(false);
  });

  it.each([
    ['another address', { ...done, ingress: ['10.10.0.2'] }],
    ['one more', { ...done, ingress: ['10.10.0.1', '10.10.0.2'] }],
    ['ipMode Proxy', { ...done, ingress: [{ ip: '10.10.0.1', ipMode: 'Proxy' }] }],
    ['no condition', { ...done, conditions: [] }],
    ['another message', { ...done, conditions: [{ ...OURS, message: '10.10.0.1 of pool old' }] }],
  ])('is true with %s', (_, shape) => {
    expect(isDue(ASSIGN, shape)).toBe(true);
  });

  it('is false for what is not ours, whatever it says', () => {
    expect(
      isDue({ ...ASSIGN, verdict: 'notOurs', addresses: [] }, { name: 'front', ingress: ['192.0.2.1'] }),
    ).toBe(false);
  });
});
