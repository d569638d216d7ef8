import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { whyNoPrograms } from '../kernel/kube/binaries.ts';
import {
  builtHelm,
  type DeployObject,
  helmChart,
  kustomizeBase,
  kustomizeWith,
  lbControllerComponent,
  NO_HELM,
} from './deploy-objects.ts';

const ROOT = join(import.meta.dirname, '../..');
const helm = builtHelm();

const inOrder = (objects: readonly DeployObject[]) =>
  objects.toSorted((a, b) => `${a.kind}/${a.metadata.name}`.localeCompare(`${b.kind}/${b.metadata.name}`));
const kinds = (objects: readonly DeployObject[]) => objects.map(({ kind }) => kind).sort();
const podSpecOf = (objects: readonly DeployObject[]): unknown => {
  const daemonSet: Record<string, unknown> | undefined = objects.find(({ kind }) => kind === 'DaemonSet');
  return Object(daemonSet).spec.template.spec;
};
const capabilitiesOf = (objects: readonly DeployObject[]): readonly string[] =>
  Object(podSpecOf(objects)).containers[0].securityContext.capabilities.add;
const configOf = (objects: readonly DeployObject[]): unknown =>
  Object(objects.find(({ kind }) => kind === 'ConfigMap')).data['config.yaml'];
/** Of the container, where nothing is announced. */
const BASE = ['NET_ADMIN', 'BPF'];
const BASE_KINDS = ['ClusterRole', 'ClusterRoleBinding', 'ConfigMap', 'DaemonSet', 'ServiceAccount'];

describe('deploy', () => {
  it('is as scripts/build-deploy writes it', () => {
    const { status, stderr } = spawnSync(join(ROOT, 'scripts/build-deploy'), ['--check'], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
  });

  it('gives an account no more than to look, and to tell of it in Events', () => {
    const role: Record<string, unknown> | undefined = kustomizeBase().find(
      ({ kind }) => kind === 'ClusterRole',
    );
    const rules: readonly { resources: string[]; verbs: string[] }[] = Object(role).rules;
    for (const { resources, verbs } of rules) {
      expect(verbs).toEqual(resources.includes('events') ? ['create', 'patch'] : ['list', 'watch']);
    }
  });
});

describe('the component lb-controller', () => {
  const kindsOf = [
    'ClusterRole',
    'ClusterRoleBinding',
    'Deployment',
    'Role',
    'RoleBinding',
    'ServiceAccount',
  ];

  it('has an account that may write status and Events, and a Lease', () => {
    expect(kinds(lbControllerComponent())).toEqual(kindsOf);
    const rules = lbControllerComponent().flatMap((object) => Object(object).rules ?? []);
    expect(rules.map(({ resources, verbs }) => `${resources}: ${verbs}`)).toEqual([
      'services: list,watch',
      'services/status: patch',
      'events: create,patch',
      'leases: create',
      'leases: get,update',
    ]);
  });

  it.skipIf(helm === undefined)('is what the chart has with lbController.enabled', () => {
    const all = helmChart(helm ?? '', ['lbController.enabled=true']);
    expect(inOrder(all)).toEqual(inOrder([...kustomizeBase(), ...lbControllerComponent()]));
  });
});

describe('the kustomize base', () => {
  it('has one object of each kind', () => {
    expect(kinds(kustomizeBase())).toEqual(BASE_KINDS);
  });

  it('takes every component', ({ skip }) => {
    const kubectl = spawnSync('kubectl', ['version', '--client']).error ? undefined : 'kubectl';
    if (!kubectl) return skip(whyNoPrograms(['kubectl']) ?? 'no kubectl');
    expect(inOrder(kustomizeWith(kubectl, []))).toEqual(inOrder(kustomizeBase()));
    const all = kustomizeWith(kubectl, ['announcing', 'dashboard', 'host-sysctls', 'pod-monitor']);
    expect(kinds(all)).toEqual([...BASE_KINDS, 'ConfigMap', 'PodMonitor'].sort());
    expect(podSpecOf(all)).not.toHaveProperty('initContainers');
    expect([capabilitiesOf(kustomizeBase()), capabilitiesOf(all)]).toEqual([BASE, [...BASE, 'NET_RAW']]);
  });
});

describe.skipIf(helm === undefined)('the Helm chart', { meta: { skipReason: NO_HELM } }, () => {
  const chart = (...settings: string[]) => helmChart(helm ?? '', settings);

  it('is the kustomize base, with the default values', () => {
    expect(inOrder(chart())).toEqual(inOrder(kustomizeBase()));
  });

  it('writes configuration and API server into the ConfigMap', () => {
    const text = configOf(chart('apiServer=https://172.16.0.1:6443', 'config.scheduler=wlc'));
    expect(text).toContain('apiServer: "https://172.16.0.1:6443"\nscheduler: wlc\n');
  });

  it('gives what keepalived needs where that is configured, and nowhere else', () => {
    expect(capabilitiesOf(chart('config.vrrp.interface=eth0'))).toEqual(BASE);
    expect(capabilitiesOf(chart('config.vrrp.mode=off'))).toEqual(BASE);
    const all = chart('config.vrrp.mode=keepalived', 'config.vrrp.interface=eth1');
    expect(capabilitiesOf(all)).toEqual([...BASE, 'NET_RAW']);
    expect(configOf(all)).toContain('vrrp:\n  interface: eth1\n  mode: keepalived\n');
  });

  it('leaves the sysctls to the host', () => {
    expect(podSpecOf(chart())).toHaveProperty('initContainers');
    expect(podSpecOf(chart('sysctls=host'))).not.toHaveProperty('initContainers');
  });

  it('has a PodMonitor where Prometheus reaches the metrics, and a dashboard', () => {
    expect(() => chart('podMonitor.enabled=true')).toThrow(/config.metricsBindAddress/);
    const all = chart(
      'podMonitor.enabled=true',
      'config.metricsBindAddress=0.0.0.0:10250',
      'dashboard.enabled=true',
    );
    expect(kinds(all)).toEqual([...BASE_KINDS, 'ConfigMap', 'PodMonitor'].sort());
    expect(JSON.stringify(podSpecOf(all))).toContain('"name":"metrics","containerPort":10250');
  });
});
