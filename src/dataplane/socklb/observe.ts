import type { VirtualServerKey } from '../../model/virtual-server.ts';
import { allInGroups, type Look, type Part, partOf, type RowsChange } from '../dataplane.ts';
import type { SocklbKernel } from './kernel.ts';
import {
  BACKENDS,
  type FrontendKey,
  MAP_SHAPES,
  type PackedElements,
  packElements,
  packKeys,
  SERVICES,
  type ServiceElement,
  SLOTS,
  type SocketMap,
  unpackElements,
} from './layout.ts';
import type { SocklbMemory } from './memory.ts';
import { planSocklb } from './plan.ts';
import { CAPACITY, fullMap, type SocketCapacity, withRow } from './project.ts';
import { rowsFromMaps } from './read-rows.ts';
import type { Remain } from './remains.ts';
import { EMPTY_ROWS, type ServiceRow, type SocklbRows, serviceText } from './rows.ts';

/** What a look at the maps needs besides. */
export interface ObserveContext {
  readonly kernel: SocklbKernel;
  readonly memory: SocklbMemory;
  /** Milliseconds, on a clock that nobody sets. */
  readonly nowMs: () => number;
}

/**
 * Reads all maps.
 * @throws as the kernel does, where it can't be asked
 */
export async function observeSocklb(
  { kernel, memory, nowMs }: ObserveContext,
  signal: AbortSignal,
): Promise<SocklbRows> {
  const programs = await kernel.programs(signal);
  const tables = await kernel.tables(signal);
  const config = await kernel.readAll('lb_cfg', signal);
  const services = await kernel.readAll('lb_svc', signal);
  const slots = await kernel.readAll('lb_slot', signal);
  const backends = await kernel.readAll('lb_backend', signal);
  const maps = { config, services, slots, backends, tables, programs, observedAtMs: nowMs() };
  const rows = rowsFromMaps(maps, (key) => memory.sinceMs(key));
  memory.learn(rows);
  return rows;
}

/**
 * Reads the frontends of a scope that are wanted otherwise than before, and knows what remains from earlier ones.
 * @returns null where only a look at everything helps: at the first time, where the maps are nearly full, and where a
 *   frontend is not there as it was left
 * @throws as the kernel does, where it can't be asked
 */
export async function observeSocklbChange(
  { kernel, memory, nowMs }: ObserveContext,
  { before, wanted }: RowsChange<SocklbRows>,
  signal: AbortSignal,
): Promise<SocklbRows | null> {
  const { known } = memory;
  if (!known) return null;
  const unchanged = new Map<VirtualServerKey, ServiceRow>();
  const changed = new Map<VirtualServerKey, ServiceRow>();
  for (const [key, row] of [...before.services, ...wanted.services]) {
    const want = wanted.services.get(key);
    if (want && isSame(before.services.get(key), want)) unchanged.set(key, want);
    else changed.set(key, row);
  }
  if (!hasRoom(memory.used, changed, wanted)) return null;
  const observedAtMs = nowMs();
  const maps = await readFrontends(kernel, [...changed.values()], signal);
  const config = packElements(SERVICES, []);
  const rows = rowsFromMaps({ ...maps, config, programs: known.programs, observedAtMs }, () => undefined);
  const isAsLeft = [...changed.keys()].every(
    (key) => before.services.has(key) === rows.services.has(key) && !rows.services.get(key)?.fault,
  );
  if (!isAsLeft) return null;
  const places = new Set([...rows.services.values()].map(({ place }) => place?.id));
  return {
    ...known,
    services: new Map([...unchanged, ...rows.services]),
    remains: new Map([...known.remains].filter(([, remain]) => !isOfOthers(remain, places))),
    observedAtMs,
  };
}

/**
 * Whether programs and switch are as wanted, and there are as many frontends.
 * @throws as the kernel does, where it can't be asked
 */
export async function isAsWanted(kernel: SocklbKernel, wanted: SocklbRows, look: Look): Promise<boolean> {
  const { signal } = look;
  await look.pause();
  const programs = await kernel.programs(signal);
  await look.pause();
  const config = await kernel.readAll('lb_cfg', signal);
  const { keys } = await kernel.readAll('lb_svc', signal);
  const none = packElements(SERVICES, []);
  const maps = { config, services: none, slots: none, backends: none, tables: [], programs, observedAtMs: 0 };
  const { make } = planSocklb(
    rowsFromMaps(maps, () => undefined),
    { ...wanted, services: new Map() },
  );
  return make.length === 0 && keys.length === wanted.services.size * MAP_SHAPES.lb_svc.keySize;
}

/**
 * Whether a part of the wanted frontends is in the maps, down to their endpoints. What else remains is not
 * looked at.
 * @throws as the kernel does, where it can't be asked
 */
export function isPartAsWanted(
  context: ObserveContext,
  wanted: SocklbRows,
  part: Part,
  look: Look,
): Promise<boolean> {
  return allInGroups(partOf(wanted.services, part), READ_AT_ONCE, look, (group) =>
    areAsWanted(context, { ...wanted, services: new Map(group) }, look.signal),
  );
}

/** Frontends between two pauses of a look. */
const READ_AT_ONCE = 128;

async function areAsWanted(
  context: ObserveContext,
  looked: SocklbRows,
  signal: AbortSignal,
): Promise<boolean> {
  const change = { before: looked, wanted: EMPTY_ROWS, isDrainCheck: false };
  const observed = await observeSocklbChange(context, change, signal);
  if (observed === null || planSocklb(observed, looked).make.length > 0) return false;
  // Endpoints of weight 0 are known from before: no slot leads to them.
  const terminating = [...observed.remains.values()].flatMap((remain) =>
    remain.kind === 'backend' && remain.isTerminating ? [remain.id] : [],
  );
  const { keys } = await found(context.kernel, 'lb_backend', packKeys(BACKENDS, terminating), signal);
  return keys.length === terminating.length * MAP_SHAPES.lb_backend.keySize;
}

function isSame(had: ServiceRow | undefined, want: ServiceRow): boolean {
  return had === want || (had !== undefined && serviceText(had) === serviceText(want));
}

/** An endpoint of weight 0 of a frontend that is not looked at may be wanted. */
function isOfOthers(remain: Remain, looked: ReadonlySet<number | undefined>): boolean {
  return remain.kind === 'backend' && remain.isTerminating && !looked.has(remain.serviceId);
}

function hasRoom(
  used: SocketCapacity,
  changed: ReadonlyMap<VirtualServerKey, ServiceRow>,
  wanted: SocklbRows,
): boolean {
  let needed = used;
  for (const key of changed.keys()) {
    const want = wanted.services.get(key);
    if (want) needed = withRow(needed, want);
  }
  return fullMap(needed, CAPACITY) === undefined;
}

/** The elements that frontends lead to, step by step. */
async function readFrontends(kernel: SocklbKernel, rows: readonly ServiceRow[], signal: AbortSignal) {
  const services = await found(kernel, 'lb_svc', packKeys(SERVICES, rows), signal);
  const elements = [...unpackElements(SERVICES, services)].flatMap(({ key, value }) =>
    key && value ? [{ frontend: key, element: value }] : [],
  );
  const slots = await found(kernel, 'lb_slot', packKeys(SLOTS, elements.flatMap(slotKeys)), signal);
  const ids = new Set([...unpackElements(SLOTS, slots)].flatMap(({ value }) => value ?? []));
  const backends = await found(kernel, 'lb_backend', packKeys(BACKENDS, [...ids]), signal);
  // A table that is missing is found by a look at everything.
  const tables = elements.map(({ element }) => element.id);
  return { services, slots, backends, tables };
}

/** A damaged element may have any count: then some slots are enough to see that others are missing. */
const MOST_SLOTS = 65_536;

function slotKeys({ element }: { readonly frontend: FrontendKey; readonly element: ServiceElement }) {
  const { id: serviceId, generation, count } = element;
  return Array.from({ length: Math.min(count, MOST_SLOTS) }, (_, slot) => ({ serviceId, generation, slot }));
}

async function found(
  kernel: SocklbKernel,
  map: SocketMap,
  keys: Uint8Array,
  signal: AbortSignal,
): Promise<PackedElements> {
  if (keys.length === 0) return { keys, values: keys };
  const values = await kernel.lookUp(map, keys, signal);
  const keySize = keys.length / values.length;
  const present = values.flatMap((value, i) =>
    value ? [{ key: keys.subarray(i * keySize, (i + 1) * keySize), value }] : [],
  );
  return {
    keys: Buffer.concat(present.map(({ key }) => key)),
    values: Buffer.concat(present.map(({ value }) => value)),
  };
}
