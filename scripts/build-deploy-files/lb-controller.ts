import type { Manifest } from './objects.ts';
import { type Mapping, setting, type Template, text } from './template.ts';

const NAME = 'svcplane-lb-controller';
const LABELS = { 'app.kubernetes.io/name': NAME };
const NAMESPACE = text('{{ .Release.Namespace }}', 'kube-system');
const ONLY = '.Values.lbController.enabled';
const RBAC = 'rbac.authorization.k8s.io';
const PORTS = { healthz: 10256, metrics: 10249 } as const;

/**
 * The controller that gives load balancer addresses: an option, for there may be another one.
 * @param image of its container, as the DaemonSet has it
 */
export function lbControllerManifests(image: Mapping): readonly Manifest[] {
  return [
    manifest('serviceaccount', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: metadata(NAMESPACE) }),
    manifest('clusterrole', {
      apiVersion: `${RBAC}/v1`,
      kind: 'ClusterRole',
      metadata: metadata(),
      rules: [
        { apiGroups: [''], resources: ['services'], verbs: ['list', 'watch'] },
        { apiGroups: [''], resources: ['services/status'], verbs: ['patch'] },
        { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
      ],
    }),
    manifest('clusterrolebinding', binding('ClusterRole', metadata())),
    manifest('role', {
      apiVersion: `${RBAC}/v1`,
      kind: 'Role',
      metadata: metadata(NAMESPACE),
      rules: [
        // What is created has no name yet that a rule could have.
        { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
        {
          apiGroups: ['coordination.k8s.io'],
          resources: ['leases'],
          resourceNames: [NAME],
          verbs: ['get', 'update'],
        },
      ],
    }),
    manifest('rolebinding', binding('Role', metadata(NAMESPACE))),
    manifest('deployment', deployment(image)),
  ];
}

function manifest(kind: string, object: Mapping): Manifest {
  return { file: `lb-controller-${kind}`, object, only: ONLY };
}

function binding(kind: 'Role' | 'ClusterRole', head: Mapping): Mapping {
  return {
    apiVersion: `${RBAC}/v1`,
    kind: `${kind}Binding`,
    metadata: head,
    roleRef: { apiGroup: RBAC, kind, name: NAME },
    subjects: [{ kind: 'ServiceAccount', name: NAME, namespace: NAMESPACE }],
  };
}

function deployment(image: Mapping): Mapping {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(NAMESPACE),
    spec: {
      replicas: setting('lbController.replicas'),
      selector: { matchLabels: LABELS },
      template: {
        metadata: { labels: LABELS },
        spec: {
          serviceAccountName: NAME,
          imagePullSecrets: setting('imagePullSecrets'),
          priorityClassName: 'system-cluster-critical',
          nodeSelector: setting('lbController.nodeSelector'),
          tolerations: setting('lbController.tolerations'),
          // Enough to give the Lease back.
          terminationGracePeriodSeconds: 10,
          containers: [container(image)],
          volumes: [{ name: 'config', configMap: { name: 'svcplane' } }],
        },
      },
    },
  };
}

function container(image: Mapping): Mapping {
  return {
    name: 'lb-controller',
    ...image,
    args: [
      'lb-controller',
      '--config',
      '/etc/svcplane/config.yaml',
      // Not those of the DaemonSet, which has the node's network: this Pod has one of its own.
      '--healthz-bind-address',
      `0.0.0.0:${PORTS.healthz}`,
      '--metrics-bind-address',
      `0.0.0.0:${PORTS.metrics}`,
    ],
    env: [fieldOf('POD_NAME', 'metadata.name'), fieldOf('SVCPLANE_LB_LEASE_NAMESPACE', 'metadata.namespace')],
    ports: Object.entries(PORTS).map(([name, containerPort]) => ({ name, containerPort, protocol: 'TCP' })),
    livenessProbe: { ...probe('/livez'), initialDelaySeconds: 15, failureThreshold: 6 },
    readinessProbe: { ...probe('/readyz'), failureThreshold: 3 },
    resources: setting('lbController.resources'),
    securityContext: {
      runAsUser: 65_534,
      runAsNonRoot: true,
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [{ name: 'config', mountPath: '/etc/svcplane', readOnly: true }],
  };
}

function fieldOf(name: string, fieldPath: string): Mapping {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

function probe(path: string): Mapping {
  return { httpGet: { path, port: 'healthz' }, periodSeconds: 10, timeoutSeconds: 5 };
}

function metadata(namespace?: Template): Mapping {
  return { name: NAME, ...(namespace === undefined ? {} : { namespace }), labels: LABELS };
}
