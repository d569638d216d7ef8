import type { IpAddress } from '../../model/address.ts';
import { compareRejected, type Rejected } from '../../model/rejected.ts';
import type { Scheduler } from '../../model/scheduler.ts';
import { compareIdentities, realServerKey } from '../../model/virtual-server.ts';
import type { Plan } from '../dataplane.ts';
import { type DrainOptions, dropRealServer, dropVirtualServer, mustDrain, timeoutOf } from './drain.ts';
import { planFlows } from './flows.ts';
import {
  addRealServer,
  addVirtualServer,
  adoptVirtualServer,
  deleteRealServer,
  deleteVirtualServer,
  type IpvsOp,
  setRealServer,
  setVirtualServer,
} from './ops.ts';
import { planSysctls, restoreSysctls } from './plan-sysctls.ts';
import {
  EMPTY_ROWS,
  equalConfig,
  equalOrigin,
  equalRealServerConfig,
  equalRealServers,
  equalRows,
  frontendOf,
  type IpvsRows,
  sortedRealServers,
  type VirtualServerRow,
} from './rows.ts';
import { plural } from './text.ts';
import { isExternal } from './unwanted.ts';

export interface PlanOptions extends DrainOptions {
  /** Instead of a scheduler that the kernel does not have. */
  readonly defaultScheduler: Scheduler;
}

/** What one virtual server needs. */
interface Change {
  readonly row: VirtualServerRow;
  readonly make: readonly IpvsOp[];
  readonly break: readonly IpvsOp[];
}

/** The operations that turn `observed` into `wanted` without cutting a connection that can be kept. */
export function planIpvs(observed: IpvsRows, wanted: IpvsRows, options: PlanOptions): Plan<IpvsOp> {
  const changes: Change[] = [];
  const conflicts: Rejected[] = [];
  for (const [key, given] of wanted.virtualServers) {
    const have = observed.virtualServers.get(key);
    if (have === given) continue;
    const want = withAvailableScheduler(given, observed.unavailableSchedulers, options.defaultScheduler);
    if (want !== given) conflicts.push(missingSchedulerConflict(given, want));
    if (!have) changes.push({ row: want, make: addition(want), break: [] });
    else if (have.owner === 'foreign' && !equalRows(have, want)) conflicts.push(foreignConflict(have, want));
    else changes.push(alteration(have, want, observed.observedAtMs, options));
  }
  for (const [key, have] of observed.virtualServers) {
    if (have.owner !== 'svcplane' || wanted.virtualServers.has(key)) continue;
    changes.push({ row: have, make: [], break: dropVirtualServer(have, observed.observedAtMs, options) });
  }
  const sysctls = planSysctls(observed, wanted, !keepsAnnounced(observed, wanted, options));
  const ordered = changes
    .filter((change) => change.make.length > 0 || change.break.length > 0)
    .sort((a, b) => compareUrgency(a.row, b.row));
  const make = ordered.flatMap((change) => change.make);
  const broken = ordered.reverse().flatMap((change) => change.break);
  return {
    make: [...sysctls.make, ...make],
    break: [...broken, ...planFlows(observed, wanted, [...make, ...broken]), ...sysctls.break],
    conflicts: [...conflicts, ...sysctls.conflicts].sort(compareRejected),
  };
}

/**
 * Deletes all that is ours, connections or not, and gives each sysctl its old value back unless somebody has changed
 * it since.
 */
export function teardownIpvs(observed: IpvsRows): Plan<IpvsOp> {
  const ours = [...observed.virtualServers.values()]
    .filter((row) => row.owner === 'svcplane')
    .sort((a, b) => compareUrgency(b, a));
  const restored = restoreSysctls(observed, observed.sysctls?.keys() ?? []);
  const deleted = ours.map((row) => deleteVirtualServer(row, 'all that is of svcplane is removed'));
  const flows = planFlows(observed, EMPTY_ROWS, deleted);
  return { make: [], break: [...deleted, ...flows, ...restored], conflicts: [] };
}

/** Addresses of unwanted virtual servers of ours that this plan keeps for their connections, if no wanted one has them. */
export function drainingIpvsAddresses(
  observed: IpvsRows,
  wanted: IpvsRows,
  options: DrainOptions,
): ReadonlySet<IpAddress> {
  const draining = new Set<IpAddress>();
  for (const [key, have] of observed.virtualServers) {
    const frontend = frontendOf(have);
    if (have.owner !== 'svcplane' || frontend === null) continue;
    if (wanted.virtualServers.has(key) || !mustDrain(have, observed.observedAtMs, options)) continue;
    draining.add(frontend.address);
  }
  if (draining.size === 0) return draining;
  for (const { identity } of wanted.virtualServers.values()) {
    if (identity.kind === 'address') draining.delete(identity.address);
  }
  return draining;
}

/** Whether an unwanted address that others announce stays bound for its connections. */
function keepsAnnounced(observed: IpvsRows, wanted: IpvsRows, options: DrainOptions): boolean {
  for (const [key, have] of observed.virtualServers) {
    if (have.owner !== 'svcplane' || wanted.virtualServers.has(key)) continue;
    if (!isExternal(have.origin?.exposure)) continue;
    if (mustDrain(have, observed.observedAtMs, options)) return true;
  }
  return false;
}

/** `want` itself, or with the default scheduler if the kernel does not have its own. */
export function withAvailableScheduler(
  want: VirtualServerRow,
  unavailable: ReadonlySet<Scheduler>,
  defaultScheduler: Scheduler,
): VirtualServerRow {
  const { scheduler } = want.config;
  // With the default missing, too, the plan stays as it is and the kernel's refusal tells why.
  if (!unavailable.has(scheduler) || scheduler === defaultScheduler) return want;
  return { ...want, config: { ...want.config, scheduler: defaultScheduler } };
}

function addition(want: VirtualServerRow): IpvsOp[] {
  // Wanted rows come from Services; a row without an origin is a foreign one of a recorded snapshot.
  if (want.origin === null) return [];
  const realServers = sortedRealServers(want).map((realServer) => addRealServer(want, realServer));
  return [addVirtualServer(want, want.origin), ...realServers];
}

function alteration(
  have: VirtualServerRow,
  want: VirtualServerRow,
  observedAtMs: number,
  options: DrainOptions,
): Change {
  const make: IpvsOp[] = [];
  const ownedAsWanted = have.owner === 'svcplane' && equalOrigin(have.origin, want.origin);
  if (want.origin && !ownedAsWanted) make.push(adoptVirtualServer(have, want, want.origin));
  if (!equalConfig(have.config, want.config)) make.push(setVirtualServer(have, want));
  if (equalRealServers(have, want)) return { row: want, make, break: [] };
  const unwanted = sortedRealServers(have).filter(
    ({ config }) => !want.realServers.has(realServerKey(config)),
  );
  const handedOver = isHandedOver(have, want);
  // The clients of one frontend must not meet endpoints of another, not even until everything is made.
  if (handedOver)
    make.unshift(...unwanted.map((realServer) => deleteRealServer(have, realServer, HANDED_OVER)));
  for (const realServer of sortedRealServers(want)) {
    const present = have.realServers.get(realServerKey(realServer.config));
    if (!present) make.push(addRealServer(want, realServer));
    else if (!equalRealServerConfig(present.config, realServer.config)) {
      make.push(setRealServer(want, present, realServer));
    }
  }
  if (handedOver) return { row: want, make, break: [] };
  const reason = `no longer an endpoint of ${want.reason}`;
  return {
    row: want,
    make,
    break: unwanted.flatMap((realServer) =>
      dropRealServer(have, realServer, timeoutOf(want), observedAtMs, options, reason),
    ),
  };
}

const HANDED_OVER = 'the firewall mark is of another frontend now';

/** Whether a firewall mark of ours changes frontends, as when two keys fell on one mark and the first is gone. */
function isHandedOver(have: VirtualServerRow, want: VirtualServerRow): boolean {
  const before = have.origin?.frontend ?? null;
  return before !== null && before !== want.origin?.frontend;
}

function foreignConflict(have: VirtualServerRow, want: VirtualServerRow): Rejected {
  const owner = `${have.key} belongs to somebody else`;
  const content = `scheduler ${have.config.scheduler}, ${plural(have.realServers.size, 'real server')}`;
  const wayOut = 'Delete it, or leave its address to its owner with excludeCIDRs';
  return { subject: subjectOf(want), reason: `${owner} (${content}); left alone. ${wayOut}` };
}

function missingSchedulerConflict(given: VirtualServerRow, want: VirtualServerRow): Rejected {
  const missing = `this kernel does not have scheduler ${given.config.scheduler} (module ip_vs_${given.config.scheduler})`;
  return {
    subject: subjectOf(given),
    reason: `${given.key}: ${missing}; ${want.config.scheduler} serves instead`,
  };
}

function subjectOf(row: VirtualServerRow): string {
  return row.origin ? `Service ${row.origin.service}` : row.key;
}

/** What every workload needs first is made first and goes last: the API server, then DNS, then the canonical order. */
function compareUrgency(a: VirtualServerRow, b: VirtualServerRow): number {
  return urgencyOf(a) - urgencyOf(b) || compareIdentities(a.identity, b.identity);
}

function urgencyOf(row: VirtualServerRow): number {
  const service = row.origin?.service;
  if (service === 'default/kubernetes') return 0;
  return service === 'kube-system/kube-dns' || frontendOf(row)?.port === 53 ? 1 : 2;
}
