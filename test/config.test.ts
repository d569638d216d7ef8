import { describe, expect, it } from 'vitest';
import { ConfigError, parseConfig } from '../src/config.ts';

describe('parseConfig()', () => {
  it('fills in the documented defaults', () => {
    expect(parseConfig({}, 'test')).toMatchObject({
      interface: 'svcplane0',
      stateDirectory: '/var/lib/svcplane',
      scheduler: 'rr',
      clusterIPs: 'bind',
      detectLocal: 'clusterCIDR',
      externalIPs: { policy: 'allowAll', ranges: [] },
      strictARP: 'auto',
      socketLoadBalancer: { mode: 'auto', cgroup: '' },
      drainTimeoutSeconds: 60,
      audit: { intervalSeconds: 30, repair: true },
      guard: { maxDeleteShare: 0.5, minDeletes: 10, holdSeconds: 300 },
      healthzBindAddress: '0.0.0.0:10256',
      metricsBindAddress: '127.0.0.1:10249',
      log: { level: 'info' },
    });
  });

  it("takes kube-proxy's list form of primary NodePort addresses", () => {
    expect(parseConfig({ nodePortAddresses: ['primary'] }, 'test').nodePortAddresses).toBe('primary');
  });

  const refused: { name: string; input: unknown; message: RegExp }[] = [
    { name: 'an unknown key', input: { foo: 1 }, message: /^Cannot use f.yaml: foo is not a known key$/ },
    {
      name: 'every bad key at once',
      input: { scheduler: 'x', interface: 'a b' },
      message: /scheduler.*interface|interface.*scheduler/,
    },
    {
      name: 'an interface of another proxy',
      input: { interface: 'kube-ipvs0' },
      message: /another service proxy/,
    },
    {
      name: 'a name longer than the kernel takes',
      input: { interface: 'sixteencharacter' },
      message: /1 to 15 characters/,
    },
    {
      name: 'a nested value',
      input: { externalIPs: { policy: 'maybe' } },
      message: /externalIPs.policy is "maybe"/,
    },
    {
      name: 'a list item, by its place',
      input: { serviceCIDRs: ['10.0.0.0/8', 'x'] },
      message: /serviceCIDRs.1 "x" is not a CIDR/,
    },
    {
      name: 'a negative time',
      input: { drainTimeoutSeconds: -1 },
      message: /drainTimeoutSeconds must not be negative/,
    },
    { name: 'what is no mapping', input: 'text', message: /the document is "text", expected Object/ },
    {
      name: 'another kind',
      input: { kind: 'KubeProxyConfiguration' },
      message: /kind is "KubeProxyConfiguration"/,
    },
  ];
  for (const { name, input, message } of refused) {
    it(`refuses ${name}`, () => {
      expect(() => parseConfig(input, 'f.yaml')).toThrow(ConfigError);
      expect(() => parseConfig(input, 'f.yaml')).toThrow(message);
    });
  }
});
