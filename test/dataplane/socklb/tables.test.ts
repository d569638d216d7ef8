import { describe, expect, it } from 'vitest';
import type { MapHandle, WriteResult } from '../../../src/dataplane/socklb/handles.ts';
import { ServiceTables } from '../../../src/dataplane/socklb/tables.ts';

const SHAPE = { type: 0, keyBytes: 4, valueBytes: 4, maxEntries: 0, flags: 0 };

/** A kernel's maps of maps, as far as tables need them. */
class FakeTables {
  /** Ids of Services, call by call. */
  readonly calls: (readonly number[])[] = [];
  readonly opened = new Set<number>();
  /** What the open tables were filled with, in order. */
  readonly fills: number[] = [];
  #made = 0;
  /** How many descriptors there are. */
  descriptors = Number.POSITIVE_INFINITY;
  /** How many tables the outer map takes. */
  room = Number.POSITIVE_INFINITY;
  readonly tables: ServiceTables;
  readonly outer: MapHandle;

  constructor(batched: boolean) {
    const create = () => this.#create();
    this.tables = new ServiceTables({ create, codeOf: (error) => String(Object(error).code) });
    const called = (keys: Uint8Array): WriteResult => {
      const ids = [...new Uint32Array(Uint8Array.from(keys).buffer)];
      this.calls.push(ids);
      const done = Math.min(ids.length, this.room);
      this.room -= done;
      return { done, batched, ...(done < ids.length && { refusal: { code: 'E2BIG' } }) };
    };
    this.outer = { ...this.#handle(0), updateAll: called, deleteAll: called };
  }

  write(...serviceIds: readonly number[]): Promise<WriteResult> {
    const tables = serviceIds.map((serviceId) => ({ serviceId, backendIds: Uint32Array.of(10 * serviceId) }));
    return this.tables.write(this.outer, tables);
  }

  #create(): MapHandle {
    if (this.opened.size >= this.descriptors)
      throw Object.assign(new Error('no descriptor'), { code: 'EMFILE' });
    this.#made += 1;
    this.opened.add(this.#made);
    return this.#handle(this.#made);
  }

  #handle(fd: number): MapHandle {
    return {
      fd,
      shape: SHAPE,
      pin: () => true,
      entries: () => ({ keys: new Uint8Array(0), values: new Uint8Array(0) }),
      lookup: () => undefined,
      update: (_key, value) => this.fills.push(new DataView(value.buffer).getUint32(0, true)),
      updateAll: () => ({ done: 0 }),
      deleteAll: () => ({ done: 0 }),
      [Symbol.dispose]: () => void this.opened.delete(fd),
    };
  }
}

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

describe('ServiceTables', () => {
  it.each([
    { name: 'many in a call where the kernel has batches', batched: true, sizes: [1, 64, 5] },
    { name: 'each alone where it has none', batched: false, sizes: range(1, 70).map(() => 1) },
  ])('exchanges $name', async ({ batched, sizes }) => {
    const fake = new FakeTables(batched);
    expect(await fake.write(...range(1, 70))).toEqual({ done: 70 });
    expect(fake.calls.map(({ length }) => length)).toEqual(sizes);
    expect(fake.calls.flat()).toEqual(range(1, 70));
  });

  it('fills what it has made in place, without a call', async () => {
    const fake = new FakeTables(true);
    await fake.write(...range(1, 600));
    fake.calls.length = 0;
    fake.fills.length = 0;
    expect(await fake.write(1, 300, 601, 600)).toEqual({ done: 4 });
    expect([fake.calls, fake.fills]).toEqual([[[601]], [10, 3000, 6010, 6000]]);
  });

  it('says which is the first that was refused, and closes what is not in use', async () => {
    const fake = new FakeTables(true);
    await fake.write(1);
    fake.room = 1;
    expect(await fake.write(2, 1, 3, 4)).toEqual({ done: 2, refusal: { code: 'E2BIG' } });
    expect([...fake.opened]).toEqual([1, 2]);
  });

  it('gives its descriptors back where there are no more', async () => {
    const fake = new FakeTables(true);
    await fake.write(...range(1, 10));
    fake.descriptors = 10;
    expect(await fake.write(11)).toEqual({ done: 1 });
    expect([...fake.opened]).toEqual([11]);
    fake.descriptors = 0;
    fake.tables[Symbol.dispose]();
    expect(await fake.write(12)).toEqual({ done: 0, refusal: { code: 'EMFILE' } });
  });

  it('keeps at most 2,048 open, and none that is deleted', async () => {
    const fake = new FakeTables(true);
    await fake.write(...range(1, 2100));
    expect([fake.opened.size, fake.opened.has(52), fake.opened.has(53)]).toEqual([2048, false, true]);
    expect(await fake.tables.delete(fake.outer, range(1, 2100))).toEqual({ done: 2100 });
    expect(fake.opened.size).toBe(0);
    fake.tables[Symbol.dispose]();
  });
});
