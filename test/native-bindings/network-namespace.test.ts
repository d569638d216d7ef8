import { readlinkSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { inNetworkNamespace } from '../../native-bindings/network-namespace.ts';
import { probeCapability } from '../../native-bindings/probe.ts';
import { createNamespace, type NetworkNamespace } from '../kernel/probe.ts';

const own = () => readlinkSync('/proc/thread-self/ns/net');
const capability = probeCapability('CAP_SYS_ADMIN');
const options =
  capability.outcome === 'supported' ? {} : { skip: true, meta: { skipReason: capability.reason } };

describe('inNetworkNamespace()', options, () => {
  let namespace: NetworkNamespace | undefined;
  let path = '';
  const home = own();

  beforeAll(() => {
    namespace = createNamespace('setns');
    path = `/run/netns/${namespace.name}`;
  });

  afterAll(() => namespace?.[Symbol.dispose]());

  test('inNetworkNamespace() is there while it runs, and back after', () => {
    expect(inNetworkNamespace(path, own)).not.toBe(home);
    expect(own()).toBe(home);
  });

  test('inNetworkNamespace() comes back when it throws', () => {
    const body = () => {
      throw new RangeError(own());
    };
    expect(() => inNetworkNamespace(path, body)).toThrow(RangeError);
    expect(own()).toBe(home);
  });

  test('inNetworkNamespace() refuses what would go on later', () => {
    expect(() => inNetworkNamespace(path, async () => own())).toThrow('must be synchronous');
    expect(own()).toBe(home);
  });

  test('inNetworkNamespace() throws for what is no namespace, and stays', () => {
    expect(() => inNetworkNamespace('/proc/self/status', own)).toThrow(
      expect.objectContaining({ syscall: 'setns /proc/self/status', code: 'EINVAL' }),
    );
    expect(() => inNetworkNamespace('/no/such', own)).toThrow('ENOENT');
    expect(own()).toBe(home);
  });
});
