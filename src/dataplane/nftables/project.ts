import { compareAddresses, familyOf, type IpAddress, type IpFamily } from '../../model/address.ts';
import { type Cidr, cidrContains, hostRange } from '../../model/cidr.ts';
import type { DesiredState, PodRanges } from '../../model/desired-state.ts';
import type { Rejected } from '../../model/rejected.ts';
import type { RealServer, VirtualServer } from '../../model/virtual-server.ts';
import { atOnce, type Pieces, type Projection } from '../dataplane.ts';
import { rangeText } from './keys.ts';
import type { ElementRow, NftablesRows, RuleRow, SetRow } from './rows.ts';
import { isLinkPattern, type PodDetection, type RulesetOptions } from './rules.ts';
import { ruleset } from './ruleset.ts';
import { declarationOf, SET_NAMES, type SetBase, type SetName, setName } from './sets.ts';
import { declarationText, hookText, ruleDigest, ruleText } from './text.ts';

export interface NftablesOptions
  extends Pick<RulesetOptions, 'masqueradeAll' | 'masqueradeBit' | 'firewallMarkBase'> {
  /** Name of our table of family inet. */
  readonly table: string;
  /** `clusterCIDR`, `nodeCIDR`, `interfacePrefix:NAME` or `bridge:NAME`. */
  readonly detectLocal: string;
  /** Frontends in these ranges are served by others. */
  readonly excludeCIDRs: readonly Cidr[];
  /** Outside clients of addresses in these ranges keep their source, with policy Cluster, too. */
  readonly keepSourceCIDRs: readonly Cidr[];
}

/** The table that `desired` means; none where nothing is served. */
export function project(desired: DesiredState, options: NftablesOptions): Projection<NftablesRows> {
  return atOnce(projecting(desired, options));
}

/** {@link project} in pieces. */
export function* projecting(
  desired: DesiredState,
  options: NftablesOptions,
): Pieces<Projection<NftablesRows>> {
  const sets = new ElementSets();
  const ranges = closableRanges(desired, options.excludeCIDRs);
  addRanges(sets, ranges, desired.podRanges);
  for (const range of outermost(options.keepSourceCIDRs)) {
    sets.add('keep-source', range.family, rangeText(range), 'keepSourceCIDRs');
  }
  const served = [...desired.virtualServers.values()].filter((server) => isServed(server, options));
  for (const virtualServer of served) {
    yield;
    addFrontend(sets, virtualServer, desired);
  }
  yield* addAddresses(sets, served, ranges);
  const detection = detectionOf(options.detectLocal);
  const knownPods = (['IPv4', 'IPv6'] as const).filter(
    (family) => detection.by === 'sources' && sets.has(detection.of, family),
  );
  const keepSource = (['IPv4', 'IPv6'] as const).filter((family) => sets.has('keep-source', family));
  const { masqueradeAll, masqueradeBit, firewallMarkBase } = options;
  const ruleset = { detection, knownPods, masqueradeAll, keepSource, masqueradeBit, firewallMarkBase };
  return {
    rows: {
      table: options.table,
      exists: served.length > 0,
      sets: sets.rows(),
      chains: chainRows(ruleset),
      others: [],
      ruleset,
    },
    refused: refusals(desired, detection),
  };
}

/** Whether the table has anything of this virtual server. */
export function isServed(
  { address, otherNode }: VirtualServer,
  { excludeCIDRs }: Pick<NftablesOptions, 'excludeCIDRs'>,
): boolean {
  return otherNode === null && !excludeCIDRs.some((range) => cidrContains(range, address));
}

/** Elements by set while they are gathered; the first reason given for one stands. */
class ElementSets {
  readonly #elements = new Map<SetName, Map<string, ElementRow>>();

  add(base: SetBase, family: IpFamily, key: string, reason: string, mark: number | null = null): void {
    const name = setName(base, family);
    const elements = this.#elements.get(name) ?? new Map<string, ElementRow>();
    if (elements.size === 0) this.#elements.set(name, elements);
    if (!elements.has(key)) elements.set(key, { mark, reason });
  }

  has(base: SetBase, family: IpFamily): boolean {
    return this.#elements.has(setName(base, family));
  }

  rows(): ReadonlyMap<SetName, SetRow> {
    return new Map(
      [...emptySets()].map(([name, row]) => [
        name,
        { ...row, elements: this.#elements.get(name) ?? row.elements },
      ]),
    );
  }
}

/** Every set of the table, without elements. */
export function emptySets(): ReadonlyMap<SetName, SetRow> {
  return new Map(
    SET_NAMES.map((name) => [
      name,
      { declaration: declarationText(declarationOf(name)), elements: new Map<string, ElementRow>() },
    ]),
  );
}

function addRanges(sets: ElementSets, serviceCIDRs: readonly Cidr[], podRanges: PodRanges): void {
  const add = (base: SetBase, ranges: readonly Cidr[], reason: string): void => {
    for (const range of outermost(ranges)) sets.add(base, range.family, rangeText(range), reason);
  };
  add('cluster-ips', serviceCIDRs, 'ServiceCIDR');
  add('pods', podRanges.cluster, 'clusterCIDRs or Node podCIDRs');
  add('node-pods', podRanges.node, 'Node podCIDRs');
}

/**
 * Not a range that the node itself has an address in, for its own ports would be closed; nor one that others serve a
 * part of.
 */
function closableRanges(
  { serviceCIDRs, nodeAddresses }: DesiredState,
  excludeCIDRs: readonly Cidr[],
): readonly Cidr[] {
  return serviceCIDRs.filter(
    (range) =>
      !nodeAddresses.some((address) => cidrContains(range, address)) &&
      !excludeCIDRs.some(({ network }) => cidrContains(range, network)) &&
      !excludeCIDRs.some((excluded) => cidrContains(excluded, range.network)),
  );
}

/** The addresses that are local for Services alone. One that is a ClusterIP, too, counts as that. */
function* addAddresses(
  sets: ElementSets,
  served: readonly VirtualServer[],
  serviceCIDRs: readonly Cidr[],
): Pieces<void> {
  const clusterIPs = new Set<IpAddress>();
  for (const { address, exposure, bindAddress, origin } of served) {
    yield;
    if (exposure !== 'ClusterIP' || !bindAddress) continue;
    clusterIPs.add(address);
    const inRange = serviceCIDRs.some((range) => cidrContains(range, address));
    if (!inRange) sets.add('cluster-ips', familyOf(address), address, origin);
  }
  for (const { address, exposure, bindAddress, origin } of served) {
    if (exposure === 'ClusterIP' || !bindAddress || clusterIPs.has(address)) continue;
    sets.add('vips', familyOf(address), address, origin);
  }
}

function addFrontend(sets: ElementSets, virtualServer: VirtualServer, desired: DesiredState): void {
  const { key, address, exposure, trafficPolicy, realServers, origin } = virtualServer;
  const family = familyOf(address);
  const frontend = frontendText(virtualServer);
  const inside = virtualServer.insideRealServers ?? [];
  if (exposure !== 'ClusterIP' && trafficPolicy === 'Cluster') {
    sets.add('masquerade', family, frontend, origin);
  }
  if (realServers.length === 0) sets.add('empty', family, frontend, origin);
  const mark = desired.insideMarks.get(key);
  if (mark !== undefined && inside.length > 0) sets.add('inside-marks', family, frontend, origin, mark);
  addSourceRanges(sets, virtualServer, desired.nodeAddresses);
  addHairpins(sets, family, [...realServers, ...inside], desired.podRanges.node);
}

function addSourceRanges(
  sets: ElementSets,
  virtualServer: VirtualServer,
  nodeAddresses: readonly IpAddress[],
): void {
  const { address, sourceRanges, origin } = virtualServer;
  if (sourceRanges === null) return;
  const family = familyOf(address);
  const frontend = frontendText(virtualServer);
  const reason = `${origin}, loadBalancerSourceRanges`;
  sets.add('restricted', family, frontend, reason);
  // The node sends from the VIP itself, unless it is told otherwise.
  const nodeIsInside = nodeAddresses.some((own) => sourceRanges.some((range) => cidrContains(range, own)));
  const allowed = outermost(nodeIsInside ? [...sourceRanges, hostRange(address)] : sourceRanges);
  for (const range of allowed) sets.add('allowed', family, `${frontend} . ${rangeText(range)}`, reason);
}

/** An endpoint that nobody has given a node is here, too, if its address is one of this node's pods. */
function addHairpins(
  sets: ElementSets,
  family: IpFamily,
  realServers: readonly RealServer[],
  nodePods: readonly Cidr[],
): void {
  for (const { address, local, origin } of realServers) {
    const here = local || nodePods.some((range) => cidrContains(range, address));
    if (here) sets.add('hairpin', family, `${address} . ${address}`, origin);
  }
}

/** `10.0.0.1 . tcp . 80`, the key of a frontend in every set that has such. */
export function frontendText({
  address,
  protocol,
  port,
}: Pick<VirtualServer, 'address' | 'protocol'> & { readonly port: number }): string {
  return `${address} . ${protocol.toLowerCase()} . ${port}`;
}

/** Without those that lie in another: the kernel refuses elements that overlap. In numeric order. */
export function outermost(ranges: readonly Cidr[]): readonly Cidr[] {
  const sorted = [...ranges].sort(
    (a, b) => compareAddresses(a.network, b.network) || a.prefixLength - b.prefixLength,
  );
  const kept: Cidr[] = [];
  for (const range of sorted) {
    // Ranges are nested or apart, and the wider of two with one network comes first.
    const last = kept.at(-1);
    if (!last || !cidrContains(last, range.network)) kept.push(range);
  }
  return kept;
}

/**
 * What `detectLocal` means.
 * @throws RangeError if it names a link that can't be, or that nft(8) would take for a pattern
 */
export function detectionOf(detectLocal: string): PodDetection {
  const [how, name = ''] = detectLocal.split(/:(.*)/s);
  if (how === 'nodeCIDR' || how === 'clusterCIDR') {
    return { by: 'sources', of: how === 'nodeCIDR' ? 'node-pods' : 'pods' };
  }
  const detection: PodDetection = { by: 'link', name: how === 'interfacePrefix' ? `${name}*` : name };
  if (/[*]/.test(name) || !isLinkPattern(detection.name)) {
    throw new RangeError(
      `Cannot detect pods by ${detectLocal}: ${JSON.stringify(name)} is no name of a link`,
    );
  }
  return detection;
}

function refusals(desired: DesiredState, detection: PodDetection): readonly Rejected[] {
  if (detection.by === 'link' || desired.insideMarks.size === 0 || desired.podRanges.node.length > 0)
    return [];
  const reason =
    'the podCIDRs of this Node are not known, so its pods count as outside clients where the policy is Local; ' +
    'give the Node object, or detectLocal by interface';
  return [{ subject: 'externalTrafficPolicy Local', reason }];
}

/** The chains that {@link ruleset} gives, as rows; the same again for the same options, as in sync after sync. */
export function chainRows(options: RulesetOptions): NftablesRows['chains'] {
  const text = JSON.stringify(options);
  if (lastChains?.of !== text) lastChains = { of: text, chains: renderedChains(options) };
  return lastChains.chains;
}

let lastChains: { readonly of: string; readonly chains: NftablesRows['chains'] } | undefined;

function renderedChains(options: RulesetOptions): NftablesRows['chains'] {
  return new Map(
    ruleset(options).map(({ name, hook, rules }) => [
      name,
      {
        declaration: hookText(hook),
        rules: rules.map((rule): RuleRow => {
          return { name: rule.name, digest: ruleDigest(ruleText(rule, options)), rule };
        }),
      },
    ]),
  );
}
