import { compareAddresses, familyOf, type IpAddress, type IpFamily } from '../model/address.ts';
import type { VirtualServerKey } from '../model/virtual-server.ts';
import { keyOf } from '../snapshot/canonical.ts';
import type { Snapshot } from '../snapshot/snapshot.ts';
import { setsOf } from './iptables-save.ts';
import type { KubeProxyTraces } from './leftovers.ts';

/** What it takes to leave a node to a kube-proxy that runs on it again. */
export interface HandBack {
  /** Our ClusterIPs that kube-proxy has not bound: it does not serve the node yet. Sorted. */
  readonly unserved: readonly IpAddress[];
  /** Families of our ClusterIPs for which kube-proxy has not written its rules, as far as they can be looked at. Sorted. */
  readonly unmasqueraded: readonly IpFamily[];
  /** Addresses on our link that kube-proxy does not bind as long as they are there. Sorted. */
  readonly moves: readonly IpAddress[];
  /** Firewall-mark virtual servers that stay for their connections, with how many these are. */
  readonly busyMarks: ReadonlyMap<VirtualServerKey, number>;
}

/**
 * kube-proxy binds every ClusterIP, wherever else it is, but no external address that another link has. Nothing marks
 * packets once our table is gone, and connections through a mark live by its virtual server alone.
 * @param observed virtual servers with owners and connections, and the addresses on our link
 */
export function planHandBack(
  observed: Snapshot,
  { link, iptables }: Pick<KubeProxyTraces, 'link' | 'iptables'>,
): HandBack {
  const families = new Set<IpFamily>();
  const unserved = new Set<IpAddress>();
  const external = new Set<IpAddress>();
  for (const row of observed.virtualServers) {
    if (row.owner !== 'svcplane' || row.address === null) continue;
    if (row.exposure === 'ClusterIP') {
      families.add(familyOf(row.address));
      if (!link?.has(row.address)) unserved.add(row.address);
    } else if (row.exposure !== 'NodePort' && !link?.has(row.address)) external.add(row.address);
  }
  return {
    unserved: [...unserved].sort(compareAddresses),
    unmasqueraded: [...families].filter((family) => lacksRules(iptables, family)).sort(),
    moves: observed.addresses.filter((address) => external.has(address)),
    busyMarks: connectionsOfMarks(observed).established,
  };
}

/** What our firewall-mark virtual servers are still there for; those without connections are in neither. */
export interface MarkConnections {
  /** Those with established connections, with how many. */
  readonly established: ReadonlyMap<VirtualServerKey, number>;
  /** Those with connections of which none is established: they open, or close. */
  readonly others: ReadonlySet<VirtualServerKey>;
}

/** @param observed virtual servers with owners and connections */
export function connectionsOfMarks({ virtualServers }: Pick<Snapshot, 'virtualServers'>): MarkConnections {
  const established = new Map<VirtualServerKey, number>();
  const others = new Set<VirtualServerKey>();
  for (const row of virtualServers) {
    if (row.owner !== 'svcplane' || row.address !== null) continue;
    const active = row.realServers.reduce((sum, each) => sum + (each.activeConnections ?? 0), 0);
    if (active > 0) established.set(keyOf(row), active);
    else if (row.realServers.some(({ inactiveConnections = 0 }) => inactiveConnections > 0)) {
      others.add(keyOf(row));
    }
  }
  return { established, others };
}

/**
 * kube-proxy binds addresses first and writes its rules last, in one transaction: when it masquerades, it serves.
 * @see https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/proxy/ipvs/proxier.go syncProxyRules
 */
function lacksRules(iptables: KubeProxyTraces['iptables'], family: IpFamily): boolean {
  const programs = iptables.filter(({ program }) => program.startsWith('ip6') === (family === 'IPv6'));
  const nat = programs.flatMap(({ tables }) => tables.filter(({ name }) => name === 'nat'));
  const rules = nat.flatMap((table) => table.rules);
  const serves = rules.some((rule) => rule.chain === 'KUBE-SERVICES' && setsOf(rule).length > 0);
  const masquerades = rules.some(
    ({ chain, target }) => chain === 'KUBE-POSTROUTING' && target === 'MASQUERADE',
  );
  return programs.length > 0 && !(serves && masquerades);
}
