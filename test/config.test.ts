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

  it.each([
    ['', ''],
    ['127.0.0.1', '127.0.0.1:10256'],
    ['127.0.0.1:80', '127.0.0.1:80'],
    ['::', '[::]:10256'],
    ['[::1]:80', '[::1]:80'],
    ['[::1]', '[::1]:10256'],
  ])('listens at "%s" as %s', (given, address) => {
    expect(parseConfig({ healthzBindAddress: given }, 'test').healthzBindAddress).toBe(address);
  });

  it.each([
    ['', ''],
    ['https://192.0.2.1:6443', 'https://192.0.2.1:6443'],
    ['https://[2001:db8::1]:6443/', 'https://[2001:db8::1]:6443'],
  ])('finds the API server "%s" at %s', (given, url) => {
    expect(parseConfig({ apiServer: given }, 'test').apiServer).toBe(url);
  });

  const refused: { name: string; input: unknown; message: RegExp }[] = [
    {
      name: 'a share of more than all, with what is expected',
      input: { guard: { maxDeleteShare: 2 } },
      message: /^Cannot use f.yaml: guard.maxDeleteShare is 2, expected at most 1$/,
    },
    {
      name: 'a key with a wrong letter, with the one that may be meant',
      input: { gaurd: {} },
      message: /gaurd is not a known key: did you mean guard\?$/,
    },
    {
      name: 'a key outside its group, with the group',
      input: { maxVirtualServers: 1 },
      message: /maxVirtualServers is not a known key: did you mean metrics.maxVirtualServers\?$/,
    },
    {
      name: 'a port that is none',
      input: { healthzBindAddress: '0.0.0.0:70000' },
      message: /healthzBindAddress "0.0.0.0:70000" is not an address and port/,
    },
    {
      name: 'an API server with a path',
      input: { apiServer: 'https://h:6443/x' },
      message: /apiServer "https:\/\/h:6443\/x" is not the URL/,
    },
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
