import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfigText } from '../../src/cli/config-document.ts';
import { type GivenOptions, type ResolvedConfig, resolveConfig } from '../../src/cli/settings.ts';
import { parseConfig } from '../../src/config.ts';
import { FIELDS, type FieldType } from '../../src/kube-proxy/fields.ts';
import { formatCidr } from '../../src/model/cidr.ts';

const HEAD = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n';

function load(text: string, flags: GivenOptions = {}): ResolvedConfig {
  return resolveConfig(flags, parseConfigText(text, 'kube-proxy.yaml'));
}

/** A file that gives one field. */
function fileOf(path: string, value: unknown): string {
  const [group, name] = path.split('.');
  return JSON.stringify({
    ...(name === undefined ? { [path]: value } : { [group ?? '']: { [name]: value } }),
  }).replace(/^\{/, '{"kind": "KubeProxyConfiguration", "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", ');
}

const input = (name: string) => readFileSync(join(import.meta.dirname, 'inputs', name), 'utf8');

/** Values that are not Go's zero, and no default. */
const SOME_VALUE: Readonly<Record<FieldType, unknown>> = {
  text: 'x',
  boolean: true,
  'boolean?': false,
  number: 3,
  'number?': 0,
  duration: '7s',
  'duration?': '0s',
  list: ['x'],
  map: { x: false },
  any: { x: 1 },
};

describe('files of installers', () => {
  it("kubeadm's is taken without a word", () => {
    const { config, notes } = load(input('kubeadm.yaml'));
    expect(notes).toEqual(['kube-proxy bindAddress: without effect: nothing listens there']);
    const defaults = parseConfig({}, 'test');
    expect({ ...config, clusterCIDRs: config.clusterCIDRs.map(formatCidr) }).toEqual({
      ...defaults,
      kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf',
      scheduler: 'lc',
      strictARP: true,
      clusterCIDRs: ['10.244.0.0/16', 'fd00:10:244::/56'],
    });
  });

  it("kubespray's is taken, and everything in it mapped or named", () => {
    const { config, notes } = load(input('kubespray.yaml'));
    expect(config).toMatchObject({
      nodeName: 'node-1',
      scheduler: 'wrr',
      masqueradeAll: true,
      masqueradeBit: 27,
      strictARP: 'auto',
      detectLocal: 'interfacePrefix:cali',
      healthzBindAddress: '0.0.0.0:10256',
      metricsBindAddress: '127.0.0.1:10249',
    });
    expect(config.excludeCIDRs.map(formatCidr)).toEqual(['198.51.100.0/24']);
    expect(notes.map((note) => /^kube-proxy (\S+): without effect: ./.exec(note)?.[1])).toEqual([
      'clientConnection.contentType',
      'clientConnection.qps',
      'clientConnection.burst',
      'ipvs.syncPeriod',
      'ipvs.tcpTimeout',
      'iptables.masqueradeBit',
      'iptables.syncPeriod',
      'oomScoreAdj',
      'conntrack.maxPerCore',
      'conntrack.min',
      'conntrack.tcpEstablishedTimeout',
      'conntrack.tcpCloseWaitTimeout',
      'configSyncPeriod',
      'featureGates',
      'resourceContainer',
      'udpIdleTimeout',
    ]);
  });
});

describe('fields', () => {
  const silent = FIELDS.filter(({ effect }) => effect.kind === 'none');
  it.each(silent)('$path is named as without effect', ({ path, type, effect }) => {
    const { config, notes } = load(fileOf(path, SOME_VALUE[type]));
    expect(notes).toEqual([
      `kube-proxy ${path}: without effect: ${effect.kind === 'none' ? effect.reason : ''}`,
    ]);
    expect(config).toEqual(parseConfig({}, 'test'));
  });

  it.each(FIELDS)('$path of null is nothing', ({ path }) => {
    const { config, notes } = load(fileOf(path, null));
    expect(notes).toEqual([]);
    expect(config).toEqual(parseConfig({}, 'test'));
  });

  it.each(FIELDS.filter(({ type }) => type !== 'any'))('$path of another type is refused', ({ path }) => {
    expect(() => load(fileOf(path, [[1]]))).toThrow(
      `Cannot use kube-proxy.yaml:1: ${path} is [[1]], expected `,
    );
  });

  it.each<[string, unknown, object]>([
    ['hostnameOverride', ' Node-1 ', { nodeName: 'node-1' }],
    ['clientConnection.kubeconfig', '/k', { kubeconfig: '/k' }],
    ['ipvs.scheduler', 'lc', { scheduler: 'lc' }],
    ['ipvs.strictARP', true, { strictARP: true }],
    ['ipvs.strictARP', false, { strictARP: 'auto' }],
    ['iptables.masqueradeAll', true, { masqueradeAll: true }],
    ['nodePortAddresses', ['primary'], { nodePortAddresses: 'primary' }],
    ['healthzBindAddress', '192.0.2.1', { healthzBindAddress: '192.0.2.1:10256' }],
    ['metricsBindAddress', '[::]:9000', { metricsBindAddress: '[::]:9000' }],
    ['bindAddress', '::', { healthzBindAddress: '[::]:10256', metricsBindAddress: '[::1]:10249' }],
    ['detectLocalMode', 'ClusterCIDR', { detectLocal: 'clusterCIDR' }],
    ['detectLocalMode', 'NodeCIDR', { detectLocal: 'nodeCIDR' }],
    ['logging.verbosity', 4, { log: { level: 'debug' } }],
    ['mode', 'ipvs', {}],
  ])('%s: %j is mapped', (path, value, expected) => {
    const { config, notes } = load(fileOf(path, value));
    expect(notes).toEqual([]);
    expect(config).toMatchObject(expected);
  });

  it('detectLocalMode takes its name from another field', () => {
    const { config } = load(
      `${HEAD}detectLocalMode: BridgeInterface\ndetectLocal: { bridgeInterface: cni0 }\n`,
    );
    expect(config.detectLocal).toBe('bridge:cni0');
    expect(() => load(`${HEAD}detectLocalMode: BridgeInterface\n`)).toThrow(
      'kube-proxy.yaml:3: detectLocalMode is BridgeInterface, which needs detectLocal.bridgeInterface',
    );
    expect(() => load(`${HEAD}detectLocalMode: Guess\n`)).toThrow(
      'detectLocalMode is "Guess", expected one of',
    );
  });

  it('detectLocal of another mode is named', () => {
    expect(load(`${HEAD}detectLocal: { bridgeInterface: cni0 }\n`).notes).toEqual([
      'kube-proxy detectLocal.bridgeInterface: without effect: detectLocalMode is not BridgeInterface',
    ]);
  });

  it('another mode is told', () => {
    expect(load(`${HEAD}mode: nftables\n`).notes).toEqual([
      'kube-proxy mode: nftables: svcplane serves by IPVS all the same',
    ]);
  });

  it('unknown ones are named with their line, and what may be meant', () => {
    expect(load(`${HEAD}ipvs:\n  shceduler: lc\nfoo: 1\n`).notes).toEqual([
      'kube-proxy.yaml:4: ipvs.shceduler is no field of KubeProxyConfiguration, and without effect: did you mean ipvs.scheduler?',
      'kube-proxy.yaml:5: foo is no field of KubeProxyConfiguration, and without effect',
    ]);
  });

  it('of another version are refused', () => {
    const text = HEAD.replace('v1alpha1', 'v1alpha2');
    expect(() => load(text)).toThrow(
      'kube-proxy.yaml:1: apiVersion is "kubeproxy.config.k8s.io/v1alpha2", expected kubeproxy.config.k8s.io/v1alpha1',
    );
  });
});
