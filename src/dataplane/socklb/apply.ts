import { setTimeout } from 'node:timers/promises';
import type { ApplyReport, RefusedOp } from '../dataplane.ts';
import { Batch, type Codes } from './batch.ts';
import { endSockets } from './end-sockets.ts';
import { errnoOf } from './errno.ts';
import type { SocklbKernel, SocklbOutcome } from './kernel.ts';
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
import { refusalMessage } from './refusals.ts';
import { hasTableOf } from './rows.ts';

/** Operations of one chunk are written together: enough for a batch to pay, few enough to be aborted between. */
const CHUNK = 1024;

/** Told of each operation that the kernel has acknowledged. */
export type OnAcknowledged = (op: SocklbOp) => void;

/**
 * Executes operations in order. Those in a row that write frontends are written together, map by map: backends, slots,
 * Maglev tables, then the frontends, so that whoever finds a frontend finds all that it leads to.
 * @throws what no errno names, such as an abort
 */
export async function applySocklb(
  ops: readonly SocklbOp[],
  kernel: SocklbKernel,
  acknowledge: OnAcknowledged,
  signal: AbortSignal,
): Promise<ApplyReport<SocklbOp>> {
  const acknowledged: SocklbOp[] = [];
  const refused: RefusedOp<SocklbOp>[] = [];
  let next = 0;
  while (next < ops.length && !signal.aborted) {
    const chunk = alike(ops, next);
    const codes = await attempt(chunk, kernel, signal);
    for (const op of chunk) {
      const code = codes.get(op);
      if (code !== undefined) refused.push({ op, code, message: refusalMessage(op, code) });
      else {
        acknowledge(op);
        acknowledged.push(op);
      }
    }
    next += chunk.length;
  }
  return { acknowledged, refused, notAttempted: ops.slice(next) };
}

/** @param ms how long, in milliseconds */
export async function pause(ms: number): Promise<void> {
  await setTimeout(ms);
}

/** The operations from `first` on that are of one kind, at most a chunk. */
function alike(ops: readonly SocklbOp[], first: number): readonly SocklbOp[] {
  const kind = kindOf(ops[first]);
  let end = first + 1;
  while (end < ops.length && end - first < CHUNK && kindOf(ops[end]) === kind) end += 1;
  return ops.slice(first, end);
}

/** Setting and adding are one kind: both write a frontend. */
function kindOf(op: SocklbOp | undefined): string | undefined {
  return op?.op === 'setSocketService' ? 'addSocketService' : op?.op;
}

/** Maps that can't be opened, say, refuse them all. */
async function attempt(ops: readonly SocklbOp[], kernel: SocklbKernel, signal: AbortSignal): Promise<Codes> {
  try {
    return await execute(ops, kernel, signal);
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    return new Map(ops.map((op) => [op, code]));
  }
}

async function execute(ops: readonly SocklbOp[], kernel: SocklbKernel, signal: AbortSignal): Promise<Codes> {
  const writes = ops.filter(isWrite);
  if (writes.length > 0) return writeServices(writes, kernel, signal);
  const ends = ops.filter((op) => op.op === 'endSockets');
  if (ends.length > 0) return endSockets(ends, kernel, signal);
  const batch = new Batch(kernel, signal);
  await batch.delete(SERVICES, ops, (op) => (op.op === 'deleteSocketService' ? [op.frontend] : []));
  await batch.delete(SLOTS, ops, (op) =>
    op.op === 'deleteSocketSlots' ? op.slots.map((slot): SlotKey => ({ ...op, slot })) : [],
  );
  await batch.delete(BACKENDS, ops, (op) => (op.op === 'deleteSocketBackend' ? [op.id] : []));
  for (const op of ops) await batch.one(op, () => single(op, kernel, signal));
  return batch.codes;
}

type ServiceWrite = Extract<SocklbOp, { readonly service: PlannedService }>;

function isWrite(op: SocklbOp): op is ServiceWrite {
  return op.op === 'addSocketService' || op.op === 'setSocketService';
}

async function writeServices(
  ops: readonly ServiceWrite[],
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<Codes> {
  const batch = new Batch<ServiceWrite>(kernel, signal);
  const code = await keepIds(ops, kernel, signal);
  if (code !== null) return new Map(ops.map((op) => [op, code]));
  await batch.update(BACKENDS, ops, backendElements);
  await batch.update(SLOTS, ops, slotElements);
  for (const op of ops) {
    if (!hasTableOf(op.service)) continue;
    const { id, backends } = op.service;
    const members = backends
      .filter(({ weight }) => weight > 0)
      .map(({ id: backendId, address, port, weight }) => ({
        name: `${address} ${port}`,
        id: backendId,
        weight,
      }));
    await batch.one(op, () => kernel.setTable(id, maglevTable(members), signal));
  }
  await batch.update(SERVICES, ops, ({ frontend, service }) => {
    const { id, generation, algorithm, affinitySeconds, backends } = service;
    const count = backends.reduce((sum, { weight }) => sum + weight, 0);
    const flags = algorithm === 'maglev' ? SERVICE_FLAG.maglev : 0;
    return [[frontend, { id, generation, count, flags, affinitySeconds }] as const];
  });
  return batch.codes;
}

/** Before an id is used it is known as given, so that a crash gives none twice. @returns why that failed */
async function keepIds(
  ops: readonly ServiceWrite[],
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<string | null> {
  const config = await readConfig(kernel, signal);
  let { lastServiceId, lastBackendId } = config;
  for (const { service } of ops) {
    lastServiceId = Math.max(lastServiceId, service.id);
    for (const { id } of service.backends) lastBackendId = Math.max(lastBackendId, id);
  }
  if (lastServiceId === config.lastServiceId && lastBackendId === config.lastBackendId) return null;
  const elements = packElements(CONFIG, [[0, { ...config, lastServiceId, lastBackendId }]]);
  return (await kernel.update(CONFIG.map, elements, signal)).code;
}

async function readConfig(kernel: SocklbKernel, signal: AbortSignal): Promise<ConfigElement> {
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

/** What has no batch. */
async function single(op: SocklbOp, kernel: SocklbKernel, signal: AbortSignal): Promise<SocklbOutcome> {
  switch (op.op) {
    case 'deleteSocketEntry':
      return afterDelete(await kernel.delete('lb_svc', Buffer.from(op.key, 'hex'), signal));
    case 'deleteSocketTable': {
      const answer = await kernel.deleteTable(op.serviceId, signal);
      return answer.outcome === 'refused' ? afterDelete({ code: answer.code }) : answer;
    }
    case 'setSocketMode': {
      const { flags, udpFlowSeconds } = op;
      const config = { ...(await readConfig(kernel, signal)), flags, udpFlowSeconds };
      const { code } = await kernel.update(CONFIG.map, packElements(CONFIG, [[0, config]]), signal);
      return code === null ? { outcome: 'ok' } : { outcome: 'refused', code };
    }
    case 'addSocketPrograms':
      return kernel.attach(signal);
    case 'deleteSocketPrograms':
      return kernel.remove(signal);
    default:
      return { outcome: 'ok' };
  }
}

/** What is gone already is as it should be. */
function afterDelete({ code }: { readonly code: string | null }): SocklbOutcome {
  return code === null || code === 'ENOENT' ? { outcome: 'ok' } : { outcome: 'refused', code };
}
