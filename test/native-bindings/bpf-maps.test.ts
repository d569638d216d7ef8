import { describe, expect, test } from 'vitest';
import { BpfMap, countCpus, MAP_TYPE, type MapShape, possibleCpus } from '../../native-bindings/bpf-maps.ts';
import { SysError } from '../../native-bindings/errno.ts';
import { collectGarbage } from '../../src/status/host.ts';
import { needsBpf } from './bpf-environment.ts';

const HASH: MapShape = { type: MAP_TYPE.hash, keyBytes: 4, valueBytes: 8, maxEntries: 100_000, flags: 0 };
const ARRAY: MapShape = { type: MAP_TYPE.array, keyBytes: 4, valueBytes: 4, maxEntries: 3, flags: 0 };

/** Not one of ours. @see include/uapi/linux/bpf.h */
const BPF_MAP_TYPE_DEVMAP_HASH = 25;

function u32(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

function u64(...values: readonly number[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values, BigInt).buffer);
}

function pairs(keys: Uint8Array, values: Uint8Array): readonly (readonly [number, bigint])[] {
  const k = new Uint32Array(Uint8Array.from(keys).buffer);
  const v = new BigUint64Array(Uint8Array.from(values).buffer);
  return [...k].map((key, i) => [key, v[i] ?? -1n] as const).sort(([a], [b]) => a - b);
}

describe('countCpus()', () => {
  test.each([
    { name: 'one', list: '0\n', cpus: 1 },
    { name: 'a range', list: '0-127\n', cpus: 128 },
    { name: 'ranges with a hole', list: '0-3,8-11\n', cpus: 12 },
  ])('countCpus() reads $name', ({ list, cpus }) => {
    expect(countCpus(list)).toBe(cpus);
  });

  test('countCpus() refuses what is no list', () => {
    expect(() => countCpus('\n')).toThrow('no list');
  });
});

describe('BpfMap', needsBpf(), () => {
  test('create() makes what info() tells', () => {
    using map = BpfMap.create('test_hash', HASH);
    expect(map.info()).toEqual({ ...HASH, name: 'test_hash', id: expect.any(Number) });
  });

  test('create() throws what the kernel says', () => {
    expect(() => BpfMap.create('bad', { ...HASH, keyBytes: 0 })).toThrow(
      expect.objectContaining({ syscall: 'bpf BPF_MAP_CREATE bad', code: 'EINVAL' }),
    );
    expect(() => BpfMap.create('more_than_15_bytes', HASH)).toThrow(RangeError);
  });

  test('update() writes by its mode, and answers are values', () => {
    using map = BpfMap.create('test_hash', HASH);
    expect(map.lookup(u32(7))).toBeUndefined();
    expect(map.update(u32(7), u64(70), 'present')).toBe('absent');
    expect(map.update(u32(7), u64(70), 'absent')).toBe('done');
    expect(map.update(u32(7), u64(71), 'absent')).toBe('exists');
    expect(map.lookup(u32(7))).toEqual(u64(70));
    expect(map.update(u32(7), u64(72), 'present')).toBe('done');
    expect(map.update(u32(7), u64(73))).toBe('done');
    expect(map.lookup(u32(7))).toEqual(u64(73));
    expect(map.delete(u32(7))).toBe(true);
    expect(map.delete(u32(7))).toBe(false);
  });

  test('update() throws SysError for a full map', () => {
    using map = BpfMap.create('test_full', { ...HASH, maxEntries: 1 });
    map.update(u32(1), u64(1));
    expect(() => map.update(u32(2), u64(2))).toThrow(
      expect.objectContaining({ syscall: 'bpf BPF_MAP_UPDATE_ELEM map test_full', code: 'E2BIG' }),
    );
  });

  test.each([
    { name: 'a short key', use: (map: BpfMap) => map.lookup(new Uint8Array(3)) },
    { name: 'a long key', use: (map: BpfMap) => map.delete(new Uint8Array(5)) },
    { name: 'a short value', use: (map: BpfMap) => map.update(u32(1), u32(1)) },
    { name: 'broken keys', use: (map: BpfMap) => map.deleteAll(new Uint8Array(9)) },
    { name: 'too few values', use: (map: BpfMap) => map.updateAll(u32(1, 2), u64(1)) },
  ])('refuses $name', ({ use }) => {
    using map = BpfMap.create('test_hash', HASH);
    expect(() => use(map)).toThrow(RangeError);
  });

  test('updateAll(), entries() and deleteAll() pass more than one batch', () => {
    using map = BpfMap.create('test_hash', { ...HASH, maxEntries: 200_000 });
    const numbers = Array.from({ length: 180_000 }, (_, i) => i + 1);
    const values = numbers.map((n) => 3 * n);
    const keys = new Uint8Array(Uint32Array.from(numbers).buffer);
    expect(map.updateAll(keys, new Uint8Array(BigUint64Array.from(values, BigInt).buffer))).toEqual({
      done: numbers.length,
      batched: true,
    });
    const all = map.entries();
    expect(all).toMatchObject({ count: numbers.length, batched: true });
    const read = pairs(all.keys, all.values);
    expect(read.every(([key, value], i) => key === i + 1 && value === BigInt(3 * key))).toBe(true);
    expect(map.deleteAll(keys).done).toBe(numbers.length);
    expect(map.entries().count).toBe(0);
  });

  test('deleteAll() counts absent keys as done', () => {
    using map = BpfMap.create('test_hash', HASH);
    map.updateAll(u32(2, 4, 6), u64(20, 40, 60));
    expect(map.deleteAll(u32(1, 2, 3, 4, 5))).toEqual({ done: 5, batched: true });
    const { keys, values } = map.entries();
    expect(pairs(keys, values)).toEqual([[6, 60n]]);
  });

  test('updateAll() says how far it got', () => {
    using map = BpfMap.create('test_full', { ...HASH, maxEntries: 2 });
    const { done, refusal } = map.updateAll(u32(1, 2, 3, 4), u64(10, 20, 30, 40));
    expect(done).toBe(2);
    expect(refusal).toBeInstanceOf(SysError);
    expect(refusal?.code).toBe('E2BIG');
    const { keys, values } = map.entries();
    expect(pairs(keys, values)).toEqual([
      [1, 10n],
      [2, 20n],
    ]);
  });

  test('a map without batches is written and read one by one', () => {
    // The kernel has no batches for maps of network devices; the loopback device is number 1.
    const shape = { type: BPF_MAP_TYPE_DEVMAP_HASH, keyBytes: 4, valueBytes: 4, maxEntries: 3, flags: 0 };
    using map = BpfMap.create('test_devices', shape);
    expect(map.updateAll(u32(10, 20, 30), u32(1, 1, 1))).toEqual({ done: 3, batched: false });
    const { count, keys, batched } = map.entries();
    expect([count, batched]).toEqual([3, false]);
    expect(new Uint32Array(Uint8Array.from(keys).buffer).toSorted()).toEqual(Uint32Array.of(10, 20, 30));
    expect(map.deleteAll(u32(5, 10, 20))).toEqual({ done: 3, batched: false });
    expect(map.entries().count).toBe(1);
    expect(map.updateAll(u32(40, 50, 60), u32(1, 1, 99_999))).toMatchObject({
      done: 2,
      refusal: { code: 'EINVAL' },
    });
  });

  test('a map of maps holds maps, and shows their numbers', () => {
    using first = BpfMap.create('test_inner', ARRAY);
    using second = BpfMap.create('test_inner', ARRAY);
    const shape = { type: MAP_TYPE.hashOfMaps, keyBytes: 4, valueBytes: 4, maxEntries: 8, flags: 0 };
    using outer = BpfMap.create('test_outer', shape, first);
    outer.updateMap(u32(5), first);
    outer.updateMap(u32(6), second);
    expect(outer.lookup(u32(5))).toEqual(u32(first.info().id));
    outer.updateMap(u32(5), second);
    expect(outer.lookup(u32(5))).toEqual(u32(second.info().id));
    expect(outer.entries().count).toBe(2);
    expect(outer.delete(u32(6))).toBe(true);
  });

  test('a map per CPU has a value for each possible one', () => {
    using map = BpfMap.create('test_cpu', {
      type: MAP_TYPE.perCpuArray,
      keyBytes: 4,
      valueBytes: 4,
      maxEntries: 2,
      flags: 0,
    });
    expect(map.entryBytes).toBe(8 * possibleCpus());
    const values = u64(...Array.from({ length: possibleCpus() }, (_, cpu) => 100 + cpu));
    map.update(u32(1), values);
    expect(map.lookup(u32(1))).toEqual(values);
    const { count, values: all } = map.entries();
    expect(count).toBe(2);
    expect(all.subarray(map.entryBytes)).toEqual(Buffer.from(values));
  });

  test('storage of sockets can be made', () => {
    const shape = { type: MAP_TYPE.socketStorage, keyBytes: 4, valueBytes: 56, maxEntries: 0, flags: 1 };
    using map = BpfMap.create('test_storage', shape);
    expect(map.info()).toMatchObject({ type: 24, valueBytes: 56 });
  });

  test('memory that the kernel is given stays in place while garbage is collected', () => {
    using map = BpfMap.create('test_hash', HASH);
    for (let i = 0; i < 3000; i++) {
      if (i % 100 === 0) collectGarbage();
      map.update(u32(i), u64(7 * i));
    }
    const { keys, values } = map.entries();
    expect(pairs(keys, values).filter(([key, value]) => value !== BigInt(7 * key))).toEqual([]);
    expect(keys.length).toBe(4 * 3000);
  });

  test('dispose closes once, and use after it throws', () => {
    const map = BpfMap.create('test_hash', HASH);
    const fd = map.fd;
    map[Symbol.dispose]();
    map[Symbol.dispose]();
    expect(() => map.lookup(u32(1))).toThrow('Cannot use map test_hash: it is closed');
    using again = BpfMap.create('test_hash', HASH);
    expect(again.fd).toBe(fd);
  });
});
