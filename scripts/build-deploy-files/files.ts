import { load } from 'js-yaml';
import { dashboard } from './dashboard.ts';
import { MANIFESTS, type Manifest } from './objects.ts';
import { helmOf, type Mapping, plainOf, type Values } from './template.ts';

const CHART = 'deploy/helm/svcplane';
const BASE = 'deploy/kustomize';
const HEADER = '# Written by scripts/build-deploy.\n';

/** Where a dashboard is looked for by Grafana's side-car, in the chart and in the component. */
const DASHBOARD_FILE = 'svcplane.json';

/**
 * Every file of the chart and of the kustomize base with its components, by its path from the root of the checkout.
 * @param valuesText values.yaml
 * @param packageText package.json, whose version the chart and the image have
 */
export function deployFiles(valuesText: string, packageText: string): ReadonlyMap<string, string> {
  const values = recordOf(load(valuesText));
  const { version, description } = recordOf(JSON.parse(packageText));
  return new Map([
    ...chartFiles(values, valuesText, String(version), String(description)),
    ...kustomizeFiles(values, String(version)),
  ]);
}

function chartFiles(
  values: Values,
  valuesText: string,
  version: string,
  description: string,
): readonly [string, string][] {
  const chart = {
    apiVersion: 'v2',
    name: 'svcplane',
    description,
    type: 'application',
    version,
    appVersion: version,
    kubeVersion: '>=1.29.0-0',
  };
  const templates = MANIFESTS.map((manifest): [string, string] => [
    `${CHART}/templates/${manifest.file}.yaml`,
    chartTemplate(manifest, values),
  ]);
  return [
    [`${CHART}/Chart.yaml`, HEADER + plainOf(chart, {})],
    [`${CHART}/values.yaml`, HEADER + valuesText],
    [`${CHART}/dashboards/${DASHBOARD_FILE}`, dashboard()],
    ...templates,
  ];
}

function chartTemplate({ object, only, refuses }: Manifest, values: Values): string {
  const text = helmOf(object, values);
  const refusal = refuses ? `{{- if ${refuses[0]} }}{{ fail "${refuses[1]}" }}{{ end }}\n` : '';
  // Within the condition, for what is nothing but a comment is an empty object to some.
  return only === undefined ? HEADER + text : `{{- if ${only} }}\n${refusal}${HEADER}${text}{{- end }}\n`;
}

function kustomizeFiles(values: Values, version: string): readonly [string, string][] {
  const plain = ({ object }: Manifest) =>
    HEADER + plainOf(object, values).replaceAll('svcplane:VERSION', `svcplane:${version}`);
  const base = MANIFESTS.filter(({ only }) => only === undefined);
  const lbController = MANIFESTS.filter(({ file }) => file.startsWith('lb-controller-'));
  const manifest = (name: string) => {
    const found = MANIFESTS.find(({ file }) => file === name);
    if (!found) throw new RangeError(`no manifest ${name}`);
    return plain(found);
  };
  const files = base.map((each): [string, string] => [`${BASE}/${each.file}.yaml`, plain(each)]);
  return [
    ...files,
    [
      `${BASE}/kustomization.yaml`,
      kustomization('Kustomization', { resources: base.map(({ file }) => `${file}.yaml`) }),
    ],
    ...component('host-sysctls', {
      patches: [
        {
          target: { kind: 'DaemonSet', name: 'svcplane' },
          patch: '- op: remove\n  path: /spec/template/spec/initContainers\n',
        },
      ],
    }),
    ...component('announcing', {
      patches: [
        {
          target: { kind: 'DaemonSet', name: 'svcplane' },
          patch:
            '- op: add\n  path: /spec/template/spec/containers/0/securityContext/capabilities/add/-\n  value: NET_RAW\n',
        },
      ],
    }),
    ...component('pod-monitor', { resources: ['podmonitor.yaml'] }),
    [`${BASE}/components/pod-monitor/podmonitor.yaml`, manifest('podmonitor')],
    ...component('lb-controller', { resources: lbController.map(({ file }) => `${file}.yaml`) }),
    ...lbController.map((each): [string, string] => [
      `${BASE}/components/lb-controller/${each.file}.yaml`,
      plain(each),
    ]),
    ...component('dashboard', {
      configMapGenerator: [
        {
          name: 'svcplane-dashboard',
          namespace: 'kube-system',
          files: [DASHBOARD_FILE],
          options: { labels: { grafana_dashboard: '1' }, disableNameSuffixHash: true },
        },
      ],
    }),
    [`${BASE}/components/dashboard/${DASHBOARD_FILE}`, dashboard()],
  ];
}

function component(name: string, content: Mapping): readonly [string, string][] {
  return [[`${BASE}/components/${name}/kustomization.yaml`, kustomization('Component', content)]];
}

function kustomization(kind: 'Kustomization' | 'Component', content: Mapping): string {
  const apiVersion = `kustomize.config.k8s.io/${kind === 'Component' ? 'v1alpha1' : 'v1beta1'}`;
  return HEADER + plainOf({ apiVersion, kind, ...content }, {});
}

function recordOf(value: unknown): Values {
  if (typeof value === 'object' && value !== null) return { ...value };
  throw new TypeError('not a mapping');
}
