/**
 * Names that kube-proxy 1.36 gives to what it makes in IPVS mode.
 * @see https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/proxy/ipvs/proxier.go iptablesCleanupChains, iptablesJumpChain, ipsetInfo
 */

/** The dummy that Service addresses are bound to. */
export const KUBE_PROXY_LINK = 'kube-ipvs0';

/** By table of iptables, in either family. */
export const KUBE_PROXY_CHAINS: Readonly<Record<string, readonly string[]>> = {
  nat: ['KUBE-SERVICES', 'KUBE-POSTROUTING', 'KUBE-NODE-PORT', 'KUBE-LOAD-BALANCER', 'KUBE-MARK-MASQ'],
  filter: [
    'KUBE-FORWARD',
    'KUBE-NODE-PORT',
    'KUBE-PROXY-FIREWALL',
    'KUBE-SOURCE-RANGES-FIREWALL',
    'KUBE-IPVS-FILTER',
    'KUBE-IPVS-OUT-FILTER',
  ],
};

/** Rules of built-in chains that lead there, as `CHAIN TARGET`, by table. */
export const KUBE_PROXY_JUMPS: Readonly<Record<string, readonly string[]>> = {
  nat: ['PREROUTING KUBE-SERVICES', 'OUTPUT KUBE-SERVICES', 'POSTROUTING KUBE-POSTROUTING'],
  filter: [
    'FORWARD KUBE-FORWARD',
    'INPUT KUBE-NODE-PORT',
    'INPUT KUBE-PROXY-FIREWALL',
    'FORWARD KUBE-PROXY-FIREWALL',
    'INPUT KUBE-IPVS-FILTER',
    'OUTPUT KUBE-IPVS-OUT-FILTER',
  ],
};

/** Chains through which others ask for masquerading: hostPort plug-ins, and the kubelet before 1.28. */
export const MASQUERADE_CHAINS: readonly string[] = ['KUBE-MARK-MASQ', 'KUBE-POSTROUTING'];

/** In the nat table where the kubelet makes the masquerade chains, too: before 1.28. */
export const OLD_KUBELET_CHAIN = 'KUBE-MARK-DROP';

/** Of IPv4. */
const SETS = [
  'KUBE-LOOP-BACK',
  'KUBE-CLUSTER-IP',
  'KUBE-EXTERNAL-IP',
  'KUBE-EXTERNAL-IP-LOCAL',
  'KUBE-LOAD-BALANCER',
  'KUBE-LOAD-BALANCER-LOCAL',
  'KUBE-LOAD-BALANCER-FW',
  'KUBE-LOAD-BALANCER-SOURCE-IP',
  'KUBE-LOAD-BALANCER-SOURCE-CIDR',
  'KUBE-NODE-PORT-TCP',
  'KUBE-NODE-PORT-LOCAL-TCP',
  'KUBE-NODE-PORT-UDP',
  'KUBE-NODE-PORT-LOCAL-UDP',
  'KUBE-NODE-PORT-SCTP-HASH',
  'KUBE-NODE-PORT-LOCAL-SCTP-HASH',
  'KUBE-HEALTH-CHECK-NODE-PORT',
  'KUBE-IPVS-IPS',
] as const;

type SetName = (typeof SETS)[number];

/** The kernel takes no longer name. @see include/uapi/linux/netfilter/ipset/ip_set.h IPSET_MAXNAMELEN */
const SET_NAME_LENGTH = 31;

/** A set of IPv4 as it is named for IPv6. */
export function ipv6SetName(name: string): string {
  return name.replace('KUBE-', 'KUBE-6-').slice(0, SET_NAME_LENGTH);
}

/** All 34 sets of both families. */
export const KUBE_PROXY_SETS: readonly string[] = [...SETS, ...SETS.map(ipv6SetName)];

/** Sets of `address,protocol:port` for each of which there is a virtual server. */
export const FRONTEND_SETS: readonly string[] = bothFamilies([
  'KUBE-CLUSTER-IP',
  'KUBE-EXTERNAL-IP',
  'KUBE-EXTERNAL-IP-LOCAL',
  'KUBE-LOAD-BALANCER',
  'KUBE-NODE-PORT-SCTP-HASH',
]);

/** Sets of NodePorts, by protocol. */
export const NODE_PORT_SETS = {
  TCP: bothFamilies(['KUBE-NODE-PORT-TCP']),
  UDP: bothFamilies(['KUBE-NODE-PORT-UDP']),
} as const;

function bothFamilies(names: readonly SetName[]): readonly string[] {
  return names.flatMap((name) => [name, ipv6SetName(name)]);
}
