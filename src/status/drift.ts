import { type Operation, operationKind } from '../dataplane/dataplane.ts';

/** How a row of the kernel stands to what it should be. */
export type DriftClass = 'missing' | 'altered' | 'stale' | 'foreign';

export const DRIFT_CLASSES: readonly DriftClass[] = ['missing', 'altered', 'stale', 'foreign'];

/** What the operation that would repair a row says about it. Foreign rows are never repaired, so no operation tells. */
export function driftClass(op: Operation): Exclude<DriftClass, 'foreign'> {
  const kind = operationKind(op);
  if (kind === 'add') return 'missing';
  return kind === 'delete' || op.op.startsWith('drain') ? 'stale' : 'altered';
}

/** How many rows of each class there are. */
export function driftCounts(
  ops: readonly Operation[],
  foreign: number,
): Readonly<Record<DriftClass, number>> {
  const counts = { missing: 0, altered: 0, stale: 0, foreign };
  for (const op of ops) counts[driftClass(op)] += 1;
  return counts;
}
