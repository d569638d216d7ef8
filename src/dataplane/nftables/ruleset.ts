import type { IpFamily } from '../../model/address.ts';
import type { Chain, Field, Match, PodDetection, Rule, RulesetOptions, Verdict } from './rules.ts';
import type { SetBase } from './sets.ts';

const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6'];
const FRONTEND: readonly Field[] = ['destination', 'protocol', 'port'];
const BALANCED = { match: 'protocol', anyOf: ['TCP', 'UDP', 'SCTP'] } as const;
const NEW = { match: 'connection', anyOf: ['new'] } as const;
const MASQUERADE = { verdict: 'setMasqueradeBit' } as const;
const REFUSE = { verdict: 'goto', chain: 'refuse' } as const;

// include/uapi/linux/netfilter_ipv4.h NF_IP_PRI_*
const MANGLE = -150;
const DSTNAT = -100;
const FILTER = 0;
const SRCNAT = 100;
/** IPVS takes its packets in LOCAL_IN at 99: what is seen after that is nobody's. net/netfilter/ipvs/ip_vs_core.c */
const AFTER_IPVS = 150;

/**
 * The rules of the table: the same for ten Services and for ten thousand. What comes from outside or from pods passes
 * prerouting, then input, where IPVS takes it; what the node itself sends passes output, where IPVS takes it too.
 * Whatever IPVS sends on passes postrouting.
 */
export function ruleset(options: RulesetOptions): readonly Chain[] {
  return [
    { name: 'refuse', hook: null, rules: refuse() },
    { name: 'source-ranges', hook: null, rules: both(sourceRanges) },
    {
      name: 'keep-prerouting',
      hook: { type: 'nat', hook: 'prerouting', priority: DSTNAT - 1 },
      rules: both(keepDestination),
    },
    {
      name: 'keep-output',
      hook: { type: 'nat', hook: 'output', priority: DSTNAT - 1 },
      rules: both(keepDestination),
    },
    {
      name: 'prerouting',
      hook: { type: 'filter', hook: 'prerouting', priority: MANGLE },
      rules: both((family) => prerouting(family, options)),
    },
    {
      // IPVS comes at -98. Of type route, for a mark may change the route.
      name: 'output',
      hook: { type: 'route', hook: 'output', priority: MANGLE },
      rules: [toSourceRanges(), ...both(output)],
    },
    {
      name: 'input',
      hook: { type: 'filter', hook: 'input', priority: FILTER },
      rules: [toSourceRanges(), ...both((family) => [refuseEmpty(family)])],
    },
    {
      name: 'closed-input',
      hook: { type: 'filter', hook: 'input', priority: AFTER_IPVS },
      rules: closedPorts(),
    },
    // Also what is not local: an address that no Service has, where they are bound one by one, or one that is not bound
    // yet. The way out would be the default route, and conntrack would keep to it.
    {
      name: 'closed-forward',
      hook: { type: 'filter', hook: 'forward', priority: FILTER },
      rules: closedPorts(),
    },
    {
      name: 'closed-output',
      hook: { type: 'filter', hook: 'output', priority: FILTER },
      rules: closedPorts(),
    },
    {
      name: 'postrouting',
      hook: { type: 'nat', hook: 'postrouting', priority: SRCNAT },
      rules: [
        ...both(hairpin),
        rule('masquerade', null, [{ match: 'masqueradeBit' }], { verdict: 'masquerade' }),
      ],
    },
  ];
}

function both(rules: (family: IpFamily) => readonly Rule[]): readonly Rule[] {
  return FAMILIES.flatMap(rules);
}

function rule(purpose: string, family: IpFamily | null, matches: readonly Match[], verdict: Verdict): Rule {
  return { name: family === null ? purpose : `${purpose} ${family}`, family, matches, verdict };
}

function inSet(of: SetBase, ...fields: readonly Field[]): Match {
  return { match: 'member', fields, of };
}

/** A reset ends connect(2) at once, and the kernel limits ICMP errors to about one a second for each peer. */
function refuse(): readonly Rule[] {
  return [
    rule('reset TCP', null, [{ match: 'protocol', anyOf: ['TCP'] }], { verdict: 'resetTcp' }),
    rule('port unreachable', null, [], { verdict: 'reject' }),
  ];
}

/** Every packet, not only the first: a source that is taken off the list loses its open connections, too. */
function sourceRanges(family: IpFamily): readonly Rule[] {
  const outside: Match = { match: 'notMember', fields: [...FRONTEND, 'source'], of: 'allowed' };
  return [
    rule('outside loadBalancerSourceRanges', family, [inSet('restricted', ...FRONTEND), outside], {
      verdict: 'drop',
    }),
  ];
}

function toSourceRanges(): Rule {
  return rule('loadBalancerSourceRanges', null, [BALANCED], { verdict: 'jump', chain: 'source-ranges' });
}

/** Service addresses are local ones, and a host port's rule for local addresses would take their packets. */
function keepDestination(family: IpFamily): readonly Rule[] {
  const verdict = { verdict: 'keepDestination' } as const;
  return [
    refuseEmptySctp(family),
    rule('ClusterIP before host ports', family, [inSet('cluster-ips', 'destination')], verdict),
    rule('VIP before host ports', family, [inSet('vips', 'destination')], verdict),
  ];
}

function prerouting(family: IpFamily, options: RulesetOptions): readonly Rule[] {
  const { detection, knownPods, masqueradeAll } = options;
  // A load balancer address may lie in the range, and its clients keep their source with policy Local.
  const noVip: Match = { match: 'notMember', fields: ['destination'], of: 'vips' };
  const toClusterIP = [NEW, inSet('cluster-ips', 'destination'), noVip];
  const known = detection.by === 'link' || knownPods.includes(family);
  return [
    rule('inside clients: pods of this node', family, [fromPodOfThisNode(detection)], {
      verdict: 'mark',
      fields: FRONTEND,
    }),
    ...externalCluster(family, options),
    ...(masqueradeAll ? [rule('ClusterIP: masqueradeAll', family, toClusterIP, MASQUERADE)] : []),
    ...(!masqueradeAll && known
      ? [rule('ClusterIP from outside', family, [...toClusterIP, notFromPod(detection)], MASQUERADE)]
      : []),
  ];
}

/** Pods are masqueraded anyway: the way back to them does not lead through the node that they came to. */
function externalCluster(family: IpFamily, options: RulesetOptions): readonly Rule[] {
  const { detection, knownPods, keepSource } = options;
  const external = [NEW, inSet('masquerade', ...FRONTEND)];
  if (!keepSource.includes(family)) return [rule('external policy Cluster', family, external, MASQUERADE)];
  const others: Match = { match: 'notMember', fields: ['destination'], of: 'keep-source' };
  const fromPod = [...external, inSet('keep-source', 'destination'), fromAnyPod(detection)];
  const known = detection.by === 'link' || knownPods.includes(family);
  return [
    rule('external policy Cluster', family, [...external, others], MASQUERADE),
    ...(known ? [rule('external policy Cluster from a pod', family, fromPod, MASQUERADE)] : []),
  ];
}

function fromAnyPod(detection: PodDetection): Match {
  return detection.by === 'link'
    ? { match: 'incomingLink', name: detection.name }
    : inSet(detection.of, 'source');
}

function fromPodOfThisNode(detection: PodDetection): Match {
  // By source every pod of the cluster may count as one, but the answer to another node's pod would not come back
  // through us.
  return detection.by === 'link'
    ? { match: 'incomingLink', name: detection.name }
    : inSet('node-pods', 'source');
}

function notFromPod(detection: PodDetection): Match {
  return detection.by === 'link'
    ? { match: 'notIncomingLink', name: detection.name }
    : { match: 'notMember', fields: ['source'], of: detection.of };
}

/** The node itself is inside, and its source is the very VIP unless a route says otherwise. */
function output(family: IpFamily): readonly Rule[] {
  const fromVip = [NEW, inSet('vips', 'destination'), inSet('vips', 'source')];
  return [
    rule('inside clients: this node', family, [BALANCED], { verdict: 'mark', fields: FRONTEND }),
    refuseEmpty(family, { match: 'protocol', anyOf: ['TCP', 'UDP'] }),
    rule('external policy Cluster', family, [NEW, inSet('masquerade', ...FRONTEND)], MASQUERADE),
    rule('VIP from this node', family, fromVip, MASQUERADE),
    rule('ClusterIP from this node', family, [NEW, inSet('cluster-ips', 'destination')], MASQUERADE),
  ];
}

/** IPVS would refuse it as well, but with an ICMP error, and those are limited. */
function refuseEmpty(family: IpFamily, ...protocols: readonly Match[]): Rule {
  const matches = [...protocols, { match: 'unmarked' }, NEW, inSet('empty', ...FRONTEND)] as const;
  return rule('no endpoint', family, matches, REFUSE);
}

/** SCTP does not listen to ICMP errors (RFC 9260, 10): only an ABORT ends connect(2) at once. */
function refuseEmptySctp(family: IpFamily): Rule {
  const sctp = { match: 'protocol', anyOf: ['SCTP'] } as const;
  // Sources outside of ranges are not to be answered at all.
  const open = { match: 'notMember', fields: FRONTEND, of: 'restricted' } as const;
  const matches = [sctp, { match: 'unmarked' }, inSet('empty', ...FRONTEND), open] as const;
  return rule('no endpoint: SCTP', family, matches, { verdict: 'closedPort' });
}

function closedPorts(): readonly Rule[] {
  const closed = (family: IpFamily): readonly Rule[] => [
    rule(
      'port of no Service on a ClusterIP',
      family,
      [BALANCED, inSet('cluster-ips', 'destination')],
      REFUSE,
    ),
    rule('port of no Service on a VIP', family, [BALANCED, inSet('vips', 'destination')], REFUSE),
  ];
  return [underWay(), ...both(closed)];
}

function underWay(): Rule {
  const known = { match: 'connection', anyOf: ['established', 'related'] } as const;
  return rule('connections under way', null, [known], { verdict: 'accept' });
}

function hairpin(family: IpFamily): readonly Rule[] {
  return [rule('hairpin', family, [inSet('hairpin', 'source', 'destination')], { verdict: 'masquerade' })];
}
