import { setImmediate, setTimeout } from 'node:timers/promises';
import type { ApplyReport, RefusedOp } from '../dataplane.ts';
import { Batch, type Codes } from './batch.ts';
import { endSockets } from './end-sockets.ts';
import { errnoOf } from './errno.ts';
import type { SocklbKernel, SocklbOutcome } from './kernel.ts';
import { BACKENDS, CONFIG, packElements, SERVICES, SLOTS, type SlotKey } from './layout.ts';
import type { SocklbOp } from './ops.ts';
import { refusalMessage } from './refusals.ts';
import { TABLES_AT_ONCE } from './tables.ts';
import {
  buildTables,
  hasTableToWrite,
  isWrite,
  readConfig,
  type Tables,
  writeServices,
} from './write-services.ts';

/** Operations of one chunk are written together: enough for a batch to pay, few enough to be aborted between. */
const CHUNK = 1024;

/** Told of each operation that the kernel has acknowledged. */
export type OnAcknowledged = (op: SocklbOp) => void;

/**
 * Executes operations in order. Those in a row that write frontends are written together, map by map: backends, slots,
 * Maglev tables, then the frontends, so that whoever finds a frontend finds all that it leads to. Others have their turn
 * between chunks, and while tables are built.
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
    if (next > 0) await setImmediate();
    const chunk = alike(ops, next);
    const tables = await buildTables(chunk.filter(isWrite));
    // What is begun from here on is ended.
    if (signal.aborted) break;
    const codes = await attempt(chunk, tables, kernel, signal);
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
  const [kind, chunk] = [kindOf(ops[first]), ops.slice(first, first + CHUNK)];
  let tables = 0;
  const end = chunk.findIndex((op) => {
    if (isWrite(op) && hasTableToWrite(op)) tables += 1;
    return kindOf(op) !== kind || tables > TABLES_AT_ONCE;
  });
  return end < 0 ? chunk : chunk.slice(0, end);
}

/** Setting and adding are one kind: both write a frontend. */
function kindOf(op: SocklbOp | undefined): string | undefined {
  return op?.op === 'setSocketService' ? 'addSocketService' : op?.op;
}

/** Maps that can't be opened, say, refuse them all. */
async function attempt(...[ops, ...rest]: Parameters<typeof execute>): Promise<Codes> {
  try {
    return await execute(ops, ...rest);
  } catch (error) {
    const code = errnoOf(error);
    if (code === undefined) throw error;
    return new Map(ops.map((op) => [op, code]));
  }
}

async function execute(
  ops: readonly SocklbOp[],
  tables: Tables,
  kernel: SocklbKernel,
  signal: AbortSignal,
): Promise<Codes> {
  const writes = ops.filter(isWrite);
  if (writes.length > 0) return writeServices(writes, tables, kernel, signal);
  const ends = ops.filter((op) => op.op === 'endSockets');
  if (ends.length > 0) return endSockets(ends, kernel, signal);
  const batch = new Batch(kernel, signal);
  await batch.delete(SERVICES, ops, (op) => (op.op === 'deleteSocketService' ? [op.frontend] : []));
  await batch.delete(SLOTS, ops, (op) =>
    op.op === 'deleteSocketSlots' ? op.slots.map((slot): SlotKey => ({ ...op, slot })) : [],
  );
  await batch.delete(BACKENDS, ops, (op) => (op.op === 'deleteSocketBackend' ? [op.id] : []));
  await batch.send(
    ops,
    (op) => (op.op === 'deleteSocketTable' ? [op.serviceId] : []),
    (serviceIds) => kernel.deleteTables(serviceIds, signal),
  );
  for (const op of ops) await batch.one(op, () => single(op, kernel, signal));
  return batch.codes;
}

/** What has no batch. */
async function single(op: SocklbOp, kernel: SocklbKernel, signal: AbortSignal): Promise<SocklbOutcome> {
  switch (op.op) {
    case 'deleteSocketEntry':
      return afterDelete(await kernel.delete('lb_svc', Buffer.from(op.key, 'hex'), signal));
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
