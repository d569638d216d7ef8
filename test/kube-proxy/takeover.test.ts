import { describe, expect, it } from 'vitest';
import { planHandBack } from '../../src/kube-proxy/hand-back.ts';
import { parseIptablesSave } from '../../src/kube-proxy/iptables-save.ts';
import type { KubeProxyTraces } from '../../src/kube-proxy/leftovers.ts';
import { heldAddresses, planTakeover, withAdoptions } from '../../src/kube-proxy/takeover.ts';
import { parseCidr } from '../../src/model/cidr.ts';
import { keyOf } from '../../src/snapshot/canonical.ts';
import type { Snapshot, SnapshotRealServer, SnapshotVirtualServer } from '../../src/snapshot/snapshot.ts';
import { ipAddress } from '../kernel/traffic/dual-stack.ts';

const CLUSTER_IP = ipAddress('10.96.0.50');
const VIP = ipAddress('203.0.113.9');
const NODE = ipAddress('172.16.0.5');

const pod = (last: number, rest: Partial<SnapshotRealServer> = {}): SnapshotRealServer => ({
  address: ipAddress(`10.244.1.${last}`),
  port: 8080,
  weight: 1,
  forwarding: 'masquerade',
  ...rest,
});

/** One of kube-proxy's, as observed. */
const server = (rest: Partial<SnapshotVirtualServer> = {}): SnapshotVirtualServer => ({
  address: CLUSTER_IP,
  port: 80,
  protocol: 'TCP',
  scheduler: 'rr',
  persistenceTimeoutSeconds: null,
  exposure: null,
  service: null,
  servicePort: null,
  owner: 'foreign',
  realServers: [pod(20)],
  ...rest,
});

/** The same as wanted. */
const wanted = (rest: Partial<SnapshotVirtualServer> = {}): SnapshotVirtualServer => {
  const { owner: _, ...row } = server({
    exposure: 'ClusterIP',
    service: 'web/front',
    servicePort: 'http',
    ...rest,
  });
  return row;
};

const snapshot = (
  virtualServers: readonly SnapshotVirtualServer[],
  rest: Partial<Snapshot> = {},
): Snapshot => ({ version: 1, node: 'n0', addresses: [], virtualServers, rejected: [], ...rest });

type Traces = Pick<KubeProxyTraces, 'link' | 'otherAddresses' | 'sets' | 'iptables'>;
const NO_TRACES: Traces = { link: null, otherAddresses: new Set(), sets: [], iptables: [] };
const BOUND: Traces = { ...NO_TRACES, link: new Set([CLUSTER_IP]) };
const ON_NODE: Traces = { ...NO_TRACES, otherAddresses: new Set([NODE]) };
const SETS = [
  { name: 'KUBE-CLUSTER-IP', entries: ['10.96.0.50,tcp:80'] },
  { name: 'KUBE-NODE-PORT-TCP', entries: ['30080'] },
];
const NODE_PORT = { address: NODE, port: 30080 };
const altered = { realServers: [pod(20), pod(21)] };

describe('planTakeover()', () => {
  const rows: readonly {
    readonly name: string;
    readonly have?: SnapshotVirtualServer;
    readonly want?: SnapshotVirtualServer;
    readonly traces?: Traces;
    readonly excluded?: string;
    readonly line: string;
  }[] = [
    {
      name: 'equal needs no evidence, and no adoption ahead of the sync',
      have: server(),
      want: wanted(),
      line: 'equal TCP 10.96.0.50:80 [] (Service web/front)',
    },
    {
      name: 'altered, in a set of kube-proxy',
      have: server(altered),
      want: wanted(),
      traces: { ...BOUND, sets: SETS },
      line: 'altered TCP 10.96.0.50:80 [-10.244.1.21:8080] (ipset KUBE-CLUSTER-IP lists it) web/front ClusterIP',
    },
    {
      name: 'altered in more than one way, old → new',
      have: server({ scheduler: 'wrr', realServers: [pod(20, { weight: 0 })] }),
      want: wanted({ realServers: [pod(20), pod(22)], persistenceTimeoutSeconds: 600 }),
      traces: BOUND,
      line: 'altered TCP 10.96.0.50:80 [scheduler wrr → rr, persistenceTimeoutSeconds none → 600, +10.244.1.22:8080, 10.244.1.20:8080 weight 0 → 1] (its address is on kube-ipvs0, and Service web/front has it) web/front ClusterIP',
    },
    {
      name: 'stale, in a set of kube-proxy',
      have: server(),
      traces: { ...BOUND, sets: SETS },
      line: 'theirs TCP 10.96.0.50:80 [1 real server] (ipset KUBE-CLUSTER-IP lists it) unknown/of-kube-proxy ClusterIP',
    },
    {
      name: 'stale, on its link while its sets are gone',
      have: server(),
      traces: BOUND,
      line: 'theirs TCP 10.96.0.50:80 [1 real server] (its address is on kube-ipvs0) unknown/of-kube-proxy ClusterIP',
    },
    {
      name: 'on its link, but in none of its sets',
      have: server({ port: 81 }),
      traces: { ...BOUND, sets: SETS },
      line: "foreign TCP 10.96.0.50:81 [1 real server] (its address is on kube-ipvs0, but none of kube-proxy's sets lists it)",
    },
    {
      name: 'a NodePort that its set lists, of a Service that is gone',
      have: server(NODE_PORT),
      traces: { ...ON_NODE, sets: SETS },
      line: 'theirs TCP 172.16.0.5:30080 [1 real server] (a node address, and ipset KUBE-NODE-PORT-TCP lists its port) unknown/of-kube-proxy ClusterIP',
    },
    {
      name: 'a NodePort of the cluster',
      have: server({ ...NODE_PORT, ...altered }),
      want: wanted({ ...NODE_PORT, exposure: 'NodePort' }),
      traces: ON_NODE,
      line: 'altered TCP 172.16.0.5:30080 [-10.244.1.21:8080] (a node address, and 30080 is the NodePort of Service web/front) web/front NodePort',
    },
    {
      name: 'the port of a NodePort, of another protocol',
      have: server({ ...NODE_PORT, protocol: 'UDP' }),
      traces: { ...ON_NODE, sets: SETS },
      line: "foreign UDP 172.16.0.5:30080 [1 real server] (a node address, and its port is none of the cluster's NodePorts)",
    },
    {
      name: 'one of keepalived on an address of its own',
      have: server({ address: VIP, scheduler: 'wlc' }),
      traces: { ...BOUND, sets: SETS },
      line: "foreign TCP 203.0.113.9:80 [1 real server] (its address is neither on kube-ipvs0 nor the node's)",
    },
    {
      name: 'what we want too, where nothing says that it is kube-proxy that made it otherwise',
      have: server(altered),
      want: wanted(),
      line: "foreign TCP 10.96.0.50:80 [-10.244.1.21:8080] (its address is neither on kube-ipvs0 nor the node's)",
    },
    {
      name: 'one that routes directly',
      have: server({ realServers: [pod(20, { forwarding: 'direct' })] }),
      traces: BOUND,
      line: 'foreign TCP 10.96.0.50:80 [1 real server] (kube-proxy masquerades, and 10.244.1.20:8080 is direct)',
    },
    {
      name: 'one in one-packet mode',
      have: server({ onePacket: true }),
      traces: BOUND,
      line: 'foreign TCP 10.96.0.50:80 [1 real server] (kube-proxy makes none in one-packet mode)',
    },
    {
      name: 'one by firewall mark',
      have: server({ address: null, port: null, protocol: null, firewallMark: 17, family: 'IPv4' }),
      traces: { ...BOUND, sets: SETS },
      line: 'foreign FWM4 17 [1 real server] (kube-proxy makes none by firewall mark)',
    },
    {
      name: 'one in a range that is left to others',
      have: server(altered),
      want: wanted(),
      traces: { ...BOUND, sets: SETS },
      excluded: '10.96.0.0/24',
      line: 'foreign TCP 10.96.0.50:80 [-10.244.1.21:8080] (it lies in 10.96.0.0/24 of excludeCIDRs)',
    },
    {
      name: 'what nobody has made yet',
      want: wanted(),
      line: 'ours TCP 10.96.0.50:80 [1 real server] (Service web/front)',
    },
    {
      name: 'altered since it is ours, which any sync mends',
      have: server({ ...altered, owner: 'svcplane', service: 'web/front', exposure: 'ClusterIP' }),
      want: wanted(),
      line: 'altered TCP 10.96.0.50:80 [-10.244.1.21:8080] (Service web/front)',
    },
  ];

  it.each(rows)('$name', ({ have, want, traces = NO_TRACES, excluded, line }) => {
    const excludeCIDRs = [excluded].flatMap((range) => parseCidr(range) ?? []);
    const [row, ...more] = planTakeover({
      observed: snapshot(have ? [have] : []),
      wanted: snapshot(want ? [want] : []),
      traces,
      excludeCIDRs,
    });
    const adopted = row?.adopt ? ` ${row.adopt.service} ${row.adopt.exposure}` : '';
    expect(`${row?.class} ${row?.key} [${row?.detail}] (${row?.reason})${adopted}`).toBe(line);
    expect(more).toEqual([]);
  });

  it('leaves to the sync what is ours and unwanted', () => {
    const observed = snapshot([server({ owner: 'svcplane', service: 'web/old', exposure: 'ClusterIP' })]);
    expect(planTakeover({ observed, wanted: snapshot([]), traces: BOUND, excludeCIDRs: [] })).toEqual([]);
  });

  it('sorts by class, then canonically', () => {
    const observed = snapshot([server({ port: 81 }), server(), server({ address: VIP })]);
    const input = { wanted: snapshot([wanted()]), traces: BOUND, excludeCIDRs: [] };
    const classes = planTakeover({ observed, ...input }).map((row) => `${row.class} ${row.key}`);
    expect(classes).toEqual([
      'equal TCP 10.96.0.50:80',
      'theirs TCP 10.96.0.50:81',
      'foreign TCP 203.0.113.9:80',
    ]);
  });
});

describe('withAdoptions()', () => {
  it('makes exactly the adopted rows ours', () => {
    const observed = snapshot([server(altered), server({ address: VIP })]);
    const rows = planTakeover({ observed, wanted: snapshot([wanted()]), traces: BOUND, excludeCIDRs: [] });
    const owners = withAdoptions(observed, rows).virtualServers.map((row) => [
      keyOf(row),
      row.owner,
      row.service,
    ]);
    expect(owners).toEqual([
      ['TCP 10.96.0.50:80', 'svcplane', 'web/front'],
      ['TCP 203.0.113.9:80', 'foreign', null],
    ]);
  });
});

describe('heldAddresses()', () => {
  const observed = snapshot([server()]);

  it('holds an address of a virtual server that only kube-ipvs0 has', () => {
    expect([...heldAddresses(observed, BOUND)]).toEqual([
      [CLUSTER_IP, 'virtual server TCP 10.96.0.50:80 has it, and no other link'],
    ]);
  });

  it('holds none that another link has, that a route makes local, or that nobody serves', () => {
    const onBoth = { ...BOUND, otherAddresses: new Set([CLUSTER_IP]) };
    expect(heldAddresses(observed, onBoth).size).toBe(0);
    expect(heldAddresses({ ...observed, routes: ['10.96.0.0/16'] }, BOUND).size).toBe(0);
    expect(heldAddresses(snapshot([]), BOUND).size).toBe(0);
  });
});

const SERVES = '-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT';
const MASQUERADES = '-A KUBE-POSTROUTING -j MASQUERADE --random-fully';

describe('planHandBack()', () => {
  const ours = (rest: Partial<SnapshotVirtualServer>) =>
    server({ owner: 'svcplane', service: 'web/front', exposure: 'ClusterIP', ...rest });
  const mark = {
    address: null,
    port: null,
    protocol: null,
    firewallMark: 0x5300_0001,
    family: 'IPv4',
  } as const;

  it('misses ClusterIPs that kube-proxy has not bound', () => {
    const observed = snapshot([
      ours({}),
      ours({ address: VIP, exposure: 'LoadBalancer' }),
      ours({ ...NODE_PORT, exposure: 'NodePort' }),
    ]);
    expect(planHandBack(observed, NO_TRACES).unserved).toEqual([CLUSTER_IP]);
    expect(planHandBack(observed, BOUND).unserved).toEqual([]);
  });

  it.each([
    { name: 'no rules yet', nat: [], missing: ['IPv4'] },
    { name: 'no masquerade', nat: [SERVES], missing: ['IPv4'] },
    { name: 'both', nat: [SERVES, MASQUERADES], missing: [] },
  ])('waits for the rules of kube-proxy: $name', ({ nat, missing }) => {
    const tables = parseIptablesSave(['*nat', ...nat].join('\n'));
    const iptables = [{ program: 'iptables-nft', tables } as const];
    const observed = snapshot([ours({}), ours({ ...NODE_PORT, exposure: 'NodePort' })]);
    expect(planHandBack(observed, { ...BOUND, iptables }).unmasqueraded).toEqual(missing);
  });

  it('moves external addresses of our link that kube-proxy does not have', () => {
    const observed = snapshot([ours({}), ours({ address: VIP, exposure: 'LoadBalancer' })], {
      addresses: [CLUSTER_IP, VIP],
    });
    expect(planHandBack(observed, BOUND).moves).toEqual([VIP]);
    expect(planHandBack(observed, { ...BOUND, link: new Set([CLUSTER_IP, VIP]) }).moves).toEqual([]);
    expect(planHandBack({ ...observed, addresses: [CLUSTER_IP] }, BOUND).moves).toEqual([]);
  });

  it('keeps firewall marks of ours with connections, and no others', () => {
    const busy = {
      ...mark,
      realServers: [pod(20, { activeConnections: 2 }), pod(21, { activeConnections: 1 })],
    };
    const key = keyOf(ours(busy));
    expect([...planHandBack(snapshot([ours(busy)]), BOUND).busyMarks]).toEqual([[key, 3]]);
    expect(planHandBack(snapshot([ours(mark)]), BOUND).busyMarks.size).toBe(0);
    expect(planHandBack(snapshot([{ ...ours(busy), owner: 'foreign' }]), BOUND).busyMarks.size).toBe(0);
  });
});
