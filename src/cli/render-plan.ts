import { styleText } from 'node:util';
import { type Operation, type OperationKind, operationKind } from '../dataplane/dataplane.ts';
import type { Rejected } from '../model/rejected.ts';
import { operationsOf, type SyncPlan } from '../sync/sync-once.ts';

const SIGN = { add: '+', change: '~', delete: '-' } as const satisfies Record<OperationKind, string>;
const COLOUR = { add: 'green', change: 'yellow', delete: 'red' } as const satisfies Record<
  OperationKind,
  string
>;

/** One line: sign, operation, what it acts on, with what, and the objects it follows from. */
export function renderOperation(op: Operation, colour: boolean): string {
  const kind = operationKind(op);
  const detail = op.detail === '' ? '' : `  ${op.detail}`;
  const line = `${SIGN[kind]} ${op.op} ${op.subject}${detail}`;
  return `${colour ? styleText(COLOUR[kind], line, { validateStream: false }) : line}  (${op.reason})`;
}

export interface OperationCounts {
  readonly add: number;
  readonly change: number;
  readonly delete: number;
}

export function countOperations(ops: readonly Operation[]): OperationCounts {
  const counts = { add: 0, change: 0, delete: 0 };
  for (const op of ops) counts[operationKind(op)]++;
  return counts;
}

/** A plan as people read it: one line per operation in the order they run, then the sum. */
export function renderPlan(plan: SyncPlan, colour: boolean): string {
  return renderOperations(operationsOf(plan), colour);
}

/** The same of operations that are no plan of a sync alone. */
export function renderOperations(ops: readonly Operation[], colour: boolean): string {
  const counts = countOperations(ops);
  const lines = ops.map((op) => `${renderOperation(op, colour)}\n`);
  return `${lines.join('')}Plan: ${counts.add} to add, ${counts.change} to change, ${counts.delete} to delete.\n`;
}

/** A plan as `apply PLANFILE` reads it. */
export interface PlanDocument {
  readonly version: 1;
  readonly digest: string;
  readonly make: readonly Operation[];
  readonly break: readonly Operation[];
  readonly rejected: readonly Rejected[];
}

export function planDocument(plan: SyncPlan, rejected: readonly Rejected[]): PlanDocument {
  return {
    version: 1,
    digest: plan.digest,
    make: plan.make.flatMap(({ ops }) => ops),
    break: plan.break.flatMap(({ ops }) => ops),
    rejected,
  };
}

/** JSON with one operation a line: stable, and readable in a diff. */
export function renderPlanJson(document: PlanDocument): string {
  const list = (rows: readonly unknown[]): string =>
    rows.length === 0 ? '[]' : `[\n    ${rows.map((row) => JSON.stringify(row)).join(',\n    ')}\n  ]`;
  return [
    '{',
    `  "version": ${document.version},`,
    `  "digest": "${document.digest}",`,
    `  "make": ${list(document.make)},`,
    `  "break": ${list(document.break)},`,
    `  "rejected": ${list(document.rejected)}`,
    '}\n',
  ].join('\n');
}
