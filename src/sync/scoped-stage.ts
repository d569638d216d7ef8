import type { Dataplane, Operation } from '../dataplane/dataplane.ts';
import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { VirtualServer } from '../model/virtual-server.ts';
import { type StageState, stageState } from './stage.ts';

/** A part of what was wanted, and what is wanted of it now. */
export interface ScopedChange {
  readonly before: DesiredState;
  readonly after: DesiredState;
}

/** What a dataplane knows of itself in part, with its types closed over; see ScopedDataplane. */
export interface ScopedStage {
  needs(virtualServer: VirtualServer, desired: DesiredState): readonly string[];
  /** @returns null where only a look at everything tells what is to be done */
  observe(change: ScopedChange, isDrainCheck: boolean, signal: AbortSignal): Promise<StageState | null>;
  drainingServices(): Iterable<string>;
  localAddresses(desired: DesiredState): Iterable<IpAddress>;
}

/** Closes over a dataplane's types. One that can't be looked at in part is looked at as a whole. */
export function scopedStageOf<Rows, Op extends Operation>(dataplane: Dataplane<Rows, Op>): ScopedStage {
  const { scoped } = dataplane;
  return {
    needs: (virtualServer, desired) => scoped?.needs(virtualServer, desired) ?? [],
    observe: async ({ before, after }, isDrainCheck, signal) => {
      const rows = { before: dataplane.project(before).rows, wanted: dataplane.project(after).rows };
      const observed = await scoped?.observe({ ...rows, isDrainCheck }, signal);
      return observed ? stageState(dataplane, observed) : null;
    },
    drainingServices: () => scoped?.drainingServices?.() ?? [],
    localAddresses: (desired) => scoped?.localAddresses?.(dataplane.project(desired).rows) ?? [],
  };
}

/** What a virtual server asks of the node in all dataplanes; see ScopedDataplane.needs. */
export function needsOf(
  stages: readonly ScopedStage[],
): (virtualServer: VirtualServer, desired: DesiredState) => readonly string[] {
  // Unchanged virtual servers are the same objects from sync to sync.
  const known = new WeakMap<VirtualServer, readonly string[]>();
  // Thousands of them ask for the same.
  const lists = new Map<string, readonly string[]>();
  return (virtualServer, desired) => {
    const before = known.get(virtualServer);
    if (before) return before;
    const asked = stages.flatMap((stage) => stage.needs(virtualServer, desired));
    const needs = lists.get(asked.join()) ?? asked;
    lists.set(asked.join(), needs);
    known.set(virtualServer, needs);
    return needs;
  };
}
