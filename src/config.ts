import * as v from 'valibot';
import {
  address,
  bit,
  cidr,
  detectLocal,
  interfaceName,
  markBase,
  policies,
  primaryOrRanges,
  scheduler,
  seconds,
  tableName,
} from './config-values.ts';

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
      maxDeleteShare: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(1)), 0.5),
      minDeletes: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0)), 10),
      holdSeconds: v.optional(seconds, 300),
    }),
    {},
  ),
  healthzBindAddress: v.optional(v.string(), '0.0.0.0:10256'),
  metricsBindAddress: v.optional(v.string(), '127.0.0.1:10249'),
  log: v.optional(
    v.strictObject({ level: v.optional(v.picklist(['trace', 'debug', 'info', 'warn', 'error']), 'info') }),
    {},
  ),
});

/** What svcplane runs with: read once, then readonly. */
export type Config = v.InferOutput<typeof schema>;

/** A configuration that can't be used. `message` is one line that names the key and its value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Validates a configuration, filling in defaults.
 * @param source what the input came from, for the message: a file name, or `flags`
 * @throws ConfigError naming every offending key
 */
export function parseConfig(input: unknown, source: string): Config {
  const result = v.safeParse(schema, input);
  if (result.success) return result.output;
  throw new ConfigError(`Cannot use ${source}: ${result.issues.map(issueText).join('; ')}`);
}

function issueText(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? 'the document';
  if (issue.kind === 'schema' && issue.expected === 'never') return `${path} is not a known key`;
  if (issue.type === 'picklist' || issue.type === 'literal' || issue.type === 'union') {
    return `${path} is ${issue.received}, expected ${issue.expected}`;
  }
  return `${path} ${issue.kind === 'schema' ? `is ${issue.received}, expected ${issue.expected}` : issue.message}`;
}
