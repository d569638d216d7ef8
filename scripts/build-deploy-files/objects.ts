import { lbControllerManifests } from './lb-controller.ts';
import { type Mapping, setting, type Template, text } from './template.ts';

const NAME = 'svcplane';
const LABELS = { 'app.kubernetes.io/name': NAME };
const NAMESPACE = text('{{ .Release.Namespace }}', 'kube-system');
const READ = ['list', 'watch'];
/** Of the health and the metrics port: where the configuration moves them, the Pod says so, too. */
const HEALTHZ_PORT = text(portOf('healthzBindAddress', 10256), '10256');
const METRICS_PORT = text(portOf('metricsBindAddress', 10249), '10249');

/** keepalived sends ARP and VRRP over raw sockets. */
const CAPABILITIES = text(
  `[NET_ADMIN, BPF{{ if eq (dig "vrrp" "mode" "off" .Values.config) "keepalived" }}, NET_RAW{{ end }}]`,
  '[NET_ADMIN, BPF]',
);

/** What the privileged container runs, in full, for all to read in the manifest. */
const SET_SYSCTLS = `\
import { existsSync, writeFileSync } from 'node:fs';
import { probeGenericNetlinkFamily } from '/svcplane/dist/probe.js';
import { SYSCTLS } from '/svcplane/dist/sysctls.js';
probeGenericNetlinkFamily('IPVS'); // the kernel loads ip_vs, and with it come its sysctls
for (const [name, value] of SYSCTLS) {
  const file = '/proc/sys/' + name.replaceAll('.', '/');
  if (existsSync(file)) writeFileSync(file, value);
}
`;

const IMAGE = {
  image: text(
    '"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"',
    'svcplane:VERSION',
  ),
  imagePullPolicy: setting('image.pullPolicy'),
};

/** An object, and where it is written. */
export interface Manifest {
  /** Without its folder and `.yaml`. */
  readonly file: string;
  readonly object: Mapping;
  /** Helm's condition for the whole object, and with it what the object is no part of the kustomize base. */
  readonly only?: string;
  /** What Helm refuses, as condition and message. */
  readonly refuses?: readonly [condition: string, message: string];
}

export const MANIFESTS: readonly Manifest[] = [
  {
    file: 'serviceaccount',
    object: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata(NAMESPACE) },
  },
  {
    file: 'clusterrole',
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: metadata(),
      rules: [
        { apiGroups: [''], resources: ['services', 'nodes'], verbs: READ },
        { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: READ },
        { apiGroups: ['networking.k8s.io'], resources: ['servicecidrs'], verbs: READ },
        { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
      ],
    },
  },
  {
    file: 'clusterrolebinding',
    object: {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: metadata(),
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: NAME },
      subjects: [{ kind: 'ServiceAccount', name: NAME, namespace: NAMESPACE }],
    },
  },
  {
    file: 'configmap',
    object: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: metadata(NAMESPACE),
      data: { 'config.yaml': configuration() },
    },
  },
  { file: 'daemonset', object: daemonSet() },
  ...lbControllerManifests(IMAGE),
  {
    file: 'podmonitor',
    only: '.Values.podMonitor.enabled',
    refuses: [
      'hasPrefix "127." (.Values.config.metricsBindAddress | default "127.")',
      'podMonitor needs config.metricsBindAddress where Prometheus reaches it, such as 0.0.0.0:10249',
    ],
    object: {
      apiVersion: 'monitoring.coreos.com/v1',
      kind: 'PodMonitor',
      metadata: {
        name: NAME,
        namespace: NAMESPACE,
        labels: { ...LABELS, '...podMonitor.labels': '' },
      },
      spec: {
        selector: { matchLabels: LABELS },
        podMetricsEndpoints: [{ port: 'metrics', interval: setting('podMonitor.interval') }],
      },
    },
  },
  {
    file: 'dashboard',
    only: '.Values.dashboard.enabled',
    object: {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name: `${NAME}-dashboard`,
        namespace: NAMESPACE,
        labels: { ...LABELS, '...dashboard.labels': '' },
      },
      data: {
        'svcplane.json': text('{{ .Files.Get "dashboards/svcplane.json" | toJson }}', ''),
      },
    },
  },
];

/** In the chart with the keys that the user gives; svcplane itself checks them. */
function configuration(): Template {
  const head = ['apiVersion: svcplane.io/v1alpha1', 'kind: SvcplaneConfiguration'];
  const settings = [
    '{{- with .Values.apiServer }}',
    'apiServer: {{ . | quote }}',
    '{{- end }}',
    '{{- with .Values.config }}',
    '{{- toYaml . | nindent 4 }}',
    '{{- end }}',
  ];
  return text([...head, ...settings].join('\n'), [...head, ''].join('\n'));
}

function daemonSet(): Mapping {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: metadata(NAMESPACE),
    spec: {
      selector: { matchLabels: LABELS },
      updateStrategy: setting('updateStrategy'),
      template: {
        metadata: { labels: LABELS, annotations: setting('podAnnotations') },
        spec: podSpec(),
      },
    },
  };
}

function podSpec(): Mapping {
  return {
    serviceAccountName: NAME,
    imagePullSecrets: setting('imagePullSecrets'),
    hostNetwork: true,
    priorityClassName: setting('priorityClassName'),
    nodeSelector: setting('nodeSelector'),
    affinity: setting('affinity'),
    tolerations: setting('tolerations'),
    // Enough to finish the sync under way, and to end keepalived; what is in the kernel goes on serving.
    terminationGracePeriodSeconds: 30,
    'if eq .Values.sysctls "initContainer"': { initContainers: [sysctlContainer()] },
    containers: [container()],
    volumes: [
      { name: 'config', configMap: { name: NAME } },
      hostDirectory('state', '/var/lib/svcplane', 'DirectoryOrCreate'),
      hostDirectory('run', '/run/svcplane', 'DirectoryOrCreate'),
      hostDirectory('modules', '/lib/modules', ''),
      hostDirectory('bpf', '/sys/fs/bpf', ''),
      hostDirectory('cgroup', '/sys/fs/cgroup', ''),
    ],
  };
}

function sysctlContainer(): Mapping {
  return {
    name: 'sysctls',
    ...IMAGE,
    command: ['/usr/bin/node', '--input-type=module', '--eval'],
    args: [SET_SYSCTLS],
    securityContext: { privileged: true, readOnlyRootFilesystem: true },
  };
}

function container(): Mapping {
  return {
    name: NAME,
    ...IMAGE,
    args: ['run', '--config', '/etc/svcplane/config.yaml'],
    env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
    ports: [
      { name: 'healthz', containerPort: HEALTHZ_PORT, protocol: 'TCP' },
      { name: 'metrics', containerPort: METRICS_PORT, protocol: 'TCP' },
    ],
    livenessProbe: { ...probe('/livez'), initialDelaySeconds: 15, failureThreshold: 6 },
    readinessProbe: { ...probe('/readyz'), failureThreshold: 3 },
    resources: setting('resources'),
    securityContext: {
      runAsUser: 0,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: CAPABILITIES },
      seccompProfile: { type: 'RuntimeDefault' },
      // The profiles of container engines forbid to make anything below /sys/fs/bpf.
      appArmorProfile: { type: 'Unconfined' },
    },
    volumeMounts: [
      { name: 'config', mountPath: '/etc/svcplane', readOnly: true },
      { name: 'state', mountPath: '/var/lib/svcplane' },
      { name: 'run', mountPath: '/run/svcplane' },
      { name: 'modules', mountPath: '/lib/modules', readOnly: true },
      { name: 'bpf', mountPath: '/sys/fs/bpf' },
      { name: 'cgroup', mountPath: '/sys/fs/cgroup', readOnly: true },
    ],
  };
}

function probe(path: string): Mapping {
  return { httpGet: { path, port: 'healthz' }, periodSeconds: 10, timeoutSeconds: 5 };
}

/** @param type "" where it may not be there */
function hostDirectory(name: string, path: string, type: string): Mapping {
  return { name, hostPath: type === '' ? { path } : { path, type } };
}

function metadata(namespace?: Template): Mapping {
  return { name: NAME, ...(namespace === undefined ? {} : { namespace }), labels: LABELS };
}

function portOf(key: string, port: number): string {
  return `{{ .Values.config.${key} | default ":${port}" | splitList ":" | last }}`;
}
