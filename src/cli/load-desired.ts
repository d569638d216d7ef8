import type { WatchState } from '../cluster/api-kind-watch.ts';
import { decodeObjects } from '../cluster/decode.ts';
import type { ClusterFacts } from '../cluster/facts.ts';
import type { Config } from '../config.ts';
import { type Derivation, derive, nodeContext } from '../desired/derive.ts';
import type { DeriveOptions } from '../desired/options.ts';
import type { IpAddress } from '../model/address.ts';
import type { Rejected } from '../model/rejected.ts';
import { type CliContext, UsageError } from './context.ts';

export interface LoadedDesired {
  readonly facts: ClusterFacts;
  readonly derivation: Derivation;
}

/** The name under which this machine is a Node: configuration, NODE_NAME, host name in lower case as of the kubelet. */
export function nodeNameOf(config: Config, context: CliContext): string {
  return config.nodeName || context.env.NODE_NAME || context.hostname.toLowerCase();
}

/**
 * Reads the manifests and derives what this node should do. What was passed over is said on standard error.
 * @param hostAddresses addresses of this host's links, empty where the host is not looked at
 * @param followHost see DeriveOptions
 */
export async function loadDesired(
  context: CliContext,
  config: Config,
  hostAddresses: readonly IpAddress[],
  followHost = false,
): Promise<LoadedDesired> {
  requireSource(context, config);
  const facts = await readFacts(context, config);
  return { facts, derivation: deriveNode(context, config, facts, { hostAddresses, followHost }) };
}

/**
 * Reads the manifests, or lists what the API server has. What was passed over is said on standard error.
 * @throws as readManifests, or Error of one line if the API server does not answer
 */
export async function readFacts(context: CliContext, config: Config): Promise<ClusterFacts> {
  return config.manifests.length > 0 ? readFiles(context, config) : listCluster(context, config);
}

/** As of one moment. Whoever asks once does not wait for an API server that is away. */
async function listCluster(context: CliContext, config: Config): Promise<ClusterFacts> {
  using cluster = await context.openCluster(config, nodeNameOf(config, context));
  const failed = new AbortController();
  const onState = ({ state, error }: WatchState) => {
    if (state === 'failing') failed.abort(error);
  };
  for await (const _ of cluster.watch({ onState }, AbortSignal.any([context.signal, failed.signal]))) break;
  context.signal.throwIfAborted();
  failed.signal.throwIfAborted();
  return cluster.store.facts;
}

async function readFiles(context: CliContext, config: Config): Promise<ClusterFacts> {
  const { objects, skipped, rejected } = await context.readManifests(config.manifests, context.signal);
  const node = nodeNameOf(config, context);
  const otherNodes = objects.filter(({ kind }) => kind === 'Node').length;
  const decoded = decodeObjects(
    objects.map(({ object }) => object),
    node,
  );
  const facts = { ...decoded, rejected: [...rejected, ...decoded.rejected] };
  const kinds = [...skipped].map(([kind, count]) => `${count} ${kind}`);
  if (kinds.length > 0) context.err(`skipped: ${kinds.join(', ')} (kinds that svcplane does not read)\n`);
  if (!facts.node && otherNodes > 0) {
    context.err(
      `note: no Node object is named ${node} (other Nodes read: ${otherNodes}): name this node with --node\n`,
    );
  }
  return facts;
}

/** What this node should do, by facts, configuration and what is known of the host. */
export function deriveNode(
  context: CliContext,
  config: Config,
  facts: ClusterFacts,
  host: HostFacts,
): Derivation {
  return derive(facts, nodeContext(facts, deriveOptionsOf(context, config, host)));
}

/** What is known of the host. */
export type HostFacts = Required<Pick<DeriveOptions, 'hostAddresses' | 'followHost'>>;

/** What an operator and the host decide about the meaning of Services here. */
export function deriveOptionsOf(context: CliContext, config: Config, host: HostFacts): DeriveOptions {
  const node = nodeNameOf(config, context);
  return { ...config, ...host, node, nodeAddresses: nonEmpty(config.nodeAddresses) };
}

/** Asked before anything is opened, so that the missing flag is what is said. */
export function requireSource({ env }: Pick<CliContext, 'env'>, config: Config): void {
  const { manifests, kubeconfig, apiServer } = config;
  if (manifests.length > 0 || kubeconfig !== '' || apiServer !== '' || env.KUBERNETES_SERVICE_HOST) return;
  throw new UsageError(
    'Nothing to read: name files with -f PATH, an API server with --kubeconfig FILE, or either in --config FILE',
  );
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | null {
  return list.length > 0 ? list : null;
}

/** Says on standard error what is served more widely than its owners may think. */
export function warnOfExposure(context: CliContext, config: Config, facts: ClusterFacts): void {
  for (const warning of exposureWarning(config, facts)) context.err(`${warning}\n`);
}

/** At most one line. */
export function exposureWarning(config: Config, facts: ClusterFacts): readonly string[] {
  if (config.externalIPs.policy !== 'allowAll') return [];
  const services = [...facts.services.values()];
  const claimants = services.filter(({ externalIPs }) => externalIPs.length > 0).length;
  if (claimants === 0) return [];
  return [
    `warning: externalIPs are served wherever they point (Services: ${claimants}; CVE-2020-8554): ` +
      'set externalIPs.policy to allowList or deny',
  ];
}

/** How many rejections are listed before the rest is only counted. */
const LISTED = 50;

/** Lists what is not served, and why, on standard error. */
export function reportRejected(context: CliContext, rejected: readonly Rejected[]): void {
  const lines = rejected.slice(0, LISTED).map(({ subject, reason }) => `rejected: ${subject}: ${reason}\n`);
  if (rejected.length > LISTED) {
    lines.push(`rejected: ${rejected.length - LISTED} more; snapshot --desired -o json lists all\n`);
  }
  context.err(lines.join(''));
}
