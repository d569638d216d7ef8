import type { IpAddress } from '../model/address.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { Protocol } from '../model/port.ts';
import type { Rejected } from '../model/rejected.ts';
import type { RealServer, VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';

export type DataplaneName = 'nftables' | 'ipvs' | 'connsync' | 'addresses' | 'vrrp' | 'socklb';

/**
 * One part of the kernel that svcplane keeps right.
 *
 * Laws, each a property test per dataplane:
 * 1. idempotent: planning again after reducing a plan gives nothing, also while real servers drain;
 * 2. convergent: our rows equal the wanted ones once no unwanted row has connections left;
 * 3. restartable: after any prefix of a plan, planning again needs no more operations than were left;
 * 4. deterministic: the order of keys in the inputs does not change the plan.
 * 5. scoped: a plan for a part of the virtual servers has the operations of the whole plan that are about them.
 */
export interface Dataplane<Rows, Op extends Operation> {
  readonly name: DataplaneName;
  /**
   * Whether the dataplanes after it in make order change nothing until all of its `make` is done: its rules must
   * stand before what they protect is reachable.
   */
  readonly isGate?: boolean;
  /** Pure: the rows that `desired` means here, and what this dataplane refuses, with reasons. */
  project(desired: DesiredState): Projection<Rows>;
  /** The same in pieces, where it takes long. */
  projecting?(desired: DesiredState): Pieces<Projection<Rows>>;
  /** The kernel's rows, normalised, each marked ours or foreign. Reads only. */
  observe(signal: AbortSignal): Promise<Rows>;
  /**
   * A cheap look: whether there is nothing to do for `desired`, and of others what the last `observe` saw. It answers no
   * where it can't tell, and may miss what nothing but `observe` sees. Without it everything is read and planned.
   */
  isAsWanted?(desired: DesiredState, look: Look): Promise<boolean>;
  /** A closer look at a part of the virtual servers: whether what `isAsWanted` does not see of them is as wanted, too. */
  isPartAsWanted?(desired: DesiredState, part: Part, look: Look): Promise<boolean>;
  /** Pure; `plan(x, x)` is empty. Foreign rows are seen and never touched. */
  plan(observed: Rows, wanted: Rows): Plan<Op>;
  /** Pure: removes exactly what is ours, at once, and restores what we had changed. */
  teardown(observed: Rows): Plan<Op>;
  /** Executes in order. A refusal by the kernel is a value in the report; a broken socket throws. */
  apply(ops: readonly Op[], signal: AbortSignal): Promise<ApplyReport<Op>>;
  /** Pure: the rows after the kernel has acknowledged `ops`, in order. */
  reduce(rows: Rows, ops: readonly Op[]): Rows;
  /** Stable text of the configuration in `rows`, without counters: equal text, equal configuration. */
  canonical(rows: Rows): string;
  /** Foreign rows, by name. */
  foreign(rows: Rows): readonly string[];
  /** Reads back one operation of a saved plan; undefined if it is none of this dataplane's. @throws RangeError if malformed */
  parseOp(value: unknown): Op | undefined;
  /** Addresses no row of `wanted` has, but which must stay local while connections to them drain. */
  drainingAddresses?(observed: Rows, wanted: Rows): ReadonlySet<IpAddress>;
  /** `wanted` with `addresses` kept local too, where they are now. */
  retainAddresses?(observed: Rows, wanted: Rows, addresses: ReadonlySet<IpAddress>): Rows;
  /** Pure: the virtual servers of ours that `wanted` does not have any more, but for NodePorts without their address. */
  unwanted?(observed: Rows, wanted: Rows, hostAddresses: ReadonlySet<IpAddress> | null): Unwanted;
  /** Pure: what the virtual servers of ours give their clients now. */
  served?(observed: Rows): Served;
  /** Pure: `wanted` with all that there is now of unwanted virtual servers, so that a plan takes nothing of it away. */
  holdUnwanted?(observed: Rows, wanted: Rows, held: Unwanted): Rows;
  /** How it is looked at in part; without this every sync looks at all of it. */
  readonly scoped?: ScopedDataplane<Rows>;
}

/** How long a look may take. */
export interface Look {
  readonly signal: AbortSignal;
  /** Aborted when the look is not to go on: for what may be broken off anywhere, unlike a dialogue with the kernel. */
  readonly givenUp: AbortSignal;
  /**
   * Lets others come to their turn, if that is due. To be awaited every few milliseconds.
   * @throws where the look is not to go on
   */
  pause(): Promise<void>;
}

/** A computation that can rest wherever it yields. */
export type Pieces<Result> = Generator<undefined, Result, undefined>;

/** Without a rest. */
export function atOnce<Result>(pieces: Pieces<Result>): Result {
  for (;;) {
    const { done, value } = pieces.next();
    if (done) return value;
  }
}

/** Each is far less than a millisecond. */
const PIECES_BETWEEN_PAUSES = 64;

/** As a look permits. @throws as the look */
export async function inPieces<Result>(pieces: Pieces<Result>, look: Pick<Look, 'pause'>): Promise<Result> {
  for (let count = 1; ; count++) {
    const { done, value } = pieces.next();
    if (done) return value;
    if (count % PIECES_BETWEEN_PAUSES === 0) await look.pause();
  }
}

/** What a look at everything needs of a dataplane. */
type Plannable<Rows, Op extends Operation> = Pick<
  Dataplane<Rows, Op>,
  'project' | 'projecting' | 'observe' | 'plan'
>;

/**
 * A look at all that there is: whether nothing is to be done for `desired`, and what was seen.
 * @throws as `observe` and the look
 */
export async function lookAtAll<Rows, Op extends Operation>(
  dataplane: Plannable<Rows, Op>,
  desired: DesiredState,
  look: Look,
): Promise<{ readonly isAsWanted: boolean; readonly observed: Rows }> {
  const { rows } = await (dataplane.projecting
    ? inPieces(dataplane.projecting(desired), look)
    : dataplane.project(desired));
  await look.pause();
  const observed = await dataplane.observe(look.signal);
  await look.pause();
  const { make, break: unmake } = dataplane.plan(observed, rows);
  return { isAsWanted: make.length === 0 && unmake.length === 0, observed };
}

/** Whether `areSo` holds of all things, asked of `size` of them between two pauses. @throws as `areSo` and the look */
export async function allInGroups<Thing>(
  things: readonly Thing[],
  size: number,
  look: Pick<Look, 'pause'>,
  areSo: (group: readonly Thing[]) => Promise<boolean>,
): Promise<boolean> {
  for (let start = 0; start < things.length; start += size) {
    await look.pause();
    if (!(await areSo(things.slice(start, start + size)))) return false;
  }
  return true;
}

/** One of `of` parts of about the same size, by number from 0; together they are all. */
export interface Part {
  readonly index: number;
  readonly of: number;
}

/** Those of `things` that are in the part. */
export function partOf<Thing>(things: Iterable<Thing>, { index, of }: Part): readonly Thing[] {
  return [...things].filter((_, i) => i % of === index);
}

/** What a sync needs that looks only at virtual servers that changed, and at all that share something with them. */
export interface ScopedDataplane<Rows> {
  /**
   * Pure: by name, the rows of `desired` as a whole that this virtual server asks for, and any other like it could as
   * well: a link, a table, a sysctl.
   */
  needs(virtualServer: VirtualServer, desired: DesiredState): readonly string[];
  /**
   * The kernel's rows of a scope, for `plan` to compare with `wanted`: read where only the kernel knows, else as they
   * were left. Reads only.
   * @returns null where only a look at everything tells what is to be done
   */
  observe(change: RowsChange<Rows>, signal: AbortSignal): Promise<Rows | null>;
  /** The Services, by `namespace/name`, whose virtual servers have connections that are waited for. */
  drainingServices?(): Iterable<string>;
  /** Pure: the addresses that `rows` make local. */
  localAddresses?(rows: Rows): Iterable<IpAddress>;
}

/** The rows of a scope. */
export interface RowsChange<Rows> {
  /** Projected from what was wanted when the last sync had left nothing undone. */
  readonly before: Rows;
  /** Projected from what is wanted now. */
  readonly wanted: Rows;
  /** Whether what drains is looked at, too, though it is wanted as before. */
  readonly isDrainCheck: boolean;
}

/** Virtual servers of ours that are not wanted any more, be it that they drain already. */
export interface Unwanted {
  /** How many of ours there are in all, without NodePorts whose address the host has lost. */
  readonly ours: number;
  /** Those of them that are not wanted. */
  readonly keys: ReadonlySet<VirtualServerKey>;
  /** Frontends among the unwanted, or whose inside clients the unwanted serve; none that is wanted. */
  readonly frontends: readonly UnwantedFrontend[];
}

/** What clients of frontends reach now, by the kernel: as looked at, not as wanted. */
export interface Served {
  /** Whether a frontend has an endpoint for new clients. */
  has(frontend: VirtualServerKey): boolean;
  endpoints(frontend: VirtualServerKey): FrontendEndpoints;
}

/** In canonical order. */
export interface FrontendEndpoints {
  readonly realServers: readonly RealServer[];
  /** Of inside clients, where these have others. */
  readonly inside: readonly RealServer[];
}

/** What other dataplanes have of an unwanted virtual server follows from these. */
export interface UnwantedFrontend {
  readonly address: IpAddress;
  readonly port: number;
  readonly protocol: Protocol;
  /** The mark that takes its inside clients to a virtual server that is unwanted, too; null without. */
  readonly mark: number | null;
  /** Addresses of its real servers, those of inside clients included. */
  readonly endpoints: ReadonlySet<IpAddress>;
}

/** One change of the kernel, as plain data: printed by `plan`, executed by `apply`, compared in tests. */
export interface Operation {
  /** Its name, which begins with its verb: `addRealServer`. */
  readonly op: string;
  /** What it acts on, the part behind the whole: `TCP 10.96.0.50:80 -> 10.244.1.20:8080`. */
  readonly subject: string;
  /** Parameters, or `old → new` for a change: `weight 1 → 0`; may be "". */
  readonly detail: string;
  /** The objects it follows from: `Service web/front port http, EndpointSlice web/front-x7k2p`. */
  readonly reason: string;
}

/** The operations of a map (name → arguments) as one tagged union. */
export type OpOf<Ops> = {
  [Name in keyof Ops & string]: Operation & { readonly op: Name } & Ops[Name];
}[keyof Ops & string];

/** One executor per operation: a new operation does not compile until it can be executed. */
export type Executors<Ops, Result> = {
  readonly [Name in keyof Ops & string]: (op: Operation & { readonly op: Name } & Ops[Name]) => Result;
};

/** Runs the executor of an operation. Generic, so that the compiler sees that both have the same name. */
export function execute<Ops, Name extends keyof Ops & string, Result>(
  executors: { readonly [N in Name]: (op: Operation & { readonly op: N } & Ops[N]) => Result },
  op: Operation & { readonly op: Name } & Ops[Name],
): Result {
  return executors[op.op](op);
}

export interface Projection<Rows> {
  readonly rows: Rows;
  readonly refused: readonly Rejected[];
}

/** Everything is made before anything is broken, over all dataplanes. */
export interface Plan<Op> {
  readonly make: readonly Op[];
  readonly break: readonly Op[];
  /** Wanted rows that can't be had, as when somebody else holds the key with other content: reported, never forced. */
  readonly conflicts: readonly Rejected[];
}

export interface ApplyReport<Op> {
  readonly acknowledged: readonly Op[];
  readonly refused: readonly RefusedOp<Op>[];
  /**
   * Left undone because the signal was aborted, the channel to the kernel overflowed, or what they need was refused;
   * observe again.
   */
  readonly notAttempted: readonly Op[];
}

/** The kernel said no. */
export interface RefusedOp<Op> {
  readonly op: Op;
  /** e.g. `EEXIST` */
  readonly code: string;
  /** One line: action, subject, code and, where known, the way out. */
  readonly message: string;
}

/** How an operation is shown: `+` adds, `~` changes, `-` deletes. */
export type OperationKind = 'add' | 'change' | 'delete';

/** Told from the verb that the operation's name begins with. */
export function operationKind(op: Operation): OperationKind {
  if (op.op.startsWith('add')) return 'add';
  if (op.op.startsWith('delete')) return 'delete';
  return 'change';
}

/** The whole that an operation's subject is, or is a part of: of one root nothing is broken before all is made. */
export function rootSubject(op: Operation): string {
  const arrow = op.subject.indexOf(' -> ');
  return arrow < 0 ? op.subject : op.subject.slice(0, arrow);
}
