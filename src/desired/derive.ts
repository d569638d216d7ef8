import type { ClusterFacts, EndpointSliceFacts, ServiceFacts } from '../cluster/facts.ts';
import { type IpAddress, parseIpAddress } from '../model/address.ts';
import { type Cidr, cidrContains, formatCidr, specialAddress } from '../model/cidr.ts';
import type { DesiredState, HealthCheck, PodRanges } from '../model/desired-state.ts';
import { compareRejected, compareText, type Rejected } from '../model/rejected.ts';
import { compareIdentities } from '../model/virtual-server.ts';
import { type Claim, settleClaims } from './conflicts.ts';
import { frontendsOf, type NodeContext, type ServiceFrontends } from './frontends.ts';
import { assignMarks } from './marks.ts';
import type { DeriveOptions } from './options.ts';

/** A desired state with what makes the next derivation cheap. */
export interface Derivation {
  readonly desired: DesiredState;
  readonly context: NodeContext;
  readonly perService: ReadonlyMap<string, DerivedService>;
}

/** As much of a derivation as the next one looks at. */
export type PreviousDerivation = Pick<Derivation, 'context' | 'perService'>;

/** What one Service means by itself, and what that follows from. */
export interface DerivedService {
  readonly service: ServiceFacts;
  readonly slices: readonly EndpointSliceFacts[];
  readonly frontends: ServiceFrontends;
}

const NO_SLICES: readonly EndpointSliceFacts[] = [];

/**
 * The whole meaning of Services on one node: a pure function of facts and options.
 * A Service whose facts, slices and node context are the *same objects* as in `previous` keeps its very
 * virtual servers, so that comparing with them costs nothing.
 * @param context from {@link nodeContext}
 */
export function derive(facts: ClusterFacts, context: NodeContext, previous?: PreviousDerivation): Derivation {
  const perService = new Map<string, DerivedService>();
  const claims: Claim[] = [];
  const healthChecks: HealthCheck[] = [];
  const rejected: Rejected[] = [...facts.rejected];
  for (const [key, service] of facts.services) {
    const derived = deriveService(key, service, facts, context, previous);
    perService.set(key, derived);
    for (const virtualServer of derived.frontends.virtualServers) claims.push({ service, virtualServer });
    for (const reason of derived.frontends.refused) rejected.push({ subject: `Service ${key}`, reason });
    if (derived.frontends.healthCheck) healthChecks.push(derived.frontends.healthCheck);
  }
  const settled = settleClaims(claims);
  const ordered = [...settled.virtualServers].sort(([, a], [, b]) =>
    compareIdentities({ kind: 'address', ...a }, { kind: 'address', ...b }),
  );
  const desired: DesiredState = {
    node: context.node,
    virtualServers: new Map(ordered),
    insideMarks: assignMarks(
      ordered.map(([, server]) => server),
      context.firewallMarkBase,
    ),
    healthChecks: healthChecks.sort((a, b) => compareText(a.service, b.service)),
    serviceCIDRs: context.serviceCIDRs,
    podRanges: context.podRanges,
    nodeAddresses: [...context.ownAddresses],
    otherNodes: context.otherNodes,
    hostAddresses: context.hostAddresses,
    rejected: [...rejected, ...settled.rejected, ...rejectedRanges(facts, context)].sort(compareRejected),
  };
  return { desired, context, perService };
}

/** One Service: as in `previous` if its facts, slices and node context are the same objects. @param key its name */
export function deriveService(
  key: string,
  service: ServiceFacts,
  facts: Pick<ClusterFacts, 'slices'>,
  context: NodeContext,
  previous: PreviousDerivation | undefined,
): DerivedService {
  const slices = facts.slices.get(key) ?? NO_SLICES;
  const before = previous?.context === context ? previous.perService.get(key) : undefined;
  if (before?.service === service && before.slices === slices) return before;
  return { service, slices, frontends: frontendsOf(service, slices, context) };
}

/** Said only where somebody asks for NodePorts. */
function rejectedRanges({ services }: ClusterFacts, { loopbackRanges }: NodeContext): readonly Rejected[] {
  const isAsked = [...services.values()].some(({ ports }) => ports.some(({ nodePort }) => nodePort !== null));
  if (!isAsked) return [];
  return loopbackRanges.map((range) => ({
    subject: `nodePortAddresses ${formatCidr(range)}`,
    reason:
      `NodePort on ${range.family === 'IPv4' ? '127.0.0.1' : '::1'} is not IPVS's to give (the kernel routes no ` +
      'loopback source across links); the socket load balancer serves it',
  }));
}

/**
 * What the node itself adds: its addresses from options first, then from the Node object and the host; the ranges of
 * ClusterIPs from the ServiceCIDR objects first, for those grow while a cluster runs.
 */
export function nodeContext(facts: ClusterFacts, options: DeriveOptions): NodeContext {
  const own = options.nodeAddresses ?? facts.node?.addresses ?? options.hostAddresses;
  return {
    node: options.node,
    zone: facts.node?.zone ?? null,
    scheduler: options.scheduler,
    externalIPs: options.externalIPs,
    serviceCIDRs: facts.serviceCIDRs.length > 0 ? facts.serviceCIDRs : options.serviceCIDRs,
    nodePortAddresses: nodePortAddresses(facts, options),
    loopbackRanges: loopbackRanges(options),
    ownAddresses: new Set([...own, ...options.hostAddresses]),
    hostAddresses: options.followHost
      ? new Set([...(options.nodeAddresses ?? []), ...options.hostAddresses])
      : null,
    otherNodes: facts.otherNodes,
    podRanges: podRanges(facts, options),
    firewallMarkBase: options.firewallMarkBase,
  };
}

function podRanges(facts: ClusterFacts, { clusterCIDRs }: DeriveOptions): PodRanges {
  const node = facts.node?.podCIDRs ?? [];
  return { cluster: clusterCIDRs.length > 0 ? clusterCIDRs : node, node };
}

function nodePortAddresses(
  { node }: ClusterFacts,
  { nodePortAddresses: wanted, nodeAddresses, hostAddresses, followHost = false }: DeriveOptions,
): readonly IpAddress[] {
  if (wanted === 'primary') return nodeAddresses ?? node?.addresses ?? [];
  const usable = (addresses: readonly IpAddress[]) =>
    addresses.filter((address) => specialAddress(address) === undefined);
  if (wanted.length > 0) {
    const known = nodeAddresses ?? [...new Set([...(node?.addresses ?? []), ...hostAddresses])];
    return usable(known).filter((address) => wanted.some((range) => cidrContains(range, address)));
  }
  return usable(nodeAddresses ?? (followHost ? hostAddresses : (node?.addresses ?? hostAddresses)));
}

const LOOPBACK = ['127.0.0.1', '::1'].flatMap((text) => parseIpAddress(text) ?? []);

/** The ranges within loopback, or around it. */
function loopbackRanges({ nodePortAddresses: wanted }: DeriveOptions): readonly Cidr[] {
  if (wanted === 'primary') return [];
  return wanted.filter(
    (range) =>
      specialAddress(range.network) === 'loopback' ||
      LOOPBACK.some((address) => cidrContains(range, address)),
  );
}

/** The meaning of Services whose own meanings are known. */
export function deriveFrom(
  perService: ReadonlyMap<string, DerivedService>,
  context: NodeContext,
  rejected: readonly Rejected[],
) {
  const services = new Map<string, ServiceFacts>();
  const slices = new Map<string, readonly EndpointSliceFacts[]>();
  for (const [name, derived] of perService) {
    services.set(name, derived.service);
    slices.set(name, derived.slices);
  }
  const facts = { services, slices, node: null, otherNodes: new Map(), serviceCIDRs: [], rejected };
  return derive(facts, context, { context, perService });
}
