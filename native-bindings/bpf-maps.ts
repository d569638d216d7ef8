import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { openScratch } from './arena.ts';
import { BpfBtf } from './bpf-btf.ts';
import { BpfHandle, infoName, infoU32, objectInfo, openPinnedFd } from './bpf-handle.ts';
import { type BatchResult, deleteEach, type MapEntries, readEntries, updateEach } from './bpf-map-batch.ts';
import { bpf, bpfError } from './bpf-syscall.ts';

/** Kinds of maps. @see include/uapi/linux/bpf.h enum bpf_map_type */
export const MAP_TYPE = {
  hash: 1,
  array: 2,
  perCpuHash: 5,
  perCpuArray: 6,
  lruHash: 9,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  socketStorage: 24,
} as const;

/** The flag that storage on sockets needs; a hash with it takes memory for an element when it is made. */
export const BPF_F_NO_PREALLOC = 1;

/** What a map is made of: everything that the kernel compares between two maps. Sizes in bytes. */
export interface MapShape {
  /** A number of `MAP_TYPE`. */
  readonly type: number;
  readonly keyBytes: number;
  /** Of one value, which is a map's descriptor in a map of maps. */
  readonly valueBytes: number;
  /** 0 for storage on sockets. */
  readonly maxEntries: number;
  readonly flags: number;
}

/** What the kernel tells of a map. */
export interface MapInfo extends MapShape {
  readonly id: number;
  readonly name: string;
}

/** Which elements an update may meet: any, none of this key, or only one of this key. */
export type UpdateMode = 'any' | 'absent' | 'present';

/** What an update found. A map that is full is an error. */
export type UpdateOutcome = 'done' | 'exists' | 'absent';

const { EEXIST, ENOENT } = constants.errno;
const UPDATE_FLAGS: Readonly<Record<UpdateMode, number>> = { any: 0, absent: 1, present: 2 };
// struct bpf_map_info as far as we read it
const MAP_INFO_BYTES = 40;

/** A map. Keys and values are bytes as they stand in the program's structs. */
export class BpfMap extends BpfHandle {
  readonly shape: MapShape;
  /** Of one value as it is read and written: for a map per CPU, 8-byte-aligned values of all possible CPUs. */
  readonly entryBytes: number;
  /** Whether the kernel has batches for this map: unknown until the first. */
  #hasBatches: boolean | undefined;

  private constructor(fd: number, subject: string, shape: MapShape) {
    super(fd, subject);
    this.shape = shape;
    this.entryBytes = isPerCpu(shape.type)
      ? ((shape.valueBytes + 7) & ~7) * possibleCpus()
      : shape.valueBytes;
  }

  /**
   * Makes a map.
   * @param name at most 15 bytes: letters, digits, `_` and `.`
   * @param inner an example of the maps that a map of maps will hold, which may be closed afterwards
   * @throws SysError EPERM (CAP_BPF), E2BIG, ENOMEM, …
   */
  static create(name: string, shape: MapShape, inner?: BpfMap): BpfMap {
    using btf = shape.type === MAP_TYPE.socketStorage ? BpfBtf.load(shape.valueBytes) : undefined;
    const { value: fd, errno } = bpf(openScratch(), 'BPF_MAP_CREATE', {
      map_type: shape.type,
      key_size: shape.keyBytes,
      value_size: shape.valueBytes,
      max_entries: shape.maxEntries,
      map_flags: shape.flags,
      map_name: name,
      ...(inner && { inner_map_fd: inner.fd }),
      ...(btf && { btf_fd: btf.fd, btf_key_type_id: btf.keyType, btf_value_type_id: btf.valueType }),
    });
    if (fd < 0) throw bpfError('BPF_MAP_CREATE', name, errno);
    return new BpfMap(fd, `map ${name}`, shape);
  }

  /**
   * Opens the map that is pinned there, undefined if there is none. Its shape is whatever it was made with: compare.
   * @throws SysError EACCES (not in a bpffs), EPERM, …; OtherPinError if something else is pinned there
   */
  static openPinned(path: string): BpfMap | undefined {
    const fd = openPinnedFd(path, 'map');
    if (fd === undefined) return undefined;
    const { name, id: _, ...shape } = readMapInfo(fd, path);
    return new BpfMap(fd, `map ${name}`, shape);
  }

  /** Asks the kernel. @throws SysError */
  info(): MapInfo {
    return readMapInfo(this.fd, this.subject);
  }

  /** The value of this key, undefined if there is none. @throws SysError */
  lookup(key: Uint8Array): Uint8Array | undefined {
    const scratch = openScratch();
    const value = scratch.take(this.entryBytes);
    const { value: result, errno } = bpf(scratch, 'BPF_MAP_LOOKUP_ELEM', {
      map_fd: this.fd,
      key: scratch.put(this.#checked(key)).address,
      value: value.address,
    });
    if (result >= 0) return Uint8Array.from(value.bytes);
    if (errno === ENOENT) return undefined;
    throw bpfError('BPF_MAP_LOOKUP_ELEM', this.subject, errno);
  }

  /**
   * Writes one element, atomically for readers of a hash. In a map of maps the value is the descriptor of a map, and
   * the kernel waits until no program can still see the one before: some milliseconds.
   * @throws SysError E2BIG (full), ENOMEM, …
   * @throws RangeError on bytes of another length
   */
  update(key: Uint8Array, value: Uint8Array, mode: UpdateMode = 'any'): UpdateOutcome {
    if (value.length !== this.entryBytes) throw this.#wrongLength('value', value.length, this.entryBytes);
    const scratch = openScratch();
    const { value: result, errno } = bpf(scratch, 'BPF_MAP_UPDATE_ELEM', {
      map_fd: this.fd,
      key: scratch.put(this.#checked(key)).address,
      value: scratch.put(value).address,
      flags: UPDATE_FLAGS[mode],
    });
    if (result >= 0) return 'done';
    if (errno === EEXIST) return 'exists';
    if (errno === ENOENT && mode === 'present') return 'absent';
    throw bpfError('BPF_MAP_UPDATE_ELEM', this.subject, errno);
  }

  /** Writes a map into a map of maps, as `update`. */
  updateMap(key: Uint8Array, inner: BpfMap): UpdateOutcome {
    return this.update(key, new Uint8Array(Uint32Array.of(inner.fd).buffer));
  }

  /** Deletes one element. @returns false if there is none. @throws SysError */
  delete(key: Uint8Array): boolean {
    const scratch = openScratch();
    const { value: result, errno } = bpf(scratch, 'BPF_MAP_DELETE_ELEM', {
      map_fd: this.fd,
      key: scratch.put(this.#checked(key)).address,
    });
    if (result >= 0) return true;
    if (errno === ENOENT) return false;
    throw bpfError('BPF_MAP_DELETE_ELEM', this.subject, errno);
  }

  /** All elements, in no order: in batches where the kernel has them, else one by one. @throws SysError */
  entries(): MapEntries {
    const result = readEntries(this.#table(), this.#hasBatches ?? true);
    this.#hasBatches = result.batched;
    return result;
  }

  /**
   * Writes many elements, in their order: in batches where the kernel has them. What was written before a refusal
   * stays.
   * @param keys one behind the other
   * @param values likewise
   * @throws RangeError if their lengths do not fit
   */
  updateAll(keys: Uint8Array, values: Uint8Array): BatchResult {
    const count = this.#countOf(keys);
    if (values.length !== count * this.entryBytes) {
      throw this.#wrongLength('values', values.length, count * this.entryBytes);
    }
    const result = updateEach(this.#table(), this.#hasBatches ?? true, keys, values);
    this.#hasBatches = result.batched;
    return result;
  }

  /**
   * Deletes many elements, in their order; those that there are not count as done.
   * @param keys one behind the other
   * @throws RangeError if their length does not fit
   */
  deleteAll(keys: Uint8Array): BatchResult {
    this.#countOf(keys);
    const result = deleteEach(this.#table(), this.#hasBatches ?? true, keys);
    this.#hasBatches = result.batched;
    return result;
  }

  #table() {
    return {
      fd: this.fd,
      subject: this.subject,
      keyBytes: this.shape.keyBytes,
      entryBytes: this.entryBytes,
    };
  }

  #checked(key: Uint8Array): Uint8Array {
    if (key.length !== this.shape.keyBytes) throw this.#wrongLength('key', key.length, this.shape.keyBytes);
    return key;
  }

  #countOf(keys: Uint8Array): number {
    if (keys.length % this.shape.keyBytes !== 0) {
      throw new RangeError(
        `Cannot use keys of ${this.subject}: ${keys.length} bytes are no multiple of ${this.shape.keyBytes}`,
      );
    }
    return keys.length / this.shape.keyBytes;
  }

  #wrongLength(what: string, actual: number, expected: number): RangeError {
    return new RangeError(`Cannot use ${what} of ${this.subject}: ${actual} bytes, not ${expected}`);
  }
}

function isPerCpu(type: number): boolean {
  return type === MAP_TYPE.perCpuArray || type === MAP_TYPE.perCpuHash;
}

/** @see include/uapi/linux/bpf.h struct bpf_map_info */
function readMapInfo(fd: number, subject: string): MapInfo {
  const info = objectInfo(fd, MAP_INFO_BYTES, subject);
  return {
    type: infoU32(info, 0),
    id: infoU32(info, 4),
    keyBytes: infoU32(info, 8),
    valueBytes: infoU32(info, 12),
    maxEntries: infoU32(info, 16),
    flags: infoU32(info, 20),
    name: infoName(info, 24),
  };
}

/** How many values a map per CPU has: CPUs that there may ever be, not those that are on. */
export function possibleCpus(): number {
  return countCpus(readFileSync('/sys/devices/system/cpu/possible', 'utf8'));
}

/**
 * The highest CPU of a list such as `0-3,8`, plus one.
 * @see Documentation/admin-guide/cputopology.rst
 */
export function countCpus(list: string): number {
  const last = /(\d+)\s*$/.exec(list)?.[1];
  if (last === undefined) throw new Error(`Cannot count CPUs: ${JSON.stringify(list)} is no list of them`);
  return Number(last) + 1;
}
