import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { load } from 'js-yaml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openApiConnection } from '../../../src/cluster/api-connection-client.ts';
import { eventOf, seriesPatch, started } from '../../../src/cluster/events.ts';
import { probeUrls, readContainers } from '../../deploy/daemon-set.ts';
import {
  builtHelm,
  helmChart,
  kustomizeBase,
  kustomizeWith,
  NO_HELM,
  testKindObjects,
} from '../../deploy/deploy-objects.ts';
import { node, service, slice } from '../../objects.ts';
import { type Host, UNHURRIED } from '../host.ts';
import { ImageNode, whyNoImage } from '../image-node.ts';
import { run } from '../probe.ts';
import { type ApiClient, connectToApi } from './api-client.ts';
import { type ApiServer, startApiServer, wireToApi } from './api-server.ts';
import { describeWithKube, pathOf, whyNoPrograms } from './binaries.ts';
import { type Daemon, startDaemon } from './daemon.ts';
import { svcplaneCommand } from './svcplane-daemon.ts';

const ROOT = join(import.meta.dirname, '../../..');
const NODE_NAME = 'node-1';
const ACCOUNT = '/api/v1/namespaces/kube-system/serviceaccounts/svcplane';
const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
/** A second is enough where the processor is not emulated, and nobody else is at work. */
const SERVED_MS = 120_000;
const VERBS = 'get list watch create update patch delete deletecollection impersonate'.split(' ');
/** `group/resource`, and what is neither ours nor harmless among all others. */
const RESOURCES = [
  '/services',
  '/services/status',
  '/nodes',
  '/nodes/status',
  '/nodes/proxy',
  'discovery.k8s.io/endpointslices',
  'networking.k8s.io/servicecidrs',
  'events.k8s.io/events',
  '/events',
  '/endpoints',
  '/pods',
  '/pods/exec',
  '/secrets',
  '/configmaps',
  '/namespaces',
  '/serviceaccounts',
  '/serviceaccounts/token',
  '/users',
  'apps/daemonsets',
  'coordination.k8s.io/leases',
  'rbac.authorization.k8s.io/clusterroles',
];
const PERMITTED = [
  ...['/services', '/nodes', 'discovery.k8s.io/endpointslices', 'networking.k8s.io/servicecidrs'].flatMap(
    (resource) => [`list ${resource}`, `watch ${resource}`],
  ),
  'create events.k8s.io/events',
  'patch events.k8s.io/events',
];

describeWithKube('deploy on a real API server', ['kube-apiserver'], () => {
  let parts: AsyncDisposableStack;
  let api: ApiServer;
  /** The DaemonSet's ServiceAccount, with a token as the kubelet gets it. */
  let token: string;
  let account: ApiClient;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    // There is RBAC where there are users.
    api = parts.use(await startApiServer({ users: ['nobody'] }));
    await api.apply(kustomizeBase());
    token = await tokenOf(api);
    account = parts.use(connectToApi(api.server, readFileSync(api.caFile, 'utf8'), token));
    await api.apply([
      node({ name: NODE_NAME }),
      service({ name: 'front' }),
      slice({ service: 'front', endpoints: [{ address: '10.244.1.7', node: NODE_NAME }] }),
    ]);
  }, 600_000);

  afterAll(() => parts?.disposeAsync());

  /** Once more, as whoever installs it would: each as it is written, checked by the server. */
  const taken = async (objects: Parameters<ApiServer['dryRun']>[0]) =>
    (await api.dryRun(objects)).map((object) => Object(object).kind);

  it('takes every object of the kustomize base', UNHURRIED, async () => {
    expect(await taken(kustomizeBase())).toEqual(kustomizeBase().map(({ kind }) => kind));
  });

  it('refuses a field that it does not know, so that a typing error would be found', UNHURRIED, async () => {
    const [first] = kustomizeBase().filter(({ kind }) => kind === 'DaemonSet');
    const wrong = { ...first, spec: { ...Object(first?.spec), revisionHistoryLimits: 1 } };
    await expect(api.dryRun([wrong])).rejects.toThrow(/revisionHistoryLimits/);
  });

  it(
    'takes every component, but the PodMonitor, whose kind is the Prometheus operator’s',
    UNHURRIED,
    async ({ skip }) => {
      const reason = whyNoPrograms(['kubectl']);
      if (reason !== undefined) return skip(reason);
      const objects = kustomizeWith(pathOf('kubectl'), [
        'announcing',
        'dashboard',
        'host-sysctls',
        'lb-controller',
        'pod-monitor',
      ]);
      const ours = objects.filter(({ kind }) => kind !== 'PodMonitor');
      expect(ours.length).toBe(objects.length - 1);
      expect(await taken(ours)).toEqual(ours.map(({ kind }) => kind));
    },
  );

  it('takes what scripts/test-kind installs', UNHURRIED, async ({ skip }) => {
    const reason = whyNoPrograms(['kubectl']);
    if (reason !== undefined) return skip(reason);
    const objects = testKindObjects(pathOf('kubectl'));
    expect(JSON.stringify(objects)).toContain('"image":"localhost/svcplane:test"');
    expect(await taken(objects)).toEqual(objects.map(({ kind }) => kind));
  });

  it('takes every object of the Helm chart, with every setting', UNHURRIED, async ({ skip }) => {
    const helm = builtHelm();
    if (helm === undefined) return skip(NO_HELM);
    const settings = [
      'apiServer=https://172.16.0.1:6443',
      'config.metricsBindAddress=0.0.0.0:10249',
      'config.audit.intervalSeconds=60',
      'config.vrrp.mode=keepalived',
      'dashboard.enabled=true',
      'lbController.enabled=true',
      'image.tag=test',
      'imagePullSecrets[0].name=pull',
      'podAnnotations.team=net',
    ];
    for (const objects of [helmChart(helm), helmChart(helm, settings)]) {
      expect(await taken(objects)).toEqual(objects.map(({ kind }) => kind));
    }
  });

  it('lets the account do what svcplane does, and nothing else', UNHURRIED, async () => {
    const asked = RESOURCES.flatMap((resource) => VERBS.map((verb) => ({ resource, verb })));
    const allowed: string[] = [];
    for (const { resource, verb } of asked) {
      if (await isAllowed(account, verb, resource)) allowed.push(`${verb} ${resource}`);
    }
    expect(allowed.sort()).toEqual(PERMITTED.toSorted());
  });

  it('lets the account write Events, and count them', UNHURRIED, async () => {
    const connection = parts.use(
      await openApiConnection({
        server: api.server,
        serviceAccountDirectory: writePod(parts, api, token).account,
        env: {},
      }),
    );
    const { signal } = new AbortController();
    const event = eventOf(started(NODE_NAME), NODE_NAME, '', Date.now());
    const path = `/apis/events.k8s.io/v1/namespaces/${event.metadata.namespace}/events`;
    const created = await connection.request('POST', path, { body: event, signal });
    expect(created.status).toBe(201);
    const counted = await connection.request('PATCH', `${path}/${event.metadata.name}`, {
      body: seriesPatch(2, Date.now()),
      contentType: 'application/merge-patch+json',
      signal,
    });
    expect([counted.status, Object(counted.body).series.count]).toEqual([200, 2]);
  });

  it('is enough for svcplane run', UNHURRIED, async () => {
    using on = nodeNamespace('172.30.0.5');
    const inNode = ['ip', 'netns', 'exec', on.host.namespace.name];
    const options = { apiServer: { ...api, token }, nodeName: NODE_NAME };
    await using daemon = await startDaemon([...inNode, ...svcplaneCommand(on.host.directory, options)]);
    await follows(daemon, on, api);
    expect(daemon.log()).not.toMatch(/forbidden|403/);
  });

  it('is enough for the image in the container of the DaemonSet', UNHURRIED, async ({ skip }) => {
    const reason = whyNoImage();
    if (reason !== undefined) return skip(reason);
    const pod = writePod(parts, api, token);
    using on = nodeNamespace('172.30.0.6', pod.config);
    expect(on.setSysctls()).toEqual({ code: 0, stdout: '', stderr: '' });
    const { svcplane } = readContainers();
    const further = [{ source: pod.account, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' }];
    const command = on.command(svcplane, ['/usr/bin/svcplane', ...svcplane.args], {}, further);
    const { hostname, port } = new URL(api.server);
    const env = { NODE_NAME, KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    await using daemon = await startDaemon(['env', ...assignments, ...command]);
    await follows(daemon, on, api);
    expect(daemon.log()).not.toMatch(/forbidden|403|refused|EROFS/);
    const urls = probeUrls(svcplane);
    expect(urls).toHaveLength(2);
    for (const url of urls) on.host.run(['curl', '--silent', '--show-error', '--fail', url]);
    // What kubectl exec is for, while it runs.
    expect(on.svcplane('status').code).toBe(0);
    const { stdout } = on.svcplane('snapshot', '--observed', '-o', 'ipvsadm-save');
    expect(stdout.split('\n').filter(Boolean).sort()).toEqual(on.host.state().table);
    await daemon.stop();
    // Whoever replaces the Pod finds the Services as they were.
    expect(tableOf(on.host)).toEqual(SERVED);
    const cleanup = on.run(svcplane, ['/usr/bin/svcplane', ...(await cleanupArgs(api))]);
    expect(cleanup).toMatchObject({ code: 0, stderr: '' });
    expect([on.host.state().table, on.host.state().rules]).toEqual([[], '']);
  });
});

/** Of the container, after deploy/cleanup-patch.yaml: as the server understands it. */
async function cleanupArgs(api: ApiServer): Promise<readonly string[]> {
  const patch = load(readFileSync(join(ROOT, 'deploy/cleanup-patch.yaml'), 'utf8'));
  const path = '/apis/apps/v1/namespaces/kube-system/daemonsets/svcplane?dryRun=All&fieldValidation=Strict';
  const answer = await api.request('PATCH', path, patch, 'application/strategic-merge-patch+json');
  const { spec } = Object(answer);
  const [patched] = spec.template.spec.containers;
  expect(patched).not.toHaveProperty('livenessProbe');
  expect(patched).toMatchObject({ name: 'svcplane', image: expect.stringMatching(/^svcplane:/) });
  expect(spec.updateStrategy.rollingUpdate.maxUnavailable).toBe('100%');
  return patched.args;
}

const SERVED = ['-A -t 10.96.0.50:80 -s rr', '-a -t 10.96.0.50:80 -r 10.244.1.7:8080 -m -w 1'];

/** Without the Service of the API server itself, which makes it whenever it gets round to it. */
function tableOf(host: Host): readonly string[] {
  return host.state().table.filter((line) => !line.includes(' 10.96.0.1:443 '));
}

/** Serves the Service, and what becomes of its endpoint. */
async function follows(daemon: Daemon, { host }: ImageNode, api: ApiServer): Promise<void> {
  const endpoint = (address: string) =>
    api.apply([slice({ service: 'front', endpoints: [{ address, node: NODE_NAME }] })]);
  const serves = (lines: readonly string[]) =>
    daemon.ready(() => isDeepStrictEqual(tableOf(host), lines), SERVED_MS);
  await serves(SERVED);
  await endpoint('10.244.1.8');
  await serves(SERVED.map((line) => line.replace('10.244.1.7', '10.244.1.8')));
  await endpoint('10.244.1.7');
  await serves(SERVED);
}

/**
 * A node that reaches the API server.
 * @param address of its own, for the wire of the node before may outlast it
 * @param config the directory of the ConfigMap
 */
function nodeNamespace(address: string, config = tmpdir()): ImageNode {
  const made = new ImageNode(config);
  const { namespace } = made.host;
  run(['ip', '-n', namespace.name, 'link', 'add', 'eth0', 'type', 'dummy']);
  run(['ip', '-n', namespace.name, 'address', 'add', `${address}/24`, 'dev', 'eth0']);
  run(['ip', '-n', namespace.name, 'link', 'set', 'eth0', 'up']);
  wireToApi(namespace, address);
  return made;
}

async function tokenOf(api: ApiServer): Promise<string> {
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
  const answer = Object(await api.request('POST', `${ACCOUNT}/token`, body));
  return String(answer.status.token);
}

async function isAllowed(account: ApiClient, verb: string, resource: string): Promise<boolean> {
  const [group, name, subresource = ''] = resource.split('/');
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: { verb, group, resource: name, subresource, namespace: 'kube-system' } },
  };
  return Object(await account.request('POST', REVIEWS, body)).status.allowed === true;
}

function newDirectory(parts: AsyncDisposableStack): string {
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-deploy-'));
  parts.defer(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What the kubelet mounts into the Pod: the ConfigMap, and the account. */
function writePod(parts: AsyncDisposableStack, { caFile }: ApiServer, token: string) {
  const directory = newDirectory(parts);
  const [config, account] = [join(directory, 'config'), join(directory, 'account')];
  for (const each of [config, account]) mkdirSync(each);
  const map: unknown = kustomizeBase().find(({ kind }) => kind === 'ConfigMap');
  writeFileSync(join(config, 'config.yaml'), Object(map).data['config.yaml']);
  writeFileSync(join(account, 'token'), token);
  writeFileSync(join(account, 'ca.crt'), readFileSync(caFile));
  return { config, account };
}
