import type { Rejected } from '../model/rejected.ts';
import type { SyncReport } from '../sync/sync-once.ts';
import { countOperations, renderOperation } from './render-plan.ts';

/** What an apply did, one line per acknowledged operation, then the sum. */
export function renderReport(rounds: readonly SyncReport[], colour: boolean): string {
  const done = rounds.flatMap((round) => round.acknowledged);
  const last = rounds.at(-1);
  const counts = countOperations(done);
  const undone = [
    ...((last?.refused.length ?? 0) > 0 ? [`${last?.refused.length} failed`] : []),
    ...((last?.notAttempted.length ?? 0) > 0 ? [`${last?.notAttempted.length} not attempted`] : []),
  ];
  const sum = [`${counts.add} added`, `${counts.change} changed`, `${counts.delete} deleted`, ...undone].join(
    ', ',
  );
  return `${done.map((op) => `${renderOperation(op, colour)}\n`).join('')}Applied: ${sum}.\n`;
}

/** The same as data. */
export function renderReportJson(rounds: readonly SyncReport[], rejected: readonly Rejected[]): string {
  const last = rounds.at(-1);
  const document = {
    version: 1,
    applied: rounds.flatMap((round) => round.acknowledged),
    failed: last?.refused ?? [],
    notAttempted: last?.notAttempted ?? [],
    rejected,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}
