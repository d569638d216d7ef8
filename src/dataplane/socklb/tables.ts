import { setImmediate } from 'node:timers/promises';
import type { KernelRefusal, MapHandle, WriteResult } from './handles.ts';
import type { ServiceTable } from './kernel.ts';

/**
 * One that this process has made is filled in place, at once; any other is exchanged, which waits for the kernel. It
 * costs a descriptor: half of 4,096, the least that a process may usually have.
 */
const MOST_OPEN = 2048;

/** Tables in one call: each call waits some milliseconds, for whatever is in it. */
export const TABLES_AT_ONCE = 64;

/** How one table of its own is made, and what an error of the kernel says. */
export interface TableMaking {
  readonly create: () => MapHandle;
  /** @throws the error itself if it is no refusal */
  readonly codeOf: (error: unknown) => string;
}

/**
 * The Maglev tables of Services. A call that exchanges tables returns only when no program sees the old ones any more:
 * so many go in one, where the kernel takes batches for maps of maps (from Linux 5.19), and others have their turn
 * between any two.
 */
export class ServiceTables implements Disposable {
  readonly #making: TableMaking;
  readonly #open = new Map<number, MapHandle>();
  /** Unknown before the first call. */
  #atOnce = 1;

  constructor(making: TableMaking) {
    this.#making = making;
  }

  /** Fills tables in place, or makes them, in order until one is refused. @param outer the map of all tables */
  async write(outer: MapHandle, tables: readonly ServiceTable[]): Promise<WriteResult> {
    return this.#inGroups(tables, (group) => this.#writeGroup(outer, group));
  }

  /** Those that are not there are as they should be. @param outer as above */
  async delete(outer: MapHandle, serviceIds: readonly number[]): Promise<WriteResult> {
    return this.#inGroups(serviceIds, (group) => {
      for (const serviceId of group) this.#forget(serviceId);
      return this.#learn(outer.deleteAll(packed(group)));
    });
  }

  /** Closes descriptors; the tables stay. */
  [Symbol.dispose](): void {
    for (const serviceId of [...this.#open.keys()]) this.#forget(serviceId);
  }

  async #inGroups<Item>(
    items: readonly Item[],
    act: (group: readonly Item[]) => WriteResult,
  ): Promise<WriteResult> {
    let done = 0;
    while (done < items.length) {
      if (done > 0) await setImmediate();
      const group = items.slice(done, done + this.#atOnce);
      const { done: part, refusal } = act(group);
      done += part;
      if (refusal) return { done, refusal };
    }
    return { done };
  }

  #writeGroup(outer: MapHandle, group: readonly ServiceTable[]): WriteResult {
    const made: { readonly at: number; readonly serviceId: number; readonly table: MapHandle }[] = [];
    let end: WriteResult = { done: group.length };
    for (const [at, { serviceId, backendIds }] of group.entries()) {
      const open = this.#open.get(serviceId);
      const filled = this.#attempt(() => (open ? fill(open, backendIds) : this.#newTable(backendIds)));
      if ('code' in filled) {
        end = { done: at, refusal: filled };
        break;
      }
      if (!open) made.push({ at, serviceId, table: filled });
    }
    if (made.length === 0) return end;
    const keys = packed(made.map(({ serviceId }) => serviceId));
    const values = packed(made.map(({ table }) => table.fd));
    const { done, refusal } = this.#learn(outer.updateAll(keys, values));
    for (const { serviceId, table } of made.slice(0, done)) this.#remember(serviceId, table);
    for (const { table } of made.slice(done)) table[Symbol.dispose]();
    const first = made[done];
    return refusal && first ? { done: first.at, refusal } : end;
  }

  #newTable(backendIds: Uint32Array): MapHandle {
    using unused = new DisposableStack();
    const table = fill(unused.use(this.#create()), backendIds);
    unused.move();
    return table;
  }

  /** Where there is no descriptor any more, the tables give theirs back. */
  #create(): MapHandle {
    try {
      return this.#making.create();
    } catch (error) {
      if (this.#open.size === 0 || this.#making.codeOf(error) !== 'EMFILE') throw error;
      this[Symbol.dispose]();
      return this.#making.create();
    }
  }

  #attempt(act: () => MapHandle): MapHandle | KernelRefusal {
    try {
      return act();
    } catch (error) {
      return { code: this.#making.codeOf(error) };
    }
  }

  #learn(result: WriteResult): WriteResult {
    this.#atOnce = result.batched ? TABLES_AT_ONCE : 1;
    return result;
  }

  #remember(serviceId: number, table: MapHandle): void {
    this.#open.set(serviceId, table);
    const [oldest] = this.#open.keys();
    if (this.#open.size > MOST_OPEN && oldest !== undefined) this.#forget(oldest);
  }

  #forget(serviceId: number): void {
    this.#open.get(serviceId)?.[Symbol.dispose]();
    this.#open.delete(serviceId);
  }
}

const FIRST = new Uint8Array(4);

function fill(table: MapHandle, backendIds: Uint32Array): MapHandle {
  table.update(FIRST, new Uint8Array(backendIds.buffer, backendIds.byteOffset, backendIds.byteLength));
  return table;
}

/** Numbers, little-endian as all of the maps. */
function packed(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * numbers.length);
  const view = new DataView(bytes.buffer);
  for (const [i, number] of numbers.entries()) view.setUint32(4 * i, number, true);
  return bytes;
}
