import type { DesiredState } from '../../model/desired-state.ts';
import type { Dataplane } from '../dataplane.ts';
import { applySocklb, pause } from './apply.ts';
import { holdUnwantedSockets } from './hold.ts';
import type { SocklbKernel } from './kernel.ts';
import { SocklbMemory } from './memory.ts';
import { isAsWanted, isPartAsWanted } from './observe.ts';
import { isAsWantedOrAside, observeChangeOrStandAside, observeOrStandAside, standAside } from './obstacle.ts';
import type { SocklbOp } from './ops.ts';
import { parseSocklbOp } from './parse-op.ts';
import { planClearance, planSocklb, teardownSocklb } from './plan.ts';
import { memoisedFrontends, type ProjectOptions, projectSocklb } from './project.ts';
import { reduceSocklb } from './reduce.ts';
import { GRACE_MS } from './remains.ts';
import { canonical, EMPTY_ROWS, type SocklbRows } from './rows.ts';
import type { SocketStanding } from './standing.ts';

export interface SocklbResources {
  readonly kernel: SocklbKernel;
  /** Milliseconds, on a clock that nobody sets. */
  readonly nowMs: () => number;
}

/** The socket balancer, which leaves what it refuses to IPVS. */
export interface SocklbDataplane extends Dataplane<SocklbRows, SocklbOp> {
  /** What has become of sockets; reads nothing of the kernel. */
  standing(): SocketStanding;
  /** When another sync may have something to clear away, in milliseconds from now; null if none will. */
  clearanceMs(): number | null;
  /** Waits until what this process has left over may go, and clears it away: for one that makes no further sync. */
  finish(signal: AbortSignal): Promise<void>;
}

/** Sockets of this node that connect to a frontend are connected to one of its endpoints at once. */
export function createSocklbDataplane(
  { kernel, nowMs }: SocklbResources,
  configured: Omit<ProjectOptions, 'ending' | 'hostNamespace'>,
): SocklbDataplane {
  const options = { ...configured, ending: kernel.ending, hostNamespace: kernel.hostNamespace };
  const frontendOf = memoisedFrontends(options);
  const memory = new SocklbMemory();
  const context = { kernel, memory, nowMs };
  const endsSockets = kernel.ending.outcome !== 'unsupported';
  const apply = async (ops: readonly SocklbOp[], signal: AbortSignal) => {
    const report = await applySocklb(ops, kernel, (op) => memory.acknowledge(op, nowMs()), signal);
    memory.applied(report);
    return report;
  };
  const project = (desired: DesiredState) => projectSocklb(desired, options, frontendOf);
  return {
    name: 'socklb',
    project,
    observe: (signal) => observeOrStandAside(context, signal),
    isAsWanted: (desired, look) =>
      isAsWantedOrAside(context, look.signal, () => isAsWanted(kernel, project(desired).rows, look)),
    isPartAsWanted: (desired, part, look) =>
      isAsWantedOrAside(context, look.signal, () =>
        isPartAsWanted(context, project(desired).rows, part, look),
      ),
    plan: (observed, wanted) =>
      observed.obstacle === null ? planSocklb(observed, wanted, endsSockets) : standAside(observed.obstacle),
    teardown: teardownSocklb,
    apply,
    reduce: reduceSocklb,
    canonical,
    // The maps are ours by name, and nothing else is read.
    foreign: () => [],
    parseOp: parseSocklbOp,
    holdUnwanted: holdUnwantedSockets,
    scoped: {
      needs: () => [],
      observe: (change, signal) => observeChangeOrStandAside(context, change, signal),
    },
    standing: () => memory.standing(options.mode),
    clearanceMs: () => memory.waitMs(nowMs()),
    finish: async (signal) => {
      if (memory.waitMs(nowMs()) === null || signal.aborted) return;
      // A timer may be up to a millisecond early.
      await pause(GRACE_MS + 1);
      const nothing = { before: EMPTY_ROWS, wanted: EMPTY_ROWS, isDrainCheck: true };
      const rows = await observeChangeOrStandAside(context, nothing, signal);
      if (rows) await apply(planClearance(rows, endsSockets), signal);
    },
  };
}
