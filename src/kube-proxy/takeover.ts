import type { IpAddress } from '../model/address.ts';
import { type Cidr, cidrContains, formatCidr, parseCidr } from '../model/cidr.ts';
import type { Protocol } from '../model/port.ts';
import { type Exposure, formatEndpoint, type VirtualServerKey } from '../model/virtual-server.ts';
import { keyOf } from '../snapshot/canonical.ts';
import { diffSnapshots, type FieldChange, type VirtualServerChange } from '../snapshot/diff.ts';
import type { Snapshot, SnapshotRealServer, SnapshotVirtualServer } from '../snapshot/snapshot.ts';
import type { SavedSet } from './iptables-save.ts';
import type { HeldAddresses, KubeProxyTraces } from './leftovers.ts';
import { FRONTEND_SETS, KUBE_PROXY_LINK, KUBE_PROXY_SETS, NODE_PORT_SETS } from './names.ts';

/**
 * How a virtual server of the kernel stands to what we would make: `theirs` only kube-proxy has, `ours` only we want,
 * `foreign` is of neither, and so left alone.
 */
export type TakeoverClass = 'equal' | 'altered' | 'theirs' | 'ours' | 'foreign';

export interface TakeoverRow {
  readonly class: TakeoverClass;
  readonly key: VirtualServerKey;
  /** For `altered`: old → new. */
  readonly detail: string;
  /** What says whose it is. */
  readonly reason: string;
  /** What to enter in the ledger first, so that it can be changed; null where nothing is, or the sync does it. */
  readonly adopt: Adoption | null;
}

/** Where a virtual server that is taken over comes from. */
export interface Adoption {
  readonly virtualServer: SnapshotVirtualServer;
  /** `namespace/name` */
  readonly service: string;
  readonly servicePort: string;
  readonly exposure: Exposure;
}

export interface TakeoverInput {
  readonly observed: Snapshot;
  readonly wanted: Snapshot;
  readonly traces: Pick<KubeProxyTraces, 'link' | 'otherAddresses' | 'sets'>;
  /** Never taken over. */
  readonly excludeCIDRs: readonly Cidr[];
}

/** Of what kube-proxy has made for a Service that is gone. */
const UNKNOWN_SERVICE = 'unknown/of-kube-proxy';

/** Every virtual server that there is or should be, by class and then in canonical order. Pure. */
export function planTakeover(input: TakeoverInput): readonly TakeoverRow[] {
  const { observed, wanted } = input;
  const { added, changed } = diffSnapshots(observed, wanted).virtualServers;
  const changes = new Map(changed.map((change) => [change.key, change]));
  const desired = new Map(wanted.virtualServers.map((row) => [keyOf(row), row]));
  const ownerOf = kubeProxyDetector(input);
  const rows = observed.virtualServers.flatMap((have): TakeoverRow[] => {
    const key = keyOf(have);
    const want = desired.get(key);
    const change = changes.get(key);
    if (want && !change) return [{ class: 'equal', key, detail: '', reason: reasonOf(want), adopt: null }];
    const detail = change ? describeChange(change) : describeRealServers(have.realServers);
    if (have.owner === 'svcplane') {
      // What is ours and unwanted is the business of any sync.
      return want ? [{ class: 'altered', key, detail, reason: reasonOf(want), adopt: null }] : [];
    }
    const { isKubeProxys, reason } = ownerOf(have, want);
    if (!isKubeProxys) return [{ class: 'foreign', key, detail, reason, adopt: null }];
    return [{ class: want ? 'altered' : 'theirs', key, detail, reason, adopt: adoptionOf(have, want) }];
  });
  const missing = added.map((want): TakeoverRow => {
    const detail = describeRealServers(want.realServers);
    return { class: 'ours', key: keyOf(want), detail, reason: reasonOf(want), adopt: null };
  });
  return [...rows, ...missing].sort((a, b) => ORDER[a.class] - ORDER[b.class]);
}

const ORDER = { equal: 0, altered: 1, theirs: 2, ours: 3, foreign: 4 } as const satisfies Record<
  TakeoverClass,
  number
>;

function adoptionOf(have: SnapshotVirtualServer, want: SnapshotVirtualServer | undefined): Adoption {
  const { service, servicePort, exposure } = want ?? { service: null, servicePort: null, exposure: null };
  return {
    virtualServer: have,
    service: service ?? UNKNOWN_SERVICE,
    servicePort: servicePort ?? '',
    exposure: exposure ?? 'ClusterIP',
  };
}

interface Verdict {
  readonly isKubeProxys: boolean;
  readonly reason: string;
}

const theirs = (reason: string): Verdict => ({ isKubeProxys: true, reason });
const others = (reason: string): Verdict => ({ isKubeProxys: false, reason });

/**
 * Tells kube-proxy's virtual servers by what else it has left: its sets list every frontend, its dummy the addresses
 * of all but NodePorts. A frontend that neither names is somebody else's, whatever it looks like.
 */
function kubeProxyDetector({ traces, excludeCIDRs, wanted }: TakeoverInput) {
  const listed = listedFrontends(traces.sets);
  const nodePorts = nodePortsOf(wanted);
  return (have: SnapshotVirtualServer, want: SnapshotVirtualServer | undefined): Verdict => {
    const { address, port, protocol } = have;
    if (address === null || port === null || protocol === null) {
      return others('kube-proxy makes none by firewall mark');
    }
    const excluded = excludeCIDRs.find((range) => cidrContains(range, address));
    if (excluded) return others(`it lies in ${formatCidr(excluded)} of excludeCIDRs`);
    const unlike = unlikeKubeProxy(have);
    if (unlike !== undefined) return others(unlike);
    const set = listed.frontends.get(frontendName(protocol, address, port));
    if (set !== undefined) return theirs(`ipset ${set} lists it`);
    if (traces.link?.has(address)) {
      if (want) return theirs(`its address is on ${KUBE_PROXY_LINK}, and ${reasonOf(want)} has it`);
      if (!listed.known) return theirs(`its address is on ${KUBE_PROXY_LINK}`);
      return others(`its address is on ${KUBE_PROXY_LINK}, but none of kube-proxy's sets lists it`);
    }
    if (!traces.otherAddresses.has(address)) {
      return others(`its address is neither on ${KUBE_PROXY_LINK} nor the node's`);
    }
    const nodePort = `${protocol} ${port}`;
    const bitmap = listed.nodePorts.get(nodePort);
    if (bitmap !== undefined) return theirs(`a node address, and ipset ${bitmap} lists its port`);
    const service = nodePorts.get(nodePort);
    if (service !== undefined) return theirs(`a node address, and ${port} is the NodePort of ${service}`);
    return others("a node address, and its port is none of the cluster's NodePorts");
  };
}

/** `snapshot` as it is after all adoptions, for a plan of what comes next. */
export function withAdoptions(snapshot: Snapshot, rows: readonly TakeoverRow[]): Snapshot {
  const adoptions = new Map(rows.flatMap(({ key, adopt }) => (adopt ? [[key, adopt] as const] : [])));
  const virtualServers = snapshot.virtualServers.map((row): SnapshotVirtualServer => {
    const adoption = adoptions.get(keyOf(row));
    if (!adoption) return row;
    const { service, servicePort, exposure } = adoption;
    return { ...row, owner: 'svcplane', service, servicePort, exposure };
  });
  return { ...snapshot, virtualServers };
}

/**
 * Addresses of kube-proxy's link that a virtual server has and that are local by nothing else, with the virtual
 * server: without the link nobody would reach it.
 * @param observed after the take-over
 */
export function heldAddresses(
  observed: Snapshot,
  { link, otherAddresses }: Pick<KubeProxyTraces, 'link' | 'otherAddresses'>,
): HeldAddresses {
  const routes = (observed.routes ?? []).flatMap((prefix) => parseCidr(prefix) ?? []);
  return new Map(
    observed.virtualServers.flatMap((row) => {
      const { address } = row;
      if (address === null || !link?.has(address) || otherAddresses.has(address)) return [];
      if (routes.some((range) => cidrContains(range, address))) return [];
      return [[address, `virtual server ${keyOf(row)} has it, and no other link`] as const];
    }),
  );
}

/** What kube-proxy never makes. */
function unlikeKubeProxy(have: SnapshotVirtualServer): string | undefined {
  const other = have.realServers.find(({ forwarding }) => forwarding !== 'masquerade');
  if (other)
    return `kube-proxy masquerades, and ${formatEndpoint(other.address, other.port)} is ${other.forwarding}`;
  if (have.onePacket) return 'kube-proxy makes none in one-packet mode';
  if (have.persistenceEngine) return 'kube-proxy makes none with a persistence engine';
  return undefined;
}

interface ListedFrontends {
  /** Whether there are sets of kube-proxy's at all. */
  readonly known: boolean;
  /** Set by {@link frontendName}. */
  readonly frontends: ReadonlyMap<string, string>;
  /** Set by `TCP 30080`. */
  readonly nodePorts: ReadonlyMap<string, string>;
}

function listedFrontends(sets: readonly SavedSet[]): ListedFrontends {
  const frontends = new Map<string, string>();
  const nodePorts = new Map<string, string>();
  for (const { name, entries } of sets) {
    if (FRONTEND_SETS.includes(name)) for (const entry of entries) frontends.set(entry, name);
    for (const protocol of ['TCP', 'UDP'] as const) {
      if (!NODE_PORT_SETS[protocol].includes(name)) continue;
      for (const port of entries) nodePorts.set(`${protocol} ${port}`, name);
    }
  }
  const known = sets.some(({ name }) => KUBE_PROXY_SETS.includes(name));
  return { known, frontends, nodePorts };
}

/** As an ipset has it: `10.96.0.1,tcp:443`. */
function frontendName(protocol: Protocol, address: IpAddress, port: number): string {
  return `${address},${protocol.toLowerCase()}:${port}`;
}

/** Services by `TCP 30080`. */
function nodePortsOf(wanted: Snapshot): ReadonlyMap<string, string> {
  return new Map(
    wanted.virtualServers.flatMap((row) =>
      row.exposure === 'NodePort' ? [[`${row.protocol} ${row.port}`, reasonOf(row)] as const] : [],
    ),
  );
}

function reasonOf({ service }: SnapshotVirtualServer): string {
  return `Service ${service ?? ''}`;
}

function describeRealServers(realServers: readonly SnapshotRealServer[]): string {
  return `${realServers.length} real server${realServers.length === 1 ? '' : 's'}`;
}

/** `scheduler wrr → rr, -10.244.2.30:8080, +10.244.1.20:8080, 10.244.1.21:8080 weight 0 → 1` */
function describeChange({ fields, realServers }: VirtualServerChange): string {
  const ends = (sign: string, rows: readonly SnapshotRealServer[]) =>
    rows.map(({ address, port }) => `${sign}${formatEndpoint(address, port)}`);
  return [
    ...fields.map(describeField),
    ...ends('-', realServers.removed),
    ...ends('+', realServers.added),
    ...realServers.changed.map(
      ({ key, fields: changed }) => `${key} ${changed.map(describeField).join(' ')}`,
    ),
  ].join(', ');
}

function describeField({ field, old, new: now }: FieldChange): string {
  return `${field} ${old ?? 'none'} → ${now ?? 'none'}`;
}
