import { type RealServerKey, realServerKey, type VirtualServerKey } from '../../model/virtual-server.ts';
import type { ProgramState } from './kernel.ts';
import {
  BACKEND_SERVICE_ID_OFFSET,
  BACKEND_STATE,
  BACKENDS,
  type BackendElement,
  CONFIG,
  type FrontendKey,
  type PackedElements,
  SERVICE_FLAG,
  SERVICES,
  type ServiceElement,
  SLOTS,
  unpackElements,
  viewOf,
  word,
} from './layout.ts';
import { type LeftElement, type Remain, remainKey } from './remains.ts';
import { type BackendRow, hasTable, keyOf, type ServiceRow, type SocklbRows } from './rows.ts';

/** What was read of the maps, of all or of some frontends. */
export interface ReadMaps {
  readonly config: PackedElements;
  readonly services: PackedElements;
  readonly slots: PackedElements;
  readonly backends: PackedElements;
  /** Ids of Services that have a Maglev table. */
  readonly tables: readonly number[];
  readonly programs: ProgramState;
  readonly observedAtMs: number;
}

/**
 * The rows that maps hold. What can't be used as it is has a fault, and what no frontend leads to remains; neither is
 * ever touched here.
 * @param sinceOf since when something is known to remain, by remainKey(); else since now
 */
export function rowsFromMaps(maps: ReadMaps, sinceOf: (key: string) => number | undefined): SocklbRows {
  const elements = unpackAll(maps);
  const services = new Map<VirtualServerKey, ServiceRow>();
  const used: Used = { backends: new Set(), slots: new Set(), tables: new Set(), faulty: new Set() };
  for (const { frontend, element } of elements.frontends) {
    const row = serviceRow(frontend, element, elements);
    services.set(row.key, row);
    if (row.fault === null) use(row, used);
    else used.faulty.add(element.id);
  }
  const remains = new Map<string, Remain>();
  for (const left of leftElements(elements, used)) {
    const key = remainKey(left);
    const isLedTo = left.kind !== 'entry' && used.faulty.has(left.serviceId);
    remains.set(key, { ...left, sinceMs: isLedTo ? null : (sinceOf(key) ?? maps.observedAtMs) });
  }
  const { config, serviceIds, backendIds } = elements;
  return {
    services,
    config: { flags: config?.flags ?? 0, udpFlowSeconds: config?.udpFlowSeconds ?? 0 },
    programs: maps.programs,
    remains,
    lastServiceId: highest(serviceIds, config?.lastServiceId ?? 0),
    lastBackendId: highest(backendIds, config?.lastBackendId ?? 0),
    observedAtMs: maps.observedAtMs,
    obstacle: null,
  };
}

/** By slot. */
type Generation = Map<number, number>;

type Elements = ReturnType<typeof unpackAll>;

interface Used {
  readonly backends: Set<number>;
  /** `serviceId/generation` */
  readonly slots: Set<string>;
  readonly tables: Set<number>;
  /** Ids of Services with a fault. */
  readonly faulty: Set<number>;
}

function unpackAll(maps: ReadMaps) {
  const slots = new Map<string, { serviceId: number; generation: number; bySlot: Generation }>();
  for (const { key, value } of unpackElements(SLOTS, maps.slots)) {
    if (key === undefined || value === undefined) continue;
    const { serviceId, generation, slot } = key;
    const text = `${serviceId}/${generation}`;
    const found = slots.get(text) ?? { serviceId, generation, bySlot: new Map<number, number>() };
    if (found.bySlot.size === 0) slots.set(text, found);
    found.bySlot.set(slot, value);
  }
  const backends = new Map<number, BackendElement>();
  const damaged: LeftElement[] = [];
  for (const { key: id, value, valueBytes } of unpackElements(BACKENDS, maps.backends)) {
    if (id === undefined) continue;
    if (value && value.id === id) backends.set(id, value);
    else {
      const serviceId = word(viewOf(valueBytes), BACKEND_SERVICE_ID_OFFSET);
      damaged.push({ kind: 'backend', id, serviceId, endpoint: null, isTerminating: false });
    }
  }
  const frontends: { readonly frontend: FrontendKey; readonly element: ServiceElement }[] = [];
  const owners = new Map<number, number>();
  for (const { key, value, keyBytes } of unpackElements(SERVICES, maps.services)) {
    if (key === undefined || value === undefined) {
      damaged.push({ kind: 'entry', key: Buffer.from(keyBytes).toString('hex') });
      continue;
    }
    frontends.push({ frontend: key, element: value });
    owners.set(value.id, (owners.get(value.id) ?? 0) + 1);
  }
  const [config] = [...unpackElements(CONFIG, maps.config)].map(({ value }) => value);
  return {
    slots,
    backends,
    damaged,
    frontends,
    owners,
    config,
    tables: new Set(maps.tables),
    serviceIds: [
      ...owners.keys(),
      ...maps.tables,
      ...[...slots.values()].map(({ serviceId }) => serviceId),
      ...[...backends.values()].map(({ serviceId }) => serviceId),
    ],
    backendIds: [...backends.keys(), ...damaged.flatMap((left) => (left.kind === 'backend' ? left.id : []))],
  };
}

function serviceRow(frontend: FrontendKey, element: ServiceElement, elements: Elements): ServiceRow {
  const { id, generation, flags, affinitySeconds } = element;
  const { backends, fault } = backendsOf(frontend, element, elements);
  const algorithm = flags & SERVICE_FLAG.maglev ? 'maglev' : 'random';
  const base = { ...frontend, key: keyOf(frontend), affinitySeconds, place: { id, generation }, reason: '' };
  const row: ServiceRow = { ...base, algorithm, backends, fault };
  if (fault === null && hasTable(row) && !elements.tables.has(id)) {
    return { ...row, fault: 'its Maglev table is missing' };
  }
  return row;
}

function backendsOf(
  { protocol }: FrontendKey,
  { id, generation, count, flags }: ServiceElement,
  { slots, backends, owners }: Elements,
): Pick<ServiceRow, 'backends' | 'fault'> {
  const rows = new Map<RealServerKey, BackendRow>();
  const faulty = (fault: string) => ({ backends: rows, fault });
  if (id === 0 || generation === 0) return faulty('its id is 0');
  if ((owners.get(id) ?? 0) > 1) return faulty(`another frontend has its id ${id}, too`);
  if ((flags & ~SERVICE_FLAG.maglev) !== 0) return faulty(`it has flags ${flags}, which are not ours`);
  const bySlot = slots.get(`${id}/${generation}`)?.bySlot;
  if ((bySlot?.size ?? 0) !== count) return faulty(`it has ${bySlot?.size ?? 0} slots of ${count}`);
  for (let slot = 0; slot < count; slot++) {
    const backendId = bySlot?.get(slot);
    const backend = backendId === undefined ? undefined : backends.get(backendId);
    if (!backend || backendId === undefined) return faulty(`slot ${slot} leads to nothing`);
    if (backend.serviceId !== id || backend.protocol !== protocol || backend.state !== BACKEND_STATE.active) {
      return faulty(`slot ${slot} leads to backend ${backendId}, which is not its own`);
    }
    const { address, port } = backend;
    const key = realServerKey(backend);
    const known = rows.get(key);
    if (known && known.id !== backendId) return faulty(`backend ${backendId} is there twice`);
    rows.set(key, { address, port, weight: (known?.weight ?? 0) + 1, id: backendId });
  }
  return { backends: rows, fault: null };
}

function use(row: ServiceRow, used: Used): void {
  const { place, backends } = row;
  if (!place) return;
  used.slots.add(`${place.id}/${place.generation}`);
  for (const { id } of backends.values()) if (id !== null) used.backends.add(id);
  if (hasTable(row)) used.tables.add(place.id);
}

function leftElements({ slots, backends, damaged, tables }: Elements, used: Used): readonly LeftElement[] {
  return [
    ...damaged,
    ...[...slots]
      .filter(([key]) => !used.slots.has(key))
      .map(([, { serviceId, generation, bySlot }]): LeftElement => {
        return { kind: 'slots', serviceId, generation, slots: [...bySlot.keys()].sort((a, b) => a - b) };
      }),
    ...[...tables]
      .filter((serviceId) => !used.tables.has(serviceId))
      .map((serviceId): LeftElement => ({ kind: 'table', serviceId })),
    ...[...backends.values()]
      .filter(({ id }) => !used.backends.has(id))
      .map(({ id, serviceId, address, port, protocol, state }): LeftElement => {
        const isTerminating = state === BACKEND_STATE.terminating;
        return { kind: 'backend', id, serviceId, endpoint: { address, port, protocol }, isTerminating };
      }),
  ];
}

function highest(ids: readonly number[], least: number): number {
  let last = least;
  for (const id of ids) if (id > last) last = id;
  return last;
}
