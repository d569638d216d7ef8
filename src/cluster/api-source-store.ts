import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import {
  type Cluster,
  newClusters,
  newContexts,
  newUsers,
  type User,
} from '@kubernetes/client-node/dist/config_types.js';
import { load } from 'js-yaml';
import { ApiConfigurationError, type ApiConnectionOptions } from './api-connection.ts';
import { asObject, listIn, objectIn, type RawObject, textIn } from './object-fields.ts';

const SERVICE_ACCOUNT_DIRECTORY = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Where credentials are, with the paths of files that hold them. */
export interface Source {
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

/** @throws ApiConfigurationError if nothing says where the API server is */
export async function readSource(options: ApiConnectionOptions): Promise<Source> {
  const { kubeconfig, server, env } = options;
  if (kubeconfig !== undefined) return readKubeconfig(kubeconfig);
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
  const cluster = {
    name: 'in-cluster',
    server: url,
    skipTLSVerify: false,
    caFile: join(directory, 'ca.crt'),
  };
  return { cluster, user: { name: 'service-account' }, tokenFile: join(directory, 'token') };
}

async function readKubeconfig(file: string): Promise<Source> {
  const refuse = (problem: string, cause?: unknown) =>
    new ApiConfigurationError(`Cannot use kubeconfig ${file}: ${problem}`, { cause });
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
    throw refuse(messageOf(error), error);
  }
  const current = textIn(raw, 'current-context');
  const context = contexts.find(({ name }) => name === current);
  if (!context) throw refuse(`current-context ${current ?? '(none)'} is not in it`);
  const cluster = clusters.find(({ name }) => name === context.cluster);
  if (!cluster) throw refuse(`cluster ${context.cluster} is not in it`);
  const user = users.find(({ name }) => name === context.user) ?? { name: 'anonymous' };
  // client-node knows neither `tokenFile`, which kubeadm writes for kube-proxy, nor that paths start at the file.
  const rawUser = listIn(raw, 'users').find((each) => asObject(each)?.name === user.name);
  const tokenFile = textIn(objectIn(asObject(rawUser) ?? {}, 'user'), 'tokenFile');
  const absolute = (path: string) => resolve(dirname(file), path);
  return {
    cluster: { ...cluster, ...(cluster.caFile && { caFile: absolute(cluster.caFile) }) },
    user: {
      ...user,
      ...(user.certFile && { certFile: absolute(user.certFile) }),
      ...(user.keyFile && { keyFile: absolute(user.keyFile) }),
    },
    tokenFile: tokenFile === undefined ? null : absolute(tokenFile),
  };
}

/** The contents of all files of a source. */
export async function readFiles(source: Source): Promise<Loaded> {
  const { cluster, user, tokenFile } = source;
  const fileOr = async (file: string | null | undefined, base64: string | null | undefined) => {
    if (file) return readFile(file, 'utf8');
    return base64 ? Buffer.from(base64, 'base64').toString('utf8') : null;
  };
  return {
    ...source,
    ca: await fileOr(cluster.caFile, cluster.caData),
    cert: await fileOr(user.certFile, user.certData),
    key: await fileOr(user.keyFile, user.keyData),
    token: tokenFile === null ? (user.token ?? null) : (await readFile(tokenFile, 'utf8')).trim(),
  };
}

/** Of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
