import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import {
  type Cluster,
  newClusters,
  newContexts,
  newUsers,
  type User,
} from '@kubernetes/client-node/dist/config_types.js';
import { load, YAMLException } from 'js-yaml';
import { ApiConfigurationError, type ApiConnectionOptions } from './api-connection.ts';
import { asObject, listIn, objectIn, printable, type RawObject, textIn } from './object-fields.ts';

const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Where credentials are, with the paths of files that hold them. */
export interface Source {
  /** As errors name it: `kubeconfig /etc/kubernetes/proxy.conf`. */
  readonly origin: string;
  readonly server: URL;
  readonly cluster: Cluster;
  readonly user: User;
  readonly tokenFile: string | null;
}

/** What was in them, as PEM texts. */
export interface Loaded extends Source {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly token: string | null;
}

/** @param origin see Source; the message is one line, whatever `problem` has */
export function unusable(origin: string, problem: string, cause?: unknown): ApiConfigurationError {
  const line = printable(problem.trim().replace(/\s*\n\s*/g, '; '));
  return new ApiConfigurationError(`Cannot use ${origin}: ${line}`, { cause });
}

/** Of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/**
 * Reads and checks all there is.
 * @throws ApiConfigurationError of one line
 */
export async function loadCredentials(source: Source): Promise<Loaded> {
  const { origin } = source;
  try {
    return await readFiles(source);
  } catch (error) {
    throw error instanceof ApiConfigurationError ? error : unusable(origin, messageOf(error), error);
  }
}

/** @throws ApiConfigurationError of one line */
export async function readSource(options: ApiConnectionOptions): Promise<Source> {
  const { kubeconfig, server, env } = options;
  if (kubeconfig !== undefined) return readKubeconfig(kubeconfig, server);
  const directory = options.serviceAccountDirectory ?? SERVICE_ACCOUNT_DIRECTORY;
  const host = env.KUBERNETES_SERVICE_HOST;
  const named = host
    ? `https://${isIPv6(host) ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? 443}`
    : undefined;
  const url = server ?? named;
  if (url === undefined)
    throw new ApiConfigurationError(
      'Cannot tell where the API server is: no kubeconfig, no server, and KUBERNETES_SERVICE_HOST is not set as in a Pod',
    );
  const origin = `the service account in ${directory}`;
  return {
    origin,
    server: serverOf(origin, url),
    cluster: { name: 'in-cluster', server: url, skipTLSVerify: false, caFile: join(directory, 'ca.crt') },
    user: { name: 'service-account' },
    tokenFile: join(directory, 'token'),
  };
}

async function readKubeconfig(file: string, server: string | undefined): Promise<Source> {
  const origin = `kubeconfig ${file}`;
  const refuse = (problem: string, cause?: unknown) => unusable(origin, problem, cause);
  let raw: RawObject;
  let contexts: ReturnType<typeof newContexts>;
  let clusters: Cluster[];
  let users: User[];
  try {
    raw = asObject(load(await readFile(file, 'utf8'))) ?? {};
    contexts = newContexts(raw.contexts);
    clusters = newClusters(raw.clusters);
    users = newUsers(raw.users);
  } catch (error) {
    throw refuse(error instanceof YAMLException ? yamlProblem(error) : messageOf(error), error);
  }
  const current = textIn(raw, 'current-context');
  const context = contexts.find(({ name }) => name === current);
  if (!context) throw refuse(`current-context ${current ?? '(none)'} is not in it`);
  const cluster = clusters.find(({ name }) => name === context.cluster);
  if (!cluster) throw refuse(`cluster ${context.cluster} is not in it`);
  const user = context.user ? users.find(({ name }) => name === context.user) : { name: 'anonymous' };
  if (!user) throw refuse(`user ${context.user} is not in it`);
  // client-node knows neither `tokenFile`, which kubeadm writes for kube-proxy, nor that paths start at the file.
  const rawUser = listIn(raw, 'users').find((each) => asObject(each)?.name === user.name);
  const tokenFile = textIn(objectIn(asObject(rawUser) ?? {}, 'user'), 'tokenFile');
  return {
    origin,
    server: serverOf(origin, server ?? cluster.server),
    ...withFiles(cluster, user, (path) => resolve(dirname(file), path)),
    tokenFile: tokenFile === undefined ? null : resolve(dirname(file), tokenFile),
  };
}

/** Paths as they are from here, and only where the data is not given itself: it counts first, as for kubectl. */
function withFiles(
  { caFile, ...cluster }: Cluster,
  { certFile, keyFile, ...user }: User,
  absolute: (path: string) => string,
): Pick<Source, 'cluster' | 'user'> {
  return {
    cluster: { ...cluster, ...(caFile && !cluster.caData && { caFile: absolute(caFile) }) },
    user: {
      ...user,
      ...(certFile && !user.certData && { certFile: absolute(certFile) }),
      ...(keyFile && !user.keyData && { keyFile: absolute(keyFile) }),
    },
  };
}

function yamlProblem({ reason, mark }: YAMLException): string {
  return `broken YAML${mark ? ` in line ${mark.line + 1}` : ''}: ${reason}`;
}

function serverOf(origin: string, text: string): URL {
  const url = URL.parse(text);
  if (url && (url.protocol === 'https:' || url.protocol === 'http:')) return url;
  throw unusable(origin, `server ${JSON.stringify(text)} is no https://HOST:PORT`);
}

async function readFiles(source: Source): Promise<Loaded> {
  const { origin, cluster, user, tokenFile } = source;
  const [ca, cert, key] = [
    await pemOf(origin, 'certificate-authority', cluster.caFile, cluster.caData),
    await pemOf(origin, 'client-certificate', user.certFile, user.certData),
    await pemOf(origin, 'client-key', user.keyFile, user.keyData),
  ];
  try {
    if (cert && key) createSecureContext({ cert, key });
  } catch (error) {
    throw unusable(origin, `client-certificate and client-key: ${messageOf(error)}`, error);
  }
  const token = tokenFile === null ? (user.token ?? null) : (await readFile(tokenFile, 'utf8')).trim();
  return { ...source, ca, cert, key, token };
}

async function pemOf(
  origin: string,
  field: 'certificate-authority' | 'client-certificate' | 'client-key',
  file: string | null | undefined,
  base64: string | null | undefined,
): Promise<string | null> {
  if (!file && !base64) return null;
  const text = file ? await readFile(file, 'utf8') : Buffer.from(base64 ?? '', 'base64').toString('utf8');
  const isKey = field === 'client-key';
  if (isKey ? /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text) : isCertificate(text)) return text;
  throw unusable(origin, `${field}${file ? ` ${file}` : '-data'}: no PEM ${isKey ? 'key' : 'certificate'}`);
}

/** openssl says nothing of an authority that is none, and then trusts nobody. */
function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}
