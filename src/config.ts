import * as v from 'valibot';
import { loadBalancer } from './config-load-balancer.ts';
import {
  address,
  apiServer,
  bindAddress,
  bit,
  cidr,
  count,
  detectLocal,
  interfaceName,
  markBase,
  policies,
  primaryOrRanges,
  scheduler,
  seconds,
  share,
  tableName,
} from './config-values.ts';
import { connectionSync, vrrp } from './config-vrrp.ts';
import { suggestion } from './model/suggestion.ts';

/** The configuration file; each default with its unit and reason. */
const schema = v.strictObject({
  apiVersion: v.optional(v.literal('svcplane.io/v1alpha1'), 'svcplane.io/v1alpha1'),
  kind: v.optional(v.literal('SvcplaneConfiguration'), 'SvcplaneConfiguration'),
  /** Empty: NODE_NAME, else the host name, as the kubelet does. */
  nodeName: v.optional(v.string(), ''),
  /** Replaces the addresses of the Node object. */
  nodeAddresses: v.optional(v.array(address), []),
  /** Empty: in-cluster. */
  kubeconfig: v.optional(v.string(), ''),
  /** Empty: as the kubeconfig or the cluster says, which a node without Services may not reach. */
  apiServer: v.optional(apiServer, ''),
  /** Files or directories instead of an API server. */
  manifests: v.optional(v.array(v.string()), []),
  interface: v.optional(interfaceName, 'svcplane0'),
  /** Survives restarts and reboots; the ledger in it is void after a reboot by itself. */
  stateDirectory: v.optional(v.string(), '/var/lib/svcplane'),
  /** kube-proxy's default, and fair for equal endpoints. */
  scheduler: v.optional(scheduler, 'rr'),
  /** One address each is what `ip addr` shows and users compare; one route per range scales further. */
  clusterIPs: v.optional(v.picklist(['bind', 'route']), 'bind'),
  /** Empty: from the ServiceCIDR objects. */
  serviceCIDRs: v.optional(v.array(cidr), []),
  /** Pod ranges; empty: the Node's podCIDRs. */
  clusterCIDRs: v.optional(v.array(cidr), []),
  detectLocal: v.optional(detectLocal, 'clusterCIDR'),
  /** Ours by name: whatever is in it is replaced. */
  nftablesTable: v.optional(tableName, 'svcplane'),
  masqueradeAll: v.optional(v.boolean(), false),
  /** Bit of the connection mark for what is masqueraded; kube-proxy's 14 is one of the packet mark. */
  masqueradeBit: v.optional(bit, 27),
  /** Upper byte of the packet marks for inside clients of policy-Local frontends; the lower bits tell frontends apart. */
  firewallMarkBase: v.optional(markBase, 0x53000000),
  /** allowAll because that is what Kubernetes promises; a shared cluster wants allowList (CVE-2020-8554). */
  externalIPs: v.optional(
    v.strictObject({ policy: v.optional(policies, 'allowAll'), ranges: v.optional(v.array(cidr), []) }),
    {},
  ),
  /** Empty: every address of the node that is fit for it. */
  nodePortAddresses: v.optional(primaryOrRanges, []),
  /** Virtual servers in these ranges are somebody else's. */
  excludeCIDRs: v.optional(v.array(cidr), []),
  strictARP: v.optional(v.union([v.literal('auto'), v.boolean()]), 'auto'),
  socketLoadBalancer: v.optional(
    v.strictObject({
      mode: v.optional(v.picklist(['auto', 'on', 'off', 'hostOnly']), 'auto'),
      cgroup: v.optional(v.string(), ''),
    }),
    {},
  ),
  /** Announcing addresses of load balancers from one node at a time. */
  vrrp: v.optional(vrrp, {}),
  /** What other nodes know of the connections of this one. */
  connectionSync: v.optional(connectionSync, {}),
  /** None, for pods answer clients by the node they are on: this is for endpoints that route back through the holder. */
  keepSourceCIDRs: v.optional(v.array(cidr), []),
  /** Of `lb-controller` alone. */
  loadBalancer: v.optional(loadBalancer, {}),
  /** Twice the default grace period of a pod: its connections end with the pod, so waiting longer is in vain. */
  drainTimeoutSeconds: v.optional(seconds, 60),
  /** A Service that is gone lets its connections end too. */
  drainDeletedServices: v.optional(v.boolean(), true),
  audit: v.optional(
    v.strictObject({ intervalSeconds: v.optional(seconds, 30), repair: v.optional(v.boolean(), true) }),
    {},
  ),
  guard: v.optional(
    v.strictObject({
      maxDeleteShare: v.optional(share, 0.5),
      minDeletes: v.optional(count, 10),
      holdSeconds: v.optional(seconds, 300),
    }),
    {},
  ),
  /** kube-proxy's, because load balancers of clouds ask there. */
  healthzBindAddress: v.optional(bindAddress(10256), '0.0.0.0:10256'),
  /** kube-proxy's; not for everyone, because names of Services are in it. */
  metricsBindAddress: v.optional(bindAddress(10249), '127.0.0.1:10249'),
  metrics: v.optional(
    v.strictObject({
      /** Off: some ten series for each virtual server. */
      virtualServers: v.optional(v.boolean(), false),
      maxVirtualServers: v.optional(count, 1000),
    }),
    {},
  ),
  /** Unix socket of the local questions, for root alone; empty: none. */
  socket: v.optional(v.string(), '/run/svcplane/svcplane.sock'),
  /** What an operator must know is told on the objects themselves, where `kubectl describe` shows it. */
  events: v.optional(v.boolean(), true),
  log: v.optional(
    v.strictObject({ level: v.optional(v.picklist(['trace', 'debug', 'info', 'warn', 'error']), 'info') }),
    {},
  ),
});

/** What svcplane runs with: read once, then readonly. */
export type Config = v.InferOutput<typeof schema>;

/** Where in a document: keys of mappings and places in lists, from the outside in. */
export type ConfigPath = readonly (string | number)[];

/** One thing that is wrong with a configuration. */
export interface ConfigProblem {
  readonly path: ConfigPath;
  /** What is wrong, as it reads after the name of the key: `is 2, expected at most 1`. */
  readonly text: string;
}

/** A configuration that can't be used. `message` is one line that names every offending key. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Validates a configuration, filling in defaults; or says all that is wrong with it. */
export function checkConfig(
  input: unknown,
): { readonly config: Config } | { readonly problems: readonly ConfigProblem[] } {
  const result = v.safeParse(schema, input);
  return result.success ? { config: result.output } : { problems: result.issues.map(problemOf) };
}

/**
 * Validates a configuration, filling in defaults.
 * @param source what the input came from, for the message: a file name, or `flags`
 * @throws ConfigError naming every offending key
 */
export function parseConfig(input: unknown, source: string): Config {
  const checked = checkConfig(input);
  if ('config' in checked) return checked.config;
  const texts = checked.problems.map(({ path, text }) => `${nameOfPath(path)} ${text}`);
  throw new ConfigError(`Cannot use ${source}: ${texts.join('; ')}`);
}

/** A path as it is written in messages: `guard.maxDeleteShare`. */
export function nameOfPath(path: ConfigPath): string {
  return path.length === 0 ? 'the document' : path.join('.');
}

/** Every key that can be written, in full; the keys of a group after the group. */
export function configKeys(): readonly string[] {
  return Object.entries(v.parse(schema, {})).flatMap(([key, value]) =>
    typeof value === 'object' && !Array.isArray(value)
      ? [key, ...Object.keys(value).map((inner) => `${key}.${inner}`)]
      : [key],
  );
}

function problemOf(issue: v.BaseIssue<unknown>): ConfigProblem {
  const path = (issue.path ?? []).flatMap(({ key }) =>
    typeof key === 'string' || typeof key === 'number' ? key : [],
  );
  return { path, text: textOf(issue, path) };
}

function textOf(issue: v.BaseIssue<unknown>, path: ConfigPath): string {
  if (issue.kind === 'schema' && issue.expected === 'never') {
    return `is not a known key${suggestion(nameOfPath(path), configKeys())}`;
  }
  if (issue.kind === 'schema') return `is ${issue.received}, expected ${issue.expected}`;
  return issue.message;
}
