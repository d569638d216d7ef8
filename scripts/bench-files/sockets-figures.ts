import type { Traffic } from '../../test/dataplane/socklb/traffic-process.ts';
import type { TroubleReport } from '../../test/dataplane/socklb/trouble.ts';
import type { Place } from './machine.ts';

/** The way to an endpoint: its own address, or that of a Service. */
export const WAYS = ['direct', 'socket LB', 'nft DNAT', 'IPVS'] as const;

export type Way = (typeof WAYS)[number];

/** One slice of traffic. */
export interface Sample {
  readonly round: number;
  readonly way: Way;
  readonly kind: Traffic;
  /** Operations a second. */
  readonly rate: number;
  /** Time of a processor for one operation, that of the server included, in µs; null where the kernel does not say. */
  readonly processorUs: number | null;
  /** Median of connect(2) alone, in µs. */
  readonly connectUs: number | null;
}

/** How long the maps take, in ms. */
export interface WriteFigures {
  readonly services: number;
  readonly endpoints: number;
  /** Of each round, from maps that are there and empty: time in bpf(2) and its bindings. */
  readonly writingMs: readonly number[];
  readonly processorMs: readonly number[];
  /** The same with what is packed, and planning. */
  readonly fullMs: readonly number[];
  /** Reading all back and planning again, with nothing to apply. */
  readonly idleMs: readonly number[];
  /** One endpoint: look, plan and apply, with what earlier changes have left to clear away. */
  readonly changeMs: readonly number[];
  readonly tables: TableFigures;
}

/** The same of Services with scheduler mh, each with a Maglev table. */
export interface TableFigures {
  readonly services: number;
  /** Of each round, from maps that are there and empty. */
  readonly fullMs: readonly number[];
  /** The longest time in which nobody else had a turn, in each of these syncs. */
  readonly longestMs: readonly number[];
  /** One endpoint, of a Service whose table this process has made. */
  readonly changeMs: readonly number[];
  /** The same of one whose table an earlier process has made. */
  readonly restartedMs: readonly number[];
}

/** What one run has measured. */
export interface SocketResults {
  readonly machine: Place;
  /** Load average of the last minute, when it began and when it ended. */
  readonly load: readonly [number, number];
  readonly rounds: number;
  readonly sliceMs: number;
  readonly ways: readonly Way[];
  readonly samples: readonly Sample[];
  readonly writes: WriteFigures;
  readonly trouble: TroubleReport;
}
