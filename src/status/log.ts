import { pino } from 'pino';
import { type Operation, operationKind } from '../dataplane/dataplane.ts';
import type { Rejected } from '../model/rejected.ts';
import { driftClass, driftCounts } from './drift.ts';
import {
  type AuditRecord,
  acknowledgedIn,
  failuresOf,
  type GuardRecord,
  type SyncRecord,
} from './records.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

/** Where lines go, each with its line end. */
export interface LogDestination {
  write(line: string): void;
}

/** How many of one kind are told one by one before the rest is only counted. */
const LISTED = 50;

/** How many are named in a line that counts them. */
const NAMED = 5;

/**
 * What `run` says on standard output, one JSON object a line: what has changed, and not over and over what stays the
 * same.
 */
export class DaemonLog {
  readonly #logger: pino.Logger;
  readonly #said = new Map<string, ReadonlySet<string>>();

  /**
   * @param destination standard output by default, written to before a call returns, so that no line is lost at the
   * end; once nobody reads it any more (EPIPE) lines are dropped and the daemon goes on
   */
  constructor(level: LogLevel, destination?: LogDestination) {
    this.#logger = pino(
      {
        level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      destination ?? pino.destination({ fd: process.stdout.fd, sync: true }),
    );
  }

  /** From now on; what is below is not said. */
  set level(level: LogLevel) {
    this.#logger.level = level;
  }

  info(message: string): void {
    this.#logger.info(message);
  }

  warn(message: string): void {
    this.#logger.warn(message);
  }

  /** What `failed: ` begins has gone wrong, anything else is worth knowing: as reports of ports read. */
  report(line: string): void {
    if (line.startsWith('failed: ')) this.#logger.error(line);
    else this.#logger.info(line);
  }

  /** One line for a sync that has changed something, each operation at debug; and what failed, and did not before. */
  synced(record: SyncRecord): void {
    const done = acknowledgedIn(record);
    for (const op of done) this.#logger.debug(fieldsOf(op), 'operation');
    if (done.length > 0) {
      const failed = record.rounds.at(-1)?.refused.length ?? 0;
      const undone = failed > 0 ? `, ${failed} failed` : '';
      const reasons = [...record.reasons].join(', ');
      const { kind, begunAtMs, endedAtMs } = record;
      const fields = { kind, durationMs: Math.round(endedAtMs - begunAtMs), operations: countsByName(done) };
      this.#logger.info(fields, `synced: ${countsText(done)}${undone} (${reasons})`);
    }
    this.failed(failuresOf(record));
  }

  /** Those that the last sync did not have. */
  failed(messages: readonly string[]): void {
    for (const message of this.#fresh('failed', messages)) this.#logger.error(`failed: ${message}`);
  }

  /** Those that the last sync did not have. */
  rejected(rejected: readonly Rejected[]): void {
    const texts = rejected.map(({ subject, reason }) => `${subject}: ${reason}`);
    this.#listed('warn', 'rejected', this.#fresh('rejected', texts));
  }

  /** What an audit has found, row by row: those that the last one did not find. */
  audited({ ops, isRepaired }: AuditRecord): void {
    const { missing, altered, stale } = driftCounts(ops, 0);
    const what = isRepaired ? 'repaired' : 'left as it is (audit.repair is false)';
    const sum = `drift: ${missing} missing, ${altered} altered, ${stale} stale, ${what}`;
    for (const line of this.#fresh('audit', ops.length > 0 ? [sum] : [])) this.#logger.warn(line);
    const rows = new Map(ops.map((op) => [`${op.op} ${op.subject} ${op.detail}`, op]));
    const fresh = this.#fresh('drift', [...rows.keys()]).flatMap((key) => rows.get(key) ?? []);
    for (const op of fresh.slice(0, LISTED)) this.#logger.warn(fieldsOf(op), driftText(op));
    if (fresh.length > LISTED) this.#logger.warn(`drift: ${fresh.length - LISTED} more; see svcplane verify`);
  }

  /** After each look at everything: rows of somebody else that the last look did not see, in one line. */
  foreign(rows: readonly string[]): void {
    const wereThere = (this.#said.get('foreign')?.size ?? 0) > 0;
    const fresh = this.#fresh('foreign', rows);
    if (fresh.length === 0) return;
    const shown = [...fresh.slice(0, NAMED), ...(fresh.length > NAMED ? ['…'] : [])].join(', ');
    const more = wereThere ? ' more' : '';
    this.#logger.info(`foreign: ${fresh.length}${more} made by somebody else, left as found: ${shown}`);
  }

  /** After each sync: when it begins to hold something back, and when it no longer does. */
  guarded(guard: GuardRecord | null): void {
    const wasHeld = (this.#said.get('guard')?.size ?? 0) > 0;
    for (const reason of this.#fresh('guard', guard ? [guard.reason] : [])) {
      this.#logger.error(reason);
    }
    if (!guard && wasHeld) this.#logger.info('guard: holds nothing back any more');
  }

  /**
   * What is wrong with the watch of a kind: each reason once until it goes on, for the configured API server and its
   * other addresses are tried in turn and fail each in its own way.
   * @param reason "" where it goes on
   */
  watching(kind: string, reason: string): void {
    const topic = `api ${kind}`;
    const before = this.#said.get(topic);
    if (reason === '') {
      this.#said.delete(topic);
      if (before) this.#logger.info(`api: ${kind}: watched again`);
    } else if (!before?.has(reason)) {
      this.#said.set(topic, new Set([...(before ?? []), reason]));
      this.#logger.warn(`api: ${kind}: ${reason}`);
    }
  }

  /** Says of `texts` what it did not say of this topic the last time. */
  told(topic: string, texts: readonly string[]): void {
    for (const text of this.#fresh(topic, texts)) this.#logger.warn(text.trimEnd());
  }

  #listed(level: 'warn' | 'error', name: string, texts: readonly string[]): void {
    for (const text of texts.slice(0, LISTED)) this.#logger[level](`${name}: ${text}`);
    if (texts.length > LISTED) this.#logger[level](`${name}: ${texts.length - LISTED} more`);
  }

  #fresh(topic: string, texts: readonly string[]): readonly string[] {
    const before = this.#said.get(topic);
    this.#said.set(topic, new Set(texts));
    return texts.filter((text) => !before?.has(text));
  }
}

function fieldsOf({ op, subject, detail, reason }: Operation) {
  return { op, subject, detail, reason };
}

/** `drift: altered TCP 10.96.0.50:80 -> 10.244.1.20:8080: weight 5 → 1`: what was found, and what is wanted. */
function driftText(op: Operation): string {
  return `drift: ${driftClass(op)} ${op.subject}${op.detail === '' ? '' : `: ${op.detail}`}`;
}

function countsText(ops: readonly Operation[]): string {
  const counts = { add: 0, change: 0, delete: 0 };
  for (const op of ops) counts[operationKind(op)] += 1;
  return `${counts.add} added, ${counts.change} changed, ${counts.delete} deleted`;
}

/** How often each operation was done: `{ addRealServer: 3 }`. */
function countsByName(ops: readonly Operation[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { op } of ops) counts[op] = (counts[op] ?? 0) + 1;
  return counts;
}
