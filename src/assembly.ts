import type { Config } from './config.ts';
import { addressesDataplane } from './dataplane/addresses/index.ts';
import type { LinkKernel } from './dataplane/addresses/kernel.ts';
import type { AddressOp } from './dataplane/addresses/ops.ts';
import type { AddressRows } from './dataplane/addresses/rows.ts';
import {
  fromSnapshot as addressesFromSnapshot,
  toSnapshot as addressesToSnapshot,
} from './dataplane/addresses/snapshot.ts';
import type { Dataplane } from './dataplane/dataplane.ts';
import { createIpvsDataplane, type IpvsResources } from './dataplane/ipvs/index.ts';
import type { IpvsOp } from './dataplane/ipvs/ops.ts';
import type { IpvsRows } from './dataplane/ipvs/rows.ts';
import { rowsFromSnapshot, snapshotVirtualServers } from './dataplane/ipvs/snapshot.ts';
import { project as projectNftables } from './dataplane/nftables/project.ts';
import type { DesiredState } from './model/desired-state.ts';
import { compareRejected } from './model/rejected.ts';
import type { Snapshot } from './snapshot/snapshot.ts';
import { type StageState, stageOf, stageState } from './sync/stage.ts';
import type { Stages } from './sync/sync-once.ts';

/** What the dataplanes reach the outside through. */
export interface Resources extends IpvsResources {
  readonly links: LinkKernel;
}

export interface Dataplanes {
  readonly ipvs: Dataplane<IpvsRows, IpvsOp>;
  readonly addresses: Dataplane<AddressRows, AddressOp>;
  /** The same, in make order. */
  readonly stages: Stages;
}

/** Wires the dataplanes as configured. */
export function assembleDataplanes(config: Config, resources: Resources): Dataplanes {
  const ipvs = createIpvsDataplane(resources, { ...config, ipv6: true, defaultScheduler: config.scheduler });
  const addresses = addressesDataplane(resources.links, resources.ledger, config);
  return { ipvs, addresses, stages: [stageOf(ipvs), stageOf(addresses)] };
}

/** What `snapshot` records as the state of every dataplane; it records no sysctls, which count as right. */
export function recordedStates(
  { ipvs, addresses }: Dataplanes,
  snapshot: Snapshot,
  desired: DesiredState,
  nowMs: number,
): readonly StageState[] {
  const wantedAddresses = addresses.project(desired).rows;
  return [
    stageState(ipvs, rowsFromSnapshot(snapshot.virtualServers, nowMs)),
    stageState(addresses, addressesFromSnapshot(snapshot, wantedAddresses)),
  ];
}

/** The rows that `desired` means to the dataplanes; `rejected` has what they refuse. */
export function projectSnapshot({ ipvs, addresses }: Dataplanes, desired: DesiredState): Snapshot {
  const servers = ipvs.project(desired);
  const bound = addresses.project(desired);
  return {
    version: 1,
    node: desired.node,
    ...addressesToSnapshot(bound.rows),
    virtualServers: snapshotVirtualServers(servers.rows, 'desired'),
    rejected: [...servers.refused, ...bound.refused].sort(compareRejected),
  };
}

/** The rows that `desired` means, with all that decides about connections. */
export function traceRows({ ipvs, addresses }: Dataplanes, config: Config, desired: DesiredState) {
  return {
    nftables: projectNftables(desired, { ...config, table: 'svcplane' }).rows,
    ipvs: ipvs.project(desired).rows,
    addresses: addresses.project(desired).rows,
    nodeAddresses: desired.nodeAddresses,
    markOptions: config,
  };
}

/** What the kernel has. */
export async function observeSnapshot(
  { ipvs, addresses }: Dataplanes,
  node: string,
  signal: AbortSignal,
): Promise<Snapshot> {
  const servers = await ipvs.observe(signal);
  const bound = await addresses.observe(signal);
  return {
    version: 1,
    node,
    ...addressesToSnapshot(bound),
    virtualServers: snapshotVirtualServers(servers, 'observed'),
    rejected: [],
  };
}
