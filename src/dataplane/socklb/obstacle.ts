import type { Plan, RowsChange } from '../dataplane.ts';
import { errnoOf } from './errno.ts';
import type { SocklbKernel } from './kernel.ts';
import { type ObserveContext, observeSocklb, observeSocklbChange } from './observe.ts';
import type { SocklbOp } from './ops.ts';
import { SUBJECT } from './project.ts';
import { hintOf } from './refusals.ts';
import { EMPTY_ROWS, type SocklbRows } from './rows.ts';

/** As {@link observeSocklb}; where maps can't be opened there is an obstacle in the place of rows. */
export function observeOrStandAside(context: ObserveContext, signal: AbortSignal): Promise<SocklbRows> {
  return orStandAside(context, () => observeSocklb(context, signal));
}

/** As {@link observeSocklbChange}; once an obstacle is gone, it takes a look at everything. */
export function observeChangeOrStandAside(
  context: ObserveContext,
  change: RowsChange<SocklbRows>,
  signal: AbortSignal,
): Promise<SocklbRows | null> {
  const { kernel, memory } = context;
  return orStandAside(context, async () => {
    if (memory.obstacle !== null) {
      await open(kernel, signal);
      return null;
    }
    const rows = await observeSocklbChange(context, change, signal);
    if (rows) memory.looked(rows.observedAtMs);
    return rows;
  });
}

/** As `isWanted` says; in front of an obstacle nothing is to be done for as long as it stays the same. */
export async function isAsWantedOrAside(
  { kernel, memory }: ObserveContext,
  signal: AbortSignal,
  isWanted: () => Promise<boolean>,
): Promise<boolean> {
  const { obstacle } = memory;
  try {
    if (obstacle === null) return await isWanted();
    await open(kernel, signal);
    return false;
  } catch (error) {
    const now = obstacleOf(error);
    if (now === undefined) throw error;
    return now === obstacle;
  }
}

/** Nothing is done about what can't be seen. */
export function standAside(obstacle: string): Plan<SocklbOp> {
  return { make: [], break: [], conflicts: [{ subject: SUBJECT, reason: obstacle }] };
}

async function orStandAside<Rows extends SocklbRows | null>(
  { memory, nowMs }: ObserveContext,
  look: () => Promise<Rows>,
): Promise<Rows | SocklbRows> {
  try {
    return await look();
  } catch (error) {
    const obstacle = obstacleOf(error);
    if (obstacle === undefined) throw error;
    memory.standAside(obstacle);
    return { ...EMPTY_ROWS, obstacle, observedAtMs: nowMs() };
  }
}

/** All that a look needs to be open. */
async function open(kernel: SocklbKernel, signal: AbortSignal): Promise<void> {
  await kernel.programs(signal);
  await kernel.readAll('lb_cfg', signal);
}

/** In one line; undefined for what is no refusal of the kernel. */
function obstacleOf(error: unknown): string | undefined {
  const code = errnoOf(error);
  if (code === undefined || !(error instanceof Error)) return undefined;
  const hint = hintOf(code);
  return `sockets are left as they are: ${error.message}${hint === '' ? '' : `: ${hint}`}`;
}
