import { describe, expect, it } from 'vitest';
import { parseIptablesSave } from '../../src/kube-proxy/iptables-save.ts';
import {
  describeRelease,
  type KubeProxyTraces,
  namesOfLeftovers,
  planRelease,
} from '../../src/kube-proxy/leftovers.ts';
import { KUBE_PROXY_SETS } from '../../src/kube-proxy/names.ts';
import { operationOf } from '../../src/kube-proxy/operations.ts';
import { ipAddress } from '../kernel/traffic/dual-stack.ts';

const VIP = ipAddress('203.0.113.9');
const CLUSTER_IP = ipAddress('10.96.0.50');

/** Of kube-proxy beside others, as iptables-save prints it. */
const NAT = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ
COMMIT
`;

function tracesOf(nat: string, traces: Partial<KubeProxyTraces> = {}): KubeProxyTraces {
  return {
    link: null,
    otherAddresses: new Set(),
    iptables: [{ program: 'iptables-nft', tables: parseIptablesSave(nat) }],
    sets: [],
    notes: [],
    ...traces,
  };
}

const inputOf = (traces: KubeProxyTraces) =>
  planRelease(traces, new Map()).ops.flatMap((op) => (op.op === 'restoreIptables' ? [op.input] : []));
const keptOf = (traces: KubeProxyTraces) =>
  planRelease(traces, new Map()).kept.map(({ subject, reason }) => `${subject}: ${reason}`);

describe('planRelease()', () => {
  it("deletes kube-proxy's jumps, then empties its chains, then deletes them, in one transaction", () => {
    expect(inputOf(tracesOf(NAT))).toEqual([
      `*nat
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-D POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-F KUBE-SERVICES
-F KUBE-POSTROUTING
-F KUBE-MARK-MASQ
-X KUBE-SERVICES
-X KUBE-POSTROUTING
-X KUBE-MARK-MASQ
COMMIT
`,
    ]);
    expect(keptOf(tracesOf(NAT))).toEqual([]);
  });

  const MASQUERADING = `*nat
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-D KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
-F KUBE-SERVICES
-X KUBE-SERVICES
COMMIT
`;
  it.each([
    {
      name: 'the kubelet of before 1.28 makes',
      nat: NAT.replace(':KUBE-SERVICES', ':KUBE-MARK-DROP - [0:0]\n:KUBE-SERVICES'),
      reason: 'the kubelet makes it, as it does KUBE-MARK-DROP',
    },
    {
      name: 'a hostPort plug-in jumps to',
      nat: NAT.replace('COMMIT', '-A CNI-HOSTPORT-SETMARK -j KUBE-MARK-MASQ\nCOMMIT'),
      reason: 'chain CNI-HOSTPORT-SETMARK jumps to it',
    },
    {
      name: 'an administrator jumps to from a built-in chain',
      nat: NAT.replace('COMMIT', '-A PREROUTING -s 192.0.2.1/32 -j KUBE-MARK-MASQ\nCOMMIT'),
      reason: 'chain PREROUTING jumps to it',
    },
  ])('keeps masquerading that $name, without the rule of a set', ({ nat, reason }) => {
    expect(inputOf(tracesOf(nat))).toEqual([MASQUERADING]);
    expect(keptOf(tracesOf(nat)).toSorted()).toEqual([
      `iptables-nft chain KUBE-MARK-MASQ: ${reason}`,
      `iptables-nft chain KUBE-POSTROUTING: ${reason}`,
    ]);
  });

  it('leaves tables alone that have nothing of kube-proxy', () => {
    const others = `*filter\n:INPUT ACCEPT [0:0]\n:KUBE-FIREWALL - [0:0]\n-A INPUT -j KUBE-FIREWALL\nCOMMIT\n*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n`;
    expect(planRelease(tracesOf(others), new Map())).toEqual({ ops: [], kept: [] });
  });

  it('keeps what accepts the answers of pods where FORWARD drops', () => {
    const filter = `*filter
:FORWARD DROP [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODE-PORT - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A INPUT -j KUBE-NODE-PORT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`;
    expect(inputOf(tracesOf(filter))).toEqual([
      '*filter\n-D INPUT -j KUBE-NODE-PORT\n-F KUBE-NODE-PORT\n-X KUBE-NODE-PORT\nCOMMIT\n',
    ]);
    expect(keptOf(tracesOf(filter))).toEqual([
      'iptables-nft chain KUBE-FORWARD: chain FORWARD drops what no rule of it accepts',
    ]);
    expect(keptOf(tracesOf(filter.replace('DROP', 'ACCEPT')))).toEqual([]);
  });

  it('destroys its sets after the rules and before the link, and no others', () => {
    const sets = ['KUBE-CLUSTER-IP', 'others', 'KUBE-6-LOAD-BALANCER-SOURCE-CID'];
    const traces = tracesOf(NAT, {
      link: new Set([VIP]),
      sets: sets.map((name) => ({ name, entries: [] })),
    });
    expect(planRelease(traces, new Map()).ops.map(describeRelease)).toEqual([
      'iptables-nft: chains nat KUBE-SERVICES, nat KUBE-POSTROUTING, nat KUBE-MARK-MASQ; 7 rules',
      'ipset KUBE-CLUSTER-IP',
      'ipset KUBE-6-LOAD-BALANCER-SOURCE-CID',
      'link kube-ipvs0',
    ]);
  });

  it('keeps a set that a rule of others matches', () => {
    const nat = NAT.replace('COMMIT', '-A DOCKER -m set --match-set KUBE-CLUSTER-IP dst -j RETURN\nCOMMIT');
    const traces = tracesOf(nat, { sets: [{ name: 'KUBE-CLUSTER-IP', entries: [] }] });
    expect(keptOf(traces)).toEqual(['ipset KUBE-CLUSTER-IP: iptables-nft chain DOCKER matches it']);
    expect(planRelease(traces, new Map()).ops.map(({ op }) => op)).toEqual(['restoreIptables']);
  });

  it('keeps the link with the addresses that are held', () => {
    const traces = tracesOf('', { link: new Set([VIP, CLUSTER_IP]) });
    expect(planRelease(traces, new Map([[VIP, 'virtual server TCP 203.0.113.9:80 has it']]))).toEqual({
      ops: [{ op: 'deleteAddresses', addresses: [CLUSTER_IP] }],
      kept: [
        {
          subject: 'address 203.0.113.9 of kube-ipvs0',
          reason: 'virtual server TCP 203.0.113.9:80 has it',
        },
      ],
    });
  });
});

describe('namesOfLeftovers()', () => {
  it('is empty where nothing is left', () => {
    expect(namesOfLeftovers(tracesOf(''))).toEqual([]);
  });

  it('names link, chains and the number of sets', () => {
    const sets = KUBE_PROXY_SETS.map((name) => ({ name, entries: [] }));
    expect(namesOfLeftovers(tracesOf(NAT, { link: new Set([VIP, CLUSTER_IP]), sets }))).toEqual([
      'link kube-ipvs0 (2 addresses)',
      'iptables-nft: chains nat KUBE-SERVICES, nat KUBE-POSTROUTING, nat KUBE-MARK-MASQ; 7 rules',
      '34 ipsets',
    ]);
  });
});

describe('operationOf()', () => {
  it('shows each change of a release as a deletion', () => {
    const traces = tracesOf(NAT, {
      link: new Set([VIP, CLUSTER_IP]),
      sets: [{ name: 'KUBE-CLUSTER-IP', entries: [] }],
    });
    const all = [new Map(), new Map([[VIP, 'needed']])].flatMap((held) => planRelease(traces, held).ops);
    const lines = all.map(operationOf).map(({ op, subject, detail }) => `${op} ${subject} ${detail}`.trim());
    expect([...new Set(lines)]).toEqual([
      'deleteRules iptables-nft chains nat KUBE-SERVICES, nat KUBE-POSTROUTING, nat KUBE-MARK-MASQ; 7 rules',
      'deleteSet ipset KUBE-CLUSTER-IP',
      'deleteLink link kube-ipvs0',
      'deleteAddresses link kube-ipvs0 1 address',
    ]);
  });
});

describe('KUBE_PROXY_SETS', () => {
  it('has 34 names that the kernel can take, each once', () => {
    expect(new Set(KUBE_PROXY_SETS).size).toBe(34);
    expect(KUBE_PROXY_SETS.filter((name) => name.length > 31)).toEqual([]);
  });
});
