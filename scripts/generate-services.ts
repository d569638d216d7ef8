#!/usr/bin/env node
import { parseArgs } from 'node:util';

const USAGE = `usage: generate-services.ts [--services N] [--endpoints M] [--format json|yaml] [--offset K]

Prints N Services with M endpoints each (default 1000 and 5), every Service beside its EndpointSlice: as one
JSON List, or as a YAML file of one document per object. The same arguments print the same text.
--offset starts at Service number K, so that two runs share no object.
`;

/** A Kubernetes object as the API server would print it, without status and managedFields. */
export type GeneratedObject = Readonly<Record<string, unknown>>;

/**
 * Services `load/service-00000` and up with consecutive ClusterIPs from 10.96.0.0/12, port 80/TCP, every tenth
 * with ClientIP affinity, and one slice of `endpoints` ready addresses each, spread over 50 nodes.
 * @param services at most 1,000,000, the size of the range
 */
export function generateServices(
  services: number,
  endpoints: number,
  offset = 0,
): readonly GeneratedObject[] {
  return Array.from({ length: services }, (_, i) => i + offset).flatMap((n) => [
    generateService(n),
    generateSlice(n, endpoints),
  ]);
}

/** The objects as one `List`, as `kubectl get -o json` prints them. */
export function listOf(items: readonly GeneratedObject[]): GeneratedObject {
  return { apiVersion: 'v1', kind: 'List', metadata: { resourceVersion: '' }, items };
}

/** The objects as YAML, one document each, in the block style of `kubectl get -o yaml`. */
export function toYamlDocuments(objects: readonly GeneratedObject[]): string {
  return objects.map((object) => `---\n${toYaml(object, '')}`).join('');
}

function generateService(n: number): GeneratedObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: nameOf(n),
      namespace: 'load',
      uid: uidOf(n),
      creationTimestamp: '2025-01-01T00:00:00Z',
      labels: { app: nameOf(n) },
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: ipv4(CLUSTER_RANGE + n + 1),
      clusterIPs: [ipv4(CLUSTER_RANGE + n + 1)],
      internalTrafficPolicy: 'Cluster',
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
      selector: { app: nameOf(n) },
      sessionAffinity: n % 10 === 0 ? 'ClientIP' : 'None',
      ...(n % 10 === 0 && { sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } } }),
    },
    status: { loadBalancer: {} },
  };
}

function generateSlice(n: number, endpoints: number): GeneratedObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${nameOf(n)}-x7k2p`,
      namespace: 'load',
      uid: uidOf(n + 0x1000_0000),
      labels: { 'kubernetes.io/service-name': nameOf(n) },
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: Array.from({ length: endpoints }, (_, i) => generateEndpoint(n * endpoints + i)),
  };
}

function generateEndpoint(n: number): GeneratedObject {
  return {
    addresses: [ipv4(POD_RANGE + n)],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `node-${n % 50}`,
    targetRef: { kind: 'Pod', namespace: 'load', name: `pod-${n}`, uid: uidOf(n + 0x2000_0000) },
  };
}

const CLUSTER_RANGE = 0x0a60_0000; // 10.96.0.0
const POD_RANGE = 0x6440_0000; // 100.64.0.0

function nameOf(n: number): string {
  return `service-${String(n).padStart(5, '0')}`;
}

function uidOf(n: number): string {
  return `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`;
}

function ipv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
}

function toYaml(value: unknown, indent: string): string {
  if (Array.isArray(value)) {
    return value.map((item) => `${indent}- ${toYaml(item, `${indent}  `).trimStart()}`).join('');
  }
  if (typeof value !== 'object' || value === null) return `${indent}${scalar(value)}\n`;
  return Object.entries(value)
    .map(
      ([key, entry]) =>
        `${indent}${key}:${isNested(entry) ? `\n${toYaml(entry, indentOf(entry, indent))}` : ` ${scalar(entry)}\n`}`,
    )
    .join('');
}

/** kubectl writes the items of a list in the column of its key. */
function indentOf(value: unknown, indent: string): string {
  return Array.isArray(value) ? indent : `${indent}  `;
}

function isNested(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length > 0;
}

/** Plain where every YAML parser reads the same string back, else double quoted, as JSON is. */
function scalar(value: unknown): string {
  return typeof value === 'string' && PLAIN.test(value) && !RESERVED.test(value)
    ? value
    : JSON.stringify(value);
}

const PLAIN = /^([A-Za-z][\w./-]*|\d+\.\d+\.\d+\.\d+)$/;
const RESERVED = /^(true|false|null|y|n|yes|no|on|off)$/i;

function main(): void {
  const { values } = parseArgs({
    options: {
      services: { type: 'string', default: '1000' },
      endpoints: { type: 'string', default: '5' },
      offset: { type: 'string', default: '0' },
      format: { type: 'string', default: 'json' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  const objects = generateServices(Number(values.services), Number(values.endpoints), Number(values.offset));
  process.stdout.write(
    values.format === 'yaml' ? toYamlDocuments(objects) : `${JSON.stringify(listOf(objects))}\n`,
  );
}

if (import.meta.main) main();
