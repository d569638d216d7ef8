import { constants } from 'node:os';
import { openScratch, type Region, type Scratch } from './arena.ts';
import { type BpfCommand, type BpfResult, bpf, bpfError } from './bpf-syscall.ts';
import { errnoOf, type SysError } from './errno.ts';
import type { CallResult } from './libc.ts';

/** The map of a batch: its descriptor, its name for messages, and the bytes of a key and of a value as passed. */
export interface Table {
  readonly fd: number;
  readonly subject: string;
  readonly keyBytes: number;
  readonly entryBytes: number;
}

/** All elements of a map: keys one behind the other, and values likewise. */
export interface MapEntries {
  readonly count: number;
  readonly keys: Uint8Array;
  readonly values: Uint8Array;
  /** Whether the kernel gave them in batches. */
  readonly batched: boolean;
}

/** How far many writes got: elements before `done` are written, and `refusal` is what the kernel said to the next. */
export interface BatchResult {
  readonly done: number;
  readonly refusal?: SysError;
  /** Whether the kernel took them in batches. */
  readonly batched: boolean;
}

const { EINVAL, ENOENT, EOPNOTSUPP } = constants.errno;
/** Without batches: the command is unknown (EINVAL, before 5.6), or this kind of map has none. */
const NO_BATCHES: readonly number[] = [EINVAL, EOPNOTSUPP, errnoOf('ENOTSUPP') ?? EOPNOTSUPP];

/** Bytes of keys and values in one call. Great enough that a bucket of a hash always fits, which the kernel needs. */
const BATCH_BYTES = 2 * 1024 * 1024;
/** Room for the place where the next batch goes on: a key, or a number. */
const TOKEN_MIN_BYTES = 8;

/**
 * Reads all elements.
 * @param batched whether to try batches
 * @throws SysError
 */
export function readEntries(table: Table, batched: boolean): MapEntries {
  const parts: { readonly keys: Uint8Array; readonly values: Uint8Array }[] = [];
  const isBatched = batched && readInBatches(table, (keys, values) => parts.push({ keys, values }));
  if (!isBatched) readOneByOne(table, (keys, values) => parts.push({ keys, values }));
  const keys = Buffer.concat(parts.map((part) => part.keys));
  const values = Buffer.concat(parts.map((part) => part.values));
  return { count: keys.length / table.keyBytes, keys, values, batched: isBatched };
}

type Found = (keys: Uint8Array, values: Uint8Array) => void;

/** @returns false if the kernel has no batches for this map */
function readInBatches(table: Table, found: Found): boolean {
  const capacity = batchCapacity(table);
  const tokenBytes = Math.max(TOKEN_MIN_BYTES, table.keyBytes);
  let token: Uint8Array | undefined;
  for (;;) {
    const scratch = openScratch();
    const next = scratch.take(tokenBytes);
    const keys = scratch.take(capacity * table.keyBytes);
    const values = scratch.take(capacity * table.entryBytes);
    const result = bpf(scratch, 'BPF_MAP_LOOKUP_BATCH', {
      in_batch: token ? scratch.put(token).address : 0,
      out_batch: next.address,
      keys: keys.address,
      values: values.address,
      count: capacity,
      map_fd: table.fd,
    });
    if (result.value < 0 && token === undefined && NO_BATCHES.includes(result.errno)) return false;
    if (result.value < 0 && result.errno !== ENOENT) {
      throw bpfError('BPF_MAP_LOOKUP_BATCH', table.subject, result.errno);
    }
    const count = result.u32('count');
    found(copyOf(keys, count * table.keyBytes), copyOf(values, count * table.entryBytes));
    if (result.value < 0) return true;
    token = copyOf(next, tokenBytes);
  }
}

function readOneByOne(table: Table, found: Found): void {
  let last: Uint8Array | undefined;
  for (;;) {
    const scratch = openScratch();
    const key = scratch.take(table.keyBytes);
    const next = bpf(scratch, 'BPF_MAP_GET_NEXT_KEY', {
      map_fd: table.fd,
      key: last ? scratch.put(last).address : 0,
      value: key.address,
    });
    if (next.value < 0 && next.errno === ENOENT) return;
    if (next.value < 0) throw bpfError('BPF_MAP_GET_NEXT_KEY', table.subject, next.errno);
    const value = scratch.take(table.entryBytes);
    const read = bpf(scratch, 'BPF_MAP_LOOKUP_ELEM', {
      map_fd: table.fd,
      key: key.address,
      value: value.address,
    });
    last = copyOf(key, table.keyBytes);
    if (read.value >= 0) found(last, copyOf(value, table.entryBytes));
    // ENOENT: it went since we learnt of its key.
    else if (read.errno !== ENOENT) throw bpfError('BPF_MAP_LOOKUP_ELEM', table.subject, read.errno);
  }
}

/** Writes elements in their order until one is refused. @param batched whether to try batches */
export function updateEach(
  table: Table,
  batched: boolean,
  keys: Uint8Array,
  values: Uint8Array,
): BatchResult {
  const { fd: map_fd, keyBytes, entryBytes } = table;
  return writeEach(table, batched, keys.length / keyBytes, {
    batch: 'BPF_MAP_UPDATE_BATCH',
    single: 'BPF_MAP_UPDATE_ELEM',
    call: (scratch, isBatch, from, count) => {
      const key = scratch.put(sliceOf(keys, keyBytes, from, count)).address;
      const value = scratch.put(sliceOf(values, entryBytes, from, count)).address;
      return isBatch
        ? outcomeOf(bpf(scratch, 'BPF_MAP_UPDATE_BATCH', { keys: key, values: value, count, map_fd }))
        : bpf(scratch, 'BPF_MAP_UPDATE_ELEM', { key, value, map_fd });
    },
    isAsWanted: () => false,
  });
}

/** Deletes elements in their order until one is refused; absent ones count as done. @param batched as above */
export function deleteEach(table: Table, batched: boolean, keys: Uint8Array): BatchResult {
  const { fd: map_fd, keyBytes } = table;
  return writeEach(table, batched, keys.length / keyBytes, {
    batch: 'BPF_MAP_DELETE_BATCH',
    single: 'BPF_MAP_DELETE_ELEM',
    call: (scratch, isBatch, from, count) => {
      const key = scratch.put(sliceOf(keys, keyBytes, from, count)).address;
      return isBatch
        ? outcomeOf(bpf(scratch, 'BPF_MAP_DELETE_BATCH', { keys: key, count, map_fd }))
        : bpf(scratch, 'BPF_MAP_DELETE_ELEM', { key, map_fd });
    },
    isAsWanted: (errno) => errno === ENOENT,
  });
}

interface Writes {
  readonly batch: BpfCommand;
  readonly single: BpfCommand;
  readonly call: (scratch: Scratch, isBatch: boolean, from: number, count: number) => WriteOutcome;
  /** Whether this errno means that the element is as it should be. */
  readonly isAsWanted: (errno: number) => boolean;
}

interface WriteOutcome extends CallResult {
  /** How many elements of a batch were written, as the kernel says. */
  readonly written?: number;
}

function outcomeOf(result: BpfResult<'BPF_MAP_UPDATE_BATCH' | 'BPF_MAP_DELETE_BATCH'>): WriteOutcome {
  return { value: result.value, errno: result.errno, written: result.u32('count') };
}

function writeEach(table: Table, batched: boolean, total: number, writes: Writes): BatchResult {
  const capacity = batchCapacity(table);
  let [isBatch, done] = [batched, 0];
  while (done < total) {
    const count = isBatch ? Math.min(capacity, total - done) : 1;
    const { value, errno, written = 0 } = writes.call(openScratch(), isBatch, done, count);
    if (value >= 0) {
      done += count;
    } else if (isBatch && done === 0 && NO_BATCHES.includes(errno)) {
      isBatch = false;
    } else {
      // A batch ends at the first refused element. A call that fails before its first leaves the count as it was.
      if (written < count) done += written;
      if (!writes.isAsWanted(errno)) {
        const refusal = bpfError(isBatch ? writes.batch : writes.single, table.subject, errno);
        return { done, refusal, batched: isBatch };
      }
      done++;
    }
  }
  return { done, batched: isBatch };
}

function batchCapacity({ keyBytes, entryBytes }: Table): number {
  return Math.max(1, Math.floor(BATCH_BYTES / (keyBytes + entryBytes)));
}

function sliceOf(bytes: Uint8Array, size: number, from: number, count: number): Uint8Array {
  return bytes.subarray(from * size, (from + count) * size);
}

function copyOf({ bytes }: Region, length: number): Uint8Array {
  return Uint8Array.from(bytes.subarray(0, length));
}
