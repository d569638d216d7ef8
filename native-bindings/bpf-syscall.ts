import { arch, constants, endianness } from 'node:os';
import type { Scratch } from './arena.ts';
import { SysError } from './errno.ts';
import { type CallResult, syscall } from './libc.ts';

/** The number of bpf(2). @see arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h, … */
const BPF_SYSCALL: Readonly<Record<string, number>> = {
  x64: 321,
  arm64: 280,
  riscv64: 280,
  loong64: 280,
  ppc64: 361,
  s390x: 351,
};

/** The type and offset of a field of `union bpf_attr`, in bytes; a text has a zero byte at its end. */
type Field = readonly ['u32' | 'u64' | 'text16', offset: number];

const ELEMENT = {
  map_fd: ['u32', 0],
  key: ['u64', 8],
  value: ['u64', 16],
  flags: ['u64', 24],
} as const satisfies Record<string, Field>;

const BATCH = {
  in_batch: ['u64', 0],
  out_batch: ['u64', 8],
  keys: ['u64', 16],
  values: ['u64', 24],
  count: ['u32', 32],
  map_fd: ['u32', 36],
  elem_flags: ['u64', 40],
  flags: ['u64', 48],
} as const satisfies Record<string, Field>;

const PATH = { pathname: ['u64', 0], bpf_fd: ['u32', 8] } as const satisfies Record<string, Field>;

const BY_ID = { id: ['u32', 0], next_id: ['u32', 4], open_flags: ['u32', 8] } as const satisfies Record<
  string,
  Field
>;

/**
 * The commands we use: number, size of their part of `union bpf_attr` as far as we fill it, and its fields. The layout
 * only ever grows at its end, and what we do not send counts as zero.
 * @see Linux 6.1 include/uapi/linux/bpf.h enum bpf_cmd, union bpf_attr
 */
const COMMANDS = {
  BPF_MAP_CREATE: {
    number: 0,
    bytes: 72,
    fields: {
      map_type: ['u32', 0],
      key_size: ['u32', 4],
      value_size: ['u32', 8],
      max_entries: ['u32', 12],
      map_flags: ['u32', 16],
      inner_map_fd: ['u32', 20],
      map_name: ['text16', 28],
      btf_fd: ['u32', 48],
      btf_key_type_id: ['u32', 52],
      btf_value_type_id: ['u32', 56],
    },
  },
  BPF_MAP_LOOKUP_ELEM: { number: 1, bytes: 32, fields: ELEMENT },
  BPF_MAP_UPDATE_ELEM: { number: 2, bytes: 32, fields: ELEMENT },
  BPF_MAP_DELETE_ELEM: { number: 3, bytes: 32, fields: ELEMENT },
  BPF_MAP_GET_NEXT_KEY: { number: 4, bytes: 32, fields: ELEMENT },
  BPF_PROG_LOAD: {
    number: 5,
    bytes: 72,
    fields: {
      prog_type: ['u32', 0],
      insn_cnt: ['u32', 4],
      insns: ['u64', 8],
      license: ['u64', 16],
      log_level: ['u32', 24],
      log_size: ['u32', 28],
      log_buf: ['u64', 32],
      prog_flags: ['u32', 44],
      prog_name: ['text16', 48],
      expected_attach_type: ['u32', 68],
    },
  },
  BPF_OBJ_PIN: { number: 6, bytes: 16, fields: PATH },
  BPF_OBJ_GET: { number: 7, bytes: 16, fields: PATH },
  BPF_PROG_GET_FD_BY_ID: { number: 13, bytes: 12, fields: BY_ID },
  BPF_OBJ_GET_INFO_BY_FD: {
    number: 15,
    bytes: 16,
    fields: { bpf_fd: ['u32', 0], info_len: ['u32', 4], info: ['u64', 8] },
  },
  BPF_PROG_QUERY: {
    number: 16,
    bytes: 28,
    fields: {
      target_fd: ['u32', 0],
      attach_type: ['u32', 4],
      query_flags: ['u32', 8],
      attach_flags: ['u32', 12],
      prog_ids: ['u64', 16],
      prog_cnt: ['u32', 24],
    },
  },
  BPF_BTF_LOAD: {
    number: 18,
    bytes: 28,
    fields: {
      btf: ['u64', 0],
      btf_log_buf: ['u64', 8],
      btf_size: ['u32', 16],
      btf_log_size: ['u32', 20],
      btf_log_level: ['u32', 24],
    },
  },
  BPF_MAP_LOOKUP_BATCH: { number: 24, bytes: 56, fields: BATCH },
  BPF_MAP_UPDATE_BATCH: { number: 26, bytes: 56, fields: BATCH },
  BPF_MAP_DELETE_BATCH: { number: 27, bytes: 56, fields: BATCH },
  BPF_LINK_CREATE: {
    number: 28,
    bytes: 16,
    fields: { prog_fd: ['u32', 0], target_fd: ['u32', 4], attach_type: ['u32', 8], flags: ['u32', 12] },
  },
  BPF_LINK_UPDATE: {
    number: 29,
    bytes: 16,
    fields: { link_fd: ['u32', 0], new_prog_fd: ['u32', 4], flags: ['u32', 8], old_prog_fd: ['u32', 12] },
  },
  BPF_LINK_DETACH: { number: 34, bytes: 4, fields: { link_fd: ['u32', 0] } },
} as const satisfies Record<
  string,
  { readonly number: number; readonly bytes: number; readonly fields: Readonly<Record<string, Field>> }
>;

/** The name of a command, as in `enum bpf_cmd`. */
export type BpfCommand = keyof typeof COMMANDS;

/** Values of the fields of a command; what is left out is zero. */
export type BpfAttr<Command extends BpfCommand> = {
  readonly [Name in keyof (typeof COMMANDS)[Command]['fields']]?: number | bigint | string;
};

const littleEndian = endianness() === 'LE';
const { EAGAIN, EINTR } = constants.errno;
/** Signals are rare: more often than this in a row they have another cause. */
const MOST_RETRIES = 5;

/** What a call gave: its result or errno, and how to read back the fields that the kernel has written. */
export interface BpfResult<Command extends BpfCommand> extends CallResult {
  /** A 32-bit field as it stands in the attr after the call. */
  u32(field: keyof (typeof COMMANDS)[Command]['fields']): number;
}

/**
 * One bpf(2), repeated a few times if a signal interrupts it, as it does with the verifier (EAGAIN).
 * @param scratch where the memory lies that pointers in `attr` point to; the attr itself is put there, too
 * @throws Error on a processor whose number of bpf(2) we do not know
 */
export function bpf<Command extends BpfCommand>(
  scratch: Scratch,
  command: Command,
  attr: BpfAttr<Command>,
): BpfResult<Command> {
  const number = BPF_SYSCALL[arch()];
  if (number === undefined) throw new Error(`Cannot call bpf(2): its number on ${arch()} is not known here`);
  const layout = COMMANDS[command];
  const fields: Readonly<Record<string, Field>> = layout.fields;
  const { bytes } = scratch.take(layout.bytes);
  bytes.fill(0);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (const [name, value] of Object.entries<number | bigint | string | undefined>(attr)) {
    const field = fields[name];
    if (field !== undefined && value !== undefined) writeField(view, field, value);
  }
  let result = syscall(number, layout.number, bytes, layout.bytes);
  for (let retry = 0; retry < MOST_RETRIES && isInterrupted(result); retry++) {
    result = syscall(number, layout.number, bytes, layout.bytes);
  }
  return {
    ...result,
    u32: (field) => view.getUint32(fields[String(field)]?.[1] ?? 0, littleEndian),
  };
}

function isInterrupted({ value, errno }: CallResult): boolean {
  return value < 0 && (errno === EINTR || errno === EAGAIN);
}

/** A SysError that names the command and what it was for. */
export function bpfError(command: BpfCommand, subject: string, errno: number): SysError {
  return new SysError(`bpf ${command} ${subject}`, errno);
}

/** The longest name that the kernel keeps of a map or program, in bytes: BPF_OBJ_NAME_LEN less the zero byte. */
export const OBJECT_NAME_BYTES = 15;

function writeField(view: DataView, [type, offset]: Field, value: number | bigint | string): void {
  if (type === 'text16') {
    const text = Buffer.from(String(value));
    if (text.length > OBJECT_NAME_BYTES) {
      throw new RangeError(`Cannot name a BPF object ${String(value)}: it has more than 15 bytes`);
    }
    text.copy(new Uint8Array(view.buffer, view.byteOffset + offset, OBJECT_NAME_BYTES));
  } else if (type === 'u64') {
    view.setBigUint64(offset, BigInt(value), littleEndian);
  } else {
    view.setUint32(offset, Number(value), littleEndian);
  }
}
