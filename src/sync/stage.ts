import {
  type ApplyReport,
  type Dataplane,
  type DataplaneName,
  type Look,
  lookAtAll,
  type Operation,
  type Part,
  type Plan,
  type Projection,
  type Served,
  type Unwanted,
} from '../dataplane/dataplane.ts';
import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { Rejected } from '../model/rejected.ts';

/** A dataplane with its types of rows and operations closed over, so that a sync can hold several kinds. */
export interface Stage {
  readonly name: DataplaneName;
  observe(signal: AbortSignal): Promise<StageState>;
  /** A look as cheap as can be: false where only `observe` and a plan tell what is to be done. */
  isAsWanted(desired: DesiredState, look: Look): Promise<boolean>;
  /** A closer look at a part, for what the cheap look does not see. */
  isPartAsWanted(desired: DesiredState, part: Part, look: Look): Promise<boolean>;
  /** Operations of a saved plan that are this dataplane's. @throws RangeError if one is malformed */
  parse(ops: readonly unknown[]): StageOps;
}

/** What one dataplane looked like at one moment. */
export interface StageState {
  readonly name: DataplaneName;
  /** Stable text of the configuration seen. */
  canonical(): string;
  foreign(): readonly string[];
  drainingAddresses(desired: DesiredState): ReadonlySet<IpAddress>;
  /** Virtual servers of ours that are not wanted any more; undefined where there are no virtual servers. */
  unwanted(desired: DesiredState): Unwanted | undefined;
  /** What clients reach now; undefined where there are no virtual servers. */
  served(): Served | undefined;
  plan(desired: DesiredState, retained: Retained): StagePlan;
  teardown(): StagePlan;
  /**
   * What it looks like once those of `ops` that are this dataplane's are done.
   * @throws RangeError if one is malformed
   */
  after(ops: readonly Operation[]): StageState;
}

/** What stays although `desired` does not have it. */
export interface Retained {
  /** Addresses, while connections to them drain. */
  readonly addresses: ReadonlySet<IpAddress>;
  /** All that there is of these virtual servers. */
  readonly held?: Unwanted | undefined;
}

export interface StagePlan {
  readonly name: DataplaneName;
  readonly make: StageOps;
  readonly break: StageOps;
  readonly conflicts: readonly Rejected[];
  /** Desired rows that this dataplane can't express. */
  readonly refused: readonly Rejected[];
}

/** Operations of one dataplane, in order. */
export interface StageOps {
  readonly ops: readonly Operation[];
  /** See Dataplane.isGate. */
  readonly isGate: boolean;
  /** Executes those that `permits` lets through. */
  apply(permits: (op: Operation) => boolean, signal: AbortSignal): Promise<ApplyReport<Operation>>;
}

/** Closes over a dataplane's types. */
export function stageOf<Rows, Op extends Operation>(dataplane: Dataplane<Rows, Op>): Stage {
  let foreign: readonly string[] = [];
  return {
    name: dataplane.name,
    observe: async (signal) => {
      const observed = await dataplane.observe(signal);
      foreign = dataplane.foreign(observed);
      return stageState(dataplane, observed);
    },
    isAsWanted: (desired, look) => isAsWanted(dataplane, desired, foreign, look),
    isPartAsWanted: async (...asked) => (await dataplane.isPartAsWanted?.(...asked)) ?? true,
    parse: (ops) => stageOps(dataplane, parsedOps(dataplane, ops)),
  };
}

/** By its own cheap look, or for want of one by all that there is. @param foreign as seen before */
async function isAsWanted<Rows, Op extends Operation>(
  dataplane: Dataplane<Rows, Op>,
  desired: DesiredState,
  foreign: readonly string[],
  look: Look,
): Promise<boolean> {
  if (dataplane.isAsWanted) return dataplane.isAsWanted(desired, look);
  const { isAsWanted, observed } = await lookAtAll(dataplane, desired, look);
  const isForeignSame = dataplane.foreign(observed).join('\n') === foreign.join('\n');
  return isForeignSame && isAsWanted;
}

/** The state of a dataplane whose rows are known already, as from a recorded snapshot. */
export function stageState<Rows, Op extends Operation>(
  dataplane: Dataplane<Rows, Op>,
  observed: Rows,
): StageState {
  const { name } = dataplane;
  const projected = memoised((desired: DesiredState) => dataplane.project(desired));
  const planOf = (plan: Plan<Op>, refused: readonly Rejected[]): StagePlan => ({
    name,
    make: stageOps(dataplane, plan.make),
    break: stageOps(dataplane, plan.break),
    conflicts: plan.conflicts,
    refused,
  });
  return {
    name,
    canonical: () => dataplane.canonical(observed),
    foreign: () => dataplane.foreign(observed),
    drainingAddresses: (desired) =>
      dataplane.drainingAddresses?.(observed, projected(desired).rows) ?? new Set<IpAddress>(),
    unwanted: (desired) => dataplane.unwanted?.(observed, projected(desired).rows, desired.hostAddresses),
    served: () => dataplane.served?.(observed),
    plan: (desired, { addresses, held }) => {
      const { rows, refused } = projected(desired);
      const retained = dataplane.retainAddresses?.(observed, rows, addresses) ?? rows;
      const wanted = (held && dataplane.holdUnwanted?.(observed, retained, held)) ?? retained;
      return planOf(dataplane.plan(observed, wanted), refused);
    },
    teardown: () => planOf(dataplane.teardown(observed), []),
    after: (ops) => stageState(dataplane, dataplane.reduce(observed, parsedOps(dataplane, ops))),
  };
}

/** Those that are this dataplane's. */
function parsedOps<Rows, Op extends Operation>(
  dataplane: Dataplane<Rows, Op>,
  ops: readonly unknown[],
): readonly Op[] {
  return ops.flatMap((op) => dataplane.parseOp(op) ?? []);
}

/** The last answer again while the question stays the same. */
function memoised<Rows>(
  project: (desired: DesiredState) => Projection<Rows>,
): (desired: DesiredState) => Projection<Rows> {
  let last: { readonly desired: DesiredState; readonly projection: Projection<Rows> } | undefined;
  return (desired) => {
    if (last?.desired !== desired) last = { desired, projection: project(desired) };
    return last.projection;
  };
}

function stageOps<Rows, Op extends Operation>(dataplane: Dataplane<Rows, Op>, ops: readonly Op[]): StageOps {
  const { isGate = false } = dataplane;
  return { ops, isGate, apply: (permits, signal) => dataplane.apply(ops.filter(permits), signal) };
}
