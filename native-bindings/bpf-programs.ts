import { constants } from 'node:os';
import { openScratch } from './arena.ts';
import { BpfHandle, infoName, infoU32, objectInfo, openPinnedFd } from './bpf-handle.ts';
import { bpf, bpfError } from './bpf-syscall.ts';
import { errnoName, type SysError } from './errno.ts';

/** Kinds of programs. @see include/uapi/linux/bpf.h enum bpf_prog_type */
export const PROGRAM_TYPE = { cgroupSkb: 8, cgroupSockAddr: 18 } as const;

/** Where programs on socket addresses are called. @see include/uapi/linux/bpf.h enum bpf_attach_type */
export const ATTACH_TYPE = {
  connect4: 10,
  connect6: 11,
  sendmsg4: 14,
  sendmsg6: 15,
  recvmsg4: 19,
  recvmsg6: 20,
  getpeername4: 29,
  getpeername6: 30,
} as const;

/**
 * Refuses a program at which the verifier contradicts itself; without it the kernel warns in its log, once. Since Linux 6.8.
 * @see include/uapi/linux/bpf.h
 */
export const BPF_F_TEST_REG_INVARIANTS = 1 << 7;

/** One of the hooks of `ATTACH_TYPE`. */
export type AttachHook = keyof typeof ATTACH_TYPE;

/** A program to load. */
export interface ProgramSource {
  /** At most 15 bytes: letters, digits, `_` and `.` */
  readonly name: string;
  /** A number of `PROGRAM_TYPE`. */
  readonly type: number;
  /** A number of `ATTACH_TYPE`. */
  readonly attachType: number;
  /** 8 bytes each, with descriptors of maps in place. */
  readonly instructions: Uint8Array;
  /** `GPL` or compatible, where helpers ask for it. */
  readonly license: string;
  /** `BPF_F_…`; none by default. */
  readonly flags?: number;
}

/** What the kernel tells of a program. */
export interface ProgramInfo {
  readonly id: number;
  readonly type: number;
  readonly name: string;
  /** A hash of its instructions, as 16 hex digits. */
  readonly tag: string;
}

const INSTRUCTION_BYTES = 8;
const LOG_BYTES = 4 * 1024 * 1024;
// struct bpf_prog_info as far as we read it
const PROGRAM_INFO_BYTES = 80;
const { ENOENT } = constants.errno;

/** The kernel did not take a program. The message has one line of the verifier's log. */
export class VerifierError extends Error {
  override readonly name = 'VerifierError';
  /** All that the verifier wrote; empty if it was not even asked, as without the privilege. */
  readonly log: string;
  override readonly cause: SysError;

  constructor(program: string, log: string, cause: SysError) {
    const summary = summaryOf(log);
    super(`Cannot load program ${program}: ${errnoName(cause.errno)}${summary === '' ? '' : `: ${summary}`}`);
    this.log = log;
    this.cause = cause;
  }
}

/** A loaded program. It lives as long as somebody holds it: a descriptor, a pin or a link. */
export class BpfProgram extends BpfHandle {
  /** The number of `ATTACH_TYPE` it was loaded for, undefined if it was loaded by somebody else. */
  readonly attachType: number | undefined;

  private constructor(fd: number, subject: string, attachType?: number) {
    super(fd, subject);
    this.attachType = attachType;
  }

  /**
   * Loads a program: silently, and once more with the verifier's log if the kernel refuses it.
   * @throws VerifierError
   */
  static load(source: ProgramSource): BpfProgram {
    const first = loadOnce(source, undefined);
    if (first.value >= 0) return new BpfProgram(first.value, `program ${source.name}`, source.attachType);
    const second = loadOnce(source, LOG_BYTES);
    if (second.value >= 0) return new BpfProgram(second.value, `program ${source.name}`, source.attachType);
    throw new VerifierError(source.name, second.log, bpfError('BPF_PROG_LOAD', source.name, first.errno));
  }

  /** Opens the program that is pinned there, undefined if there is none. @throws SysError */
  static openPinned(path: string): BpfProgram | undefined {
    const fd = openPinnedFd(path, 'program');
    return fd === undefined ? undefined : new BpfProgram(fd, `program ${path}`);
  }

  /** Opens any program by its number, undefined if it is gone. @throws SysError EPERM without CAP_SYS_ADMIN */
  static openById(id: number): BpfProgram | undefined {
    const { value: fd, errno } = bpf(openScratch(), 'BPF_PROG_GET_FD_BY_ID', { id });
    if (fd >= 0) return new BpfProgram(fd, `program ${id}`);
    if (errno === ENOENT) return undefined;
    throw bpfError('BPF_PROG_GET_FD_BY_ID', String(id), errno);
  }

  /** Asks the kernel. @throws SysError */
  info(): ProgramInfo {
    const info = objectInfo(this.fd, PROGRAM_INFO_BYTES, this.subject);
    return {
      type: infoU32(info, 0),
      id: infoU32(info, 4),
      tag: Buffer.from(info.buffer, 8, 8).toString('hex'),
      name: infoName(info, 64),
    };
  }
}

/** @param logBytes how much log to ask for; undefined for none */
function loadOnce(
  source: ProgramSource,
  logBytes: number | undefined,
): { readonly value: number; readonly errno: number; readonly log: string } {
  const scratch = openScratch();
  const log = logBytes === undefined ? undefined : scratch.take(logBytes);
  log?.bytes.fill(0, 0, 1);
  const { value, errno } = bpf(scratch, 'BPF_PROG_LOAD', {
    prog_type: source.type,
    insn_cnt: source.instructions.length / INSTRUCTION_BYTES,
    insns: scratch.put(source.instructions).address,
    license: scratch.putText(source.license).address,
    prog_name: source.name,
    prog_flags: source.flags ?? 0,
    expected_attach_type: source.attachType,
    ...(log && { log_level: 1, log_size: log.bytes.length, log_buf: log.address }),
  });
  return { value, errno, log: log === undefined ? '' : textOf(log.bytes) };
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString('latin1');
}

/** The verifier ends with its statistics; what it objects to is the line before. */
function summaryOf(log: string): string {
  const lines = log.split('\n').map((line) => line.trim());
  const isStatistics = (line: string) => /^(processed \d+ insns|verification time|stack depth)/.test(line);
  return lines.filter((line) => line !== '' && !isStatistics(line)).at(-1) ?? '';
}
