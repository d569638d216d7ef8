import { createHash } from 'node:crypto';
import { type ApplyReport, type Operation, rootSubject, type Unwanted } from '../dataplane/dataplane.ts';
import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import { compareRejected, type Rejected } from '../model/rejected.ts';
import type { VirtualServerKey } from '../model/virtual-server.ts';
import { countEndpoints, withServedEndpoints } from './emptied.ts';
import type { DeletionCounts, PartialLoss } from './guard.ts';
import type { Stage, StageOps, StagePlan, StageState } from './stage.ts';

/** The stages in make order: nftables, ipvs, connsync, addresses, vrrp, socklb. They are broken in reverse. */
export type Stages = readonly Stage[];

/** What one sync would do, over all dataplanes, and what it can't. */
export interface SyncPlan {
  /** Covers the configuration observed; another digest means that the kernel has moved. */
  readonly digest: string;
  readonly make: readonly StageOps[];
  /** Already in break order. */
  readonly break: readonly StageOps[];
  /** Conflicts with foreign rows, and rows a dataplane refuses; sorted. */
  readonly rejected: readonly Rejected[];
  /** Foreign rows that were seen, by name. */
  readonly foreign: readonly string[];
}

export type SyncReport = ApplyReport<Operation>;

/** Reads the kernel, dataplane by dataplane; the first in make order last, for its tables are the dearest to read. */
export async function observeStages(stages: Stages, signal: AbortSignal): Promise<readonly StageState[]> {
  const states: StageState[] = [];
  for (const stage of stages.toReversed()) states.unshift(await stage.observe(signal));
  return states;
}

export interface SyncPlanOptions {
  /** Whether virtual servers of ours that are not wanted any more stay as they are, with all that they need. */
  readonly holdsUnwanted?: boolean;
}

/** Pure: one plan from all states. An address stays local while connections to its virtual servers drain. */
export function planSync(
  states: readonly StageState[],
  desired: DesiredState,
  { holdsUnwanted = false }: SyncPlanOptions = {},
): SyncPlan {
  const addresses = new Set<IpAddress>();
  for (const state of states) for (const address of state.drainingAddresses(desired)) addresses.add(address);
  const held = holdsUnwanted ? unwantedIn(states, desired) : undefined;
  return syncPlan(
    states,
    states.map((state) => state.plan(desired, { addresses, held })),
  );
}

/** Pure: what the guard judges. */
export function countDeletions(states: readonly StageState[], desired: DesiredState): DeletionCounts {
  return countsOf(unwantedIn(states, desired));
}

function countsOf({ ours, keys }: Unwanted): DeletionCounts {
  return { ours, unwanted: keys.size };
}

function unwantedIn(states: readonly StageState[], desired: DesiredState): Unwanted {
  const all = states.flatMap((state) => state.unwanted(desired) ?? []);
  return {
    ours: all.reduce((sum, { ours }) => sum + ours, 0),
    keys: new Set(all.flatMap(({ keys }) => [...keys])),
    frontends: all.flatMap(({ frontends }) => frontends),
  };
}

/** Pure: the plan that removes exactly what is ours. */
export function planTeardown(states: readonly StageState[]): SyncPlan {
  return syncPlan(
    states,
    states.map((state) => state.teardown()),
  );
}

function syncPlan(states: readonly StageState[], plans: readonly StagePlan[]): SyncPlan {
  return {
    // The text of everything observed is large, and only plans that are saved or shown need its digest.
    get digest() {
      return digestOf(states);
    },
    make: plans.map((plan) => plan.make),
    break: plans.map((plan) => plan.break).reverse(),
    rejected: plans.flatMap((plan) => [...plan.conflicts, ...plan.refused]).sort(compareRejected),
    foreign: states.flatMap((state) => state.foreign()),
  };
}

/** SHA-256 over the canonical text of every dataplane's observed rows, in hexadecimal. */
export function digestOf(states: readonly StageState[]): string {
  const hash = createHash('sha256');
  for (const state of states) hash.update(`${state.name}\n${state.canonical()}\n`);
  return hash.digest('hex');
}

/** All operations of a plan in the order they would run. */
export function operationsOf(plan: SyncPlan): readonly Operation[] {
  return [...plan.make, ...plan.break].flatMap(({ ops }) => ops);
}

/**
 * Makes everything, then breaks. What could not be made keeps its old parts: an endpoint is not taken from a
 * virtual server that has not got its new one. After an overflow, an abort or the failure of a stage that others
 * wait for nothing is broken at all.
 */
export async function applySync(
  plan: Pick<SyncPlan, 'make' | 'break'>,
  signal: AbortSignal,
): Promise<SyncReport> {
  const { report: made, closed } = await makeAll(plan.make, signal);
  const failed = new Set(made.refused.map(({ op }) => rootSubject(op)));
  const nothing = closed || made.notAttempted.length > 0;
  const broken = await applyAll(plan.break, (op) => !nothing && !failed.has(rootSubject(op)), signal);
  return mergeReports([made, broken]);
}

/** In order; behind a gate that is not wholly made nothing is made. */
async function makeAll(
  stages: readonly StageOps[],
  signal: AbortSignal,
): Promise<{ readonly report: SyncReport; readonly closed: boolean }> {
  const reports: SyncReport[] = [];
  let closed = false;
  for (const stage of stages) {
    const report = await applyAll([stage], () => !closed, signal);
    closed ||= stage.isGate && !isComplete(report);
    reports.push(report);
  }
  return { report: mergeReports(reports), closed };
}

async function applyAll(
  stages: readonly StageOps[],
  permits: (op: Operation) => boolean,
  signal: AbortSignal,
): Promise<SyncReport> {
  const reports: SyncReport[] = [];
  for (const stage of stages) {
    const held = stage.ops.filter((op) => !permits(op));
    reports.push(await stage.apply(permits, signal), { acknowledged: [], refused: [], notAttempted: held });
  }
  return mergeReports(reports);
}

function mergeReports(reports: readonly SyncReport[]): SyncReport {
  return {
    acknowledged: reports.flatMap((report) => report.acknowledged),
    refused: reports.flatMap((report) => report.refused),
    notAttempted: reports.flatMap((report) => report.notAttempted),
  };
}

/** How often one `apply` looks again after a refusal: once to learn what the kernel lacks, once to be sure. */
const MAX_ROUNDS = 3;

/** Asked before each round of a sync, and told of what it has deleted. */
export interface SyncGuard {
  /** `hold`: unwanted virtual servers stay as they are, and Services keep the endpoints of which they would lose all. */
  review(counts: DeletionCounts): 'pass' | 'hold';
  /** Whether so little may go without a review; what goes then is told. */
  permits(loss: PartialLoss): boolean;
  /** @param count virtual servers that were not wanted any more */
  deleted(count: number): void;
  /** @param services by name, that have lost all their endpoints without a review */
  emptied(services: Iterable<string>): void;
}

/**
 * Syncs until nothing is left to do, or nothing more can be done; the last report tells which.
 * @param guard without it nothing is held back
 */
export async function syncOnce(
  stages: Stages,
  desired: DesiredState,
  signal: AbortSignal,
  guard?: Pick<SyncGuard, 'review' | 'deleted'>,
): Promise<{ readonly plan: SyncPlan; readonly rounds: readonly SyncReport[]; readonly last: SyncPlan }> {
  const round = async () => {
    const states = await observeStages(stages, signal);
    const unwanted = unwantedIn(states, desired);
    const served = guard && states.map((state) => state.served()).find((each) => each !== undefined);
    const endpoints = served && countEndpoints(desired, served);
    const isHeld = guard?.review({ ...countsOf(unwanted), ...(endpoints && { endpoints }) }) === 'hold';
    const wanted = isHeld && endpoints ? withServedEndpoints(desired, served, endpoints.emptied) : desired;
    const plan = planSync(states, wanted, { holdsUnwanted: isHeld });
    const report = await applySync(plan, signal);
    guard?.deleted(deletedServers(report).filter((key) => unwanted.keys.has(key)).length);
    return { plan, report };
  };
  const first = await round();
  const rounds: SyncReport[] = [first.report];
  let last = first.plan;
  while (rounds.length < MAX_ROUNDS && !isComplete(rounds.at(-1)) && !signal.aborted) {
    const next = await round();
    last = next.plan;
    rounds.push(next.report);
  }
  return { plan: first.plan, rounds, last };
}

/** The virtual servers that are gone by `report`: none but unwanted ones are ever deleted. */
export function deletedServers({
  acknowledged,
}: Pick<SyncReport, 'acknowledged'>): readonly VirtualServerKey[] {
  return acknowledged.flatMap(({ op, subject }) =>
    op === 'deleteVirtualServer' ? (subject as VirtualServerKey) : [],
  );
}

/** Whether a report leaves nothing undone. */
export function isComplete(report: SyncReport | undefined): boolean {
  return report !== undefined && report.refused.length === 0 && report.notAttempted.length === 0;
}
