import type { Config } from './config.ts';
import { addressesDataplane } from './dataplane/addresses/index.ts';
import type { LinkKernel } from './dataplane/addresses/kernel.ts';
import type { AddressOp } from './dataplane/addresses/ops.ts';
import type { AddressRows } from './dataplane/addresses/rows.ts';
import {
  fromSnapshot as addressesFromSnapshot,
  toSnapshot as addressesToSnapshot,
} from './dataplane/addresses/snapshot.ts';
import { syncDataplane } from './dataplane/connsync/index.ts';
import type { SyncKernel } from './dataplane/connsync/kernel.ts';
import type { SyncOp } from './dataplane/connsync/ops.ts';
import type { SyncRows } from './dataplane/connsync/rows.ts';
import {
  fromSnapshot as syncFromSnapshot,
  toSnapshot as syncToSnapshot,
} from './dataplane/connsync/snapshot.ts';
import type { Dataplane, Operation } from './dataplane/dataplane.ts';
import { createIpvsDataplane, type IpvsResources } from './dataplane/ipvs/index.ts';
import type { IpvsKernel } from './dataplane/ipvs/kernel.ts';
import type { IpvsOp } from './dataplane/ipvs/ops.ts';
import type { IpvsRows } from './dataplane/ipvs/rows.ts';
import { rowsFromSnapshot, snapshotVirtualServers } from './dataplane/ipvs/snapshot.ts';
import { EMPTY_LEDGER, type LedgerAccess } from './dataplane/ledger.ts';
import { createNftablesDataplane } from './dataplane/nftables/index.ts';
import type { NftablesKernel } from './dataplane/nftables/kernel.ts';
import type { NftablesOp } from './dataplane/nftables/ops.ts';
import type { NftablesRows } from './dataplane/nftables/rows.ts';
import {
  fromSnapshot as nftablesFromSnapshot,
  toSnapshot as nftablesToSnapshot,
} from './dataplane/nftables/snapshot.ts';
import { createAbsentSocklb } from './dataplane/socklb/absent.ts';
import { createSocklbDataplane, type SocklbDataplane } from './dataplane/socklb/index.ts';
import type { SocklbKernel } from './dataplane/socklb/kernel.ts';
import type { SocketRefusal } from './dataplane/socklb/place.ts';
import {
  fromSnapshot as socketsFromSnapshot,
  toSnapshot as socketsToSnapshot,
} from './dataplane/socklb/snapshot.ts';
import { type VrrpDataplane, vrrpDataplane } from './dataplane/vrrp/index.ts';
import type { Keepalived } from './dataplane/vrrp/kernel.ts';
import { fromSnapshot as vrrpFromSnapshot, toSnapshot as vrrpToSnapshot } from './dataplane/vrrp/snapshot.ts';
import type { DesiredState } from './model/desired-state.ts';
import { compareRejected } from './model/rejected.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import { type ScopedStage, scopedStageOf } from './sync/scoped-stage.ts';
import { type StageState, stageOf, stageState } from './sync/stage.ts';
import type { Stages } from './sync/sync-once.ts';

/** What the dataplanes reach the outside through. */
export interface Resources extends IpvsResources {
  readonly links: LinkKernel;
  readonly nftables: NftablesKernel;
  /** Without it connections are not synchronised. */
  readonly connectionSync?: SyncKernel;
  /** Without it sockets are left alone: as where the kernel has no BPF. */
  readonly sockets?: SocklbKernel | undefined;
  /** Milliseconds, on a clock that nobody sets. @default nowMs */
  readonly monotonicMs?: () => number;
  /** Why there are none although they are wanted. */
  readonly socketRefusal?: SocketRefusal | undefined;
  /** Without it no address is announced. */
  readonly keepalived?: (directory: string, program: string) => Keepalived;
}

export interface Dataplanes {
  readonly nftables: Dataplane<NftablesRows, NftablesOp>;
  readonly ipvs: Dataplane<IpvsRows, IpvsOp>;
  /** undefined where nobody can be asked for it. */
  readonly connsync: Dataplane<SyncRows, SyncOp> | undefined;
  readonly addresses: Dataplane<AddressRows, AddressOp>;
  /** undefined where there is no keepalived to have. */
  readonly vrrp: VrrpDataplane | undefined;
  /** undefined where sockets are left alone. */
  readonly socklb: SocklbDataplane | undefined;
  /** The same, in make order. */
  readonly stages: Stages;
  /** The same, looked at in part. */
  readonly scopedStages: readonly ScopedStage[];
}

/** Wires the dataplanes as configured. */
export function assembleDataplanes(config: Config, resources: Resources): Dataplanes {
  const nftables = createNftablesDataplane(
    { kernel: resources.nftables, ledger: resources.ledger },
    { ...config, table: config.nftablesTable },
  );
  const ipvs = createIpvsDataplane(resources, { ...config, ipv6: true, defaultScheduler: config.scheduler });
  const connsync =
    resources.connectionSync &&
    syncDataplane(resources.connectionSync, resources.ledger, config.connectionSync);
  const addresses = addressesDataplane(resources.links, resources.ledger, {
    ...config,
    announcingLink: config.vrrp.mode === 'off' ? null : config.vrrp.interface,
  });
  const vrrp =
    resources.keepalived &&
    vrrpDataplane(resources.keepalived(config.vrrp.directory, config.vrrp.program), config.vrrp);
  const { sockets, socketRefusal, monotonicMs = resources.nowMs } = resources;
  const socklb = sockets && socketDataplane(config, sockets, monotonicMs);
  const absent = socketRefusal && createAbsentSocklb(socketRefusal);
  // Rules before servers, servers before their address is local, and that before it is announced; sockets last, for they
  // go past all of it.
  const inMakeOrder = [
    ...stagesOf(nftables),
    ...stagesOf(ipvs),
    ...stagesOf(connsync),
    ...stagesOf(addresses),
    ...stagesOf(vrrp),
    ...stagesOf(socklb),
    ...stagesOf(absent),
  ];
  return {
    nftables,
    ipvs,
    connsync,
    addresses,
    vrrp,
    socklb,
    stages: inMakeOrder.map(({ whole }) => whole),
    scopedStages: inMakeOrder.map(({ scoped }) => scoped),
  };
}

/** A dataplane as whole and as scoped syncs look at it; none where it is not there. */
function stagesOf<Rows, Op extends Operation>(dataplane: Dataplane<Rows, Op> | undefined) {
  return dataplane ? [{ whole: stageOf(dataplane), scoped: scopedStageOf(dataplane) }] : [];
}

function socketDataplane(config: Config, kernel: SocklbKernel, nowMs: () => number): SocklbDataplane {
  const { mode } = config.socketLoadBalancer;
  const isAuto = mode === 'auto';
  return createSocklbDataplane(
    { kernel, nowMs },
    { ...config, mode: isAuto ? 'on' : mode, isCautious: isAuto },
  );
}

/**
 * Dataplanes that can project and plan, and have no kernel to observe or change. Sockets are among them where the
 * configuration says so: what `auto` comes to, only a node can tell.
 * @param links never asked
 */
export function assembleUnconnected(config: Config, links: LinkKernel, nowMs: () => number): Dataplanes {
  const kernel: IpvsKernel = { dump: noKernel, read: noKernel, has: noKernel, execute: noKernel };
  const nftables: NftablesKernel = { list: noKernel, run: noKernel, generation: () => undefined };
  const ledger: LedgerAccess = { read: () => EMPTY_LEDGER, update: () => undefined, check: () => undefined };
  const isWanted = ['on', 'hostOnly'].includes(config.socketLoadBalancer.mode);
  const sockets = isWanted ? NO_SOCKETS : undefined;
  const keepalived = () => NO_KEEPALIVED;
  const connectionSync: SyncKernel = {
    daemons: noKernel,
    start: noKernel,
    stop: noKernel,
    linkIndex: noKernel,
  };
  const none = { kernel, links, nftables, ledger, sockets, keepalived, connectionSync };
  return assembleDataplanes(config, { ...none, nowMs });
}

const NO_SOCKETS: SocklbKernel = {
  hostNamespace: 0,
  ending: { outcome: 'supported' },
  endSockets: noKernel,
  programs: noKernel,
  attach: noKernel,
  remove: noKernel,
  readAll: noKernel,
  lookUp: noKernel,
  update: noKernel,
  delete: noKernel,
  tables: noKernel,
  setTables: noKernel,
  deleteTables: noKernel,
  statistics: noKernel,
};

const NO_KEEPALIVED: Keepalived = {
  files: noKernel,
  write: noKernel,
  remove: noKernel,
  isRunning: noKernel,
  states: () => new Map(),
  complaint: noKernel,
  load: noKernel,
  stop: noKernel,
};

function noKernel(): never {
  throw new Error('No kernel is looked at here');
}

/**
 * How many of the virtual servers sockets are connected past, and how many all go through IPVS; and why sockets are not
 * balanced as they are to be, or null. By what syncs have seen and done: reads nothing.
 */
export function socketStanding(
  { socklb }: Pick<Dataplanes, 'socklb'>,
  desired: DesiredState | undefined,
): { readonly failure: string | null; readonly served: number; readonly left: number } {
  const standing = socklb?.standing();
  const keys = [...(desired?.virtualServers.keys() ?? [])];
  const served = standing ? keys.filter((key) => standing.serves(key)).length : 0;
  return { failure: standing?.failure ?? null, served, left: keys.length - served };
}

/** What `snapshot` records as the state of every dataplane; it records no sysctls, which count as right. */
export function recordedStates(
  { nftables, ipvs, connsync, addresses, vrrp, socklb }: Dataplanes,
  snapshot: Snapshot,
  desired: DesiredState,
  nowMs: number,
): readonly StageState[] {
  return [
    stageState(nftables, nftablesFromSnapshot(snapshot, nftables.project(desired).rows)),
    stageState(ipvs, rowsFromSnapshot(snapshot.virtualServers, nowMs)),
    ...(connsync ? [stageState(connsync, syncFromSnapshot(snapshot))] : []),
    stageState(addresses, addressesFromSnapshot(snapshot, addresses.project(desired).rows)),
    ...(vrrp ? [stageState(vrrp, vrrpFromSnapshot(snapshot, vrrp.project(desired).rows))] : []),
    ...(socklb ? [stageState(socklb, socketsFromSnapshot(snapshot, socklb.project(desired).rows))] : []),
  ];
}

/** The rows that `desired` means to the dataplanes; `rejected` has what they refuse. */
export function projectSnapshot(
  { nftables, ipvs, connsync, addresses, vrrp, socklb }: Dataplanes,
  desired: DesiredState,
): Snapshot {
  const rules = nftables.project(desired);
  const servers = ipvs.project(desired);
  const bound = addresses.project(desired);
  const announced = vrrp?.project(desired);
  const sockets = socklb?.project(desired);
  return {
    version: 1,
    node: desired.node,
    ...addressesToSnapshot(bound.rows),
    virtualServers: snapshotVirtualServers(servers.rows, 'desired'),
    ...nftablesToSnapshot(rules.rows),
    ...(sockets && socketsToSnapshot(sockets.rows)),
    ...(announced && vrrpToSnapshot(announced.rows)),
    ...(connsync && syncToSnapshot(connsync.project(desired).rows, 'desired')),
    rejected: [rules, servers, bound, announced, sockets]
      .flatMap((projection) => projection?.refused ?? [])
      .sort(compareRejected),
  };
}

/** The rows that `desired` means, with all that decides about connections. */
export function traceRows({ nftables, ipvs, addresses }: Dataplanes, config: Config, desired: DesiredState) {
  return {
    nftables: nftables.project(desired).rows,
    ipvs: ipvs.project(desired).rows,
    addresses: addresses.project(desired).rows,
    nodeAddresses: desired.nodeAddresses,
    markOptions: config,
  };
}

/** What the kernel has. */
export async function observeSnapshot(
  { nftables, ipvs, connsync, addresses, vrrp, socklb }: Dataplanes,
  node: string,
  signal: AbortSignal,
): Promise<Snapshot> {
  const rules = await nftables.observe(signal);
  const servers = await ipvs.observe(signal);
  const synchronised = await connsync?.observe(signal);
  const bound = await addresses.observe(signal);
  const announced = await vrrp?.observe(signal);
  const sockets = await socklb?.observe(signal);
  return {
    version: 1,
    node,
    ...addressesToSnapshot(bound),
    virtualServers: snapshotVirtualServers(servers, 'observed'),
    ...nftablesToSnapshot(rules),
    ...(sockets && socketsToSnapshot(sockets)),
    ...(announced && vrrpToSnapshot(announced)),
    ...(synchronised && syncToSnapshot(synchronised, 'observed')),
    rejected: [],
  };
}
