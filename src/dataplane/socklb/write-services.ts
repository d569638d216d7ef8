import { setImmediate } from 'node:timers/promises';
import { Batch, type Codes } from './batch.ts';
import type { ServiceTable, SocklbKernel } from './kernel.ts';
import {
  BACKEND_STATE,
  BACKENDS,
  type BackendElement,
  CONFIG,
  type ConfigElement,
  packElements,
  SERVICE_FLAG,
  SERVICES,
  SLOTS,
  type SlotKey,
  unpackElements,
} from './layout.ts';
import { maglevTable } from './maglev.ts';
import type { PlannedService, SocklbOp } from './ops.ts';
import { hasTable } from './rows.ts';

/** One that writes a frontend. */
export type ServiceWrite = Extract<SocklbOp, { readonly service: PlannedService }>;

/** Whether it writes a frontend. */
export function isWrite(op: SocklbOp): op is ServiceWrite {
  return op.op === 'addSocketService' || op.op === 'setSocketService';
}

/** Whether it writes a Maglev table. */
export function hasTableToWrite({ service }: ServiceWrite): boolean {
  return hasTable(service);
}

/** The table of each operation that writes one. */
export type Tables = ReadonlyMap<ServiceWrite, readonly [ServiceTable]>;

/** Each takes a millisecond or two: others have their turn in between. */
export async function buildTables(ops: readonly ServiceWrite[]): Promise<Tables> {
  const tables = new Map<ServiceWrite, readonly [ServiceTable]>();
  for (const op of ops.filter(hasTableToWrite)) {
    if (tables.size > 0) await setImmediate();
    tables.set(op, [tableOf(op)]);
  }
  return tables;
}

function tableOf({ service }: ServiceWrite): ServiceTable {
  const members = service.backends
    .filter(({ weight }) => weight > 0)
    .map(({ id, address, port, weight }) => ({ name: `${address} ${port}`, id, weight }));
  return { serviceId: service.id, backendIds: maglevTable(members) };
}

/**
 * Writes frontends, map by map: backends, slots, Maglev tables, then the frontends, so that whoever finds a frontend
 * finds all that it leads to. One that is refused is left to IPVS: of it nothing is there then, not even what it was
 * before it was to change, which might lead to endpoints that are gone.
 * @returns why operations were refused
 * @throws as the kernel does, where it can't be asked
 */
export async function writeServices(
  ops: readonly ServiceWrite[],
  tables: Tables,
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<Codes> {
  const batch = new Batch<ServiceWrite>(kernel, signal);
  const config = await readConfig(kernel, signal);
  const code = await keepIds(ops, config, kernel, signal);
  if (code !== null) return new Map(ops.map((op) => [op, code]));
  await batch.update(BACKENDS, ops, backendElements);
  await batch.update(SLOTS, ops, slotElements);
  await batch.send(
    ops,
    (op) => tables.get(op) ?? [],
    (group) => kernel.setTables(group, signal),
  );
  await batch.update(SERVICES, ops, ({ frontend, service }) => {
    const { id, generation, algorithm, affinitySeconds, backends } = service;
    const count = backends.reduce((sum, { weight }) => sum + weight, 0);
    const flags = algorithm === 'maglev' ? SERVICE_FLAG.maglev : 0;
    return [[frontend, { id, generation, count, flags, affinitySeconds }] as const];
  });
  const refused = ops.filter((op) => batch.codes.has(op));
  if (refused.length > 0) await withdraw(refused, config.lastBackendId, kernel, signal);
  return batch.codes;
}

/**
 * Takes away the frontends that could not be changed, then what was written for them and for new ones. What they led to
 * before stays for a while, as that of every frontend that goes. Whatever fails here, the next look at everything finds.
 * @param lastBackendId the highest that was given before
 */
async function withdraw(
  refused: readonly ServiceWrite[],
  lastBackendId: number,
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<void> {
  const batch = new Batch<ServiceWrite>(kernel, signal);
  const changed = refused.filter(({ op }) => op === 'setSocketService');
  await batch.delete(SERVICES, changed, ({ frontend }) => [frontend]);
  await batch.delete(SLOTS, refused, (op) => slotElements(op).map(([key]) => key));
  await batch.delete(BACKENDS, refused, ({ service }) =>
    service.backends.flatMap(({ id }) => (id > lastBackendId ? [id] : [])),
  );
  const added = refused.filter((op) => op.op === 'addSocketService' && hasTableToWrite(op));
  await batch.send(
    added,
    ({ service }) => [service.id],
    (serviceIds) => kernel.deleteTables(serviceIds, signal),
  );
}

/** Before an id is used it is known as given, so that a crash gives none twice. @returns why that failed */
async function keepIds(
  ops: readonly ServiceWrite[],
  config: ConfigElement,
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<string | null> {
  let { lastServiceId, lastBackendId } = config;
  for (const { service } of ops) {
    lastServiceId = Math.max(lastServiceId, service.id);
    for (const { id } of service.backends) lastBackendId = Math.max(lastBackendId, id);
  }
  if (lastServiceId === config.lastServiceId && lastBackendId === config.lastBackendId) return null;
  const elements = packElements(CONFIG, [[0, { ...config, lastServiceId, lastBackendId }]]);
  return (await kernel.update(CONFIG.map, elements, signal)).code;
}

/** The one element of lb_cfg; all 0 where there is none. */
export async function readConfig(kernel: SocklbKernel, signal: AbortSignal): Promise<ConfigElement> {
  const elements = await kernel.readAll(CONFIG.map, signal);
  const [config] = [...unpackElements(CONFIG, elements)].map(({ value }) => value);
  return config ?? { flags: 0, udpFlowSeconds: 0, lastServiceId: 0, lastBackendId: 0 };
}

function backendElements({ frontend, service }: ServiceWrite): (readonly [number, BackendElement])[] {
  const { id: serviceId, backends } = service;
  const { protocol } = frontend;
  return backends
    .filter(({ isWritten }) => isWritten)
    .map(({ id, address, port, weight }) => {
      const state = weight > 0 ? BACKEND_STATE.active : BACKEND_STATE.terminating;
      return [id, { id, address, port, protocol, serviceId, state }] as const;
    });
}

function slotElements({ service }: ServiceWrite): (readonly [SlotKey, number])[] {
  const { id: serviceId, generation, backends } = service;
  const ids = backends.flatMap(({ id, weight }) => new Array<number>(weight).fill(id));
  return ids.map((id, slot) => [{ serviceId, generation, slot }, id]);
}
