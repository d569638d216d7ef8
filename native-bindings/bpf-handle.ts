import { readlinkSync } from 'node:fs';
import { constants, endianness } from 'node:os';
import { openScratch } from './arena.ts';
import { bpf, bpfError } from './bpf-syscall.ts';
import { SysError } from './errno.ts';
import { close } from './libc.ts';

const { EEXIST, ENOENT } = constants.errno;
const littleEndian = endianness() === 'LE';

/** One descriptor of a map, program, link or BTF. What is not pinned or attached goes with its last descriptor. */
export abstract class BpfHandle implements Disposable {
  /** What it is, for messages: `map lb_svc`. */
  readonly subject: string;
  #fd: number;

  protected constructor(fd: number, subject: string) {
    this.#fd = fd;
    this.subject = subject;
  }

  /** To name it in calls. @throws Error after dispose */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`Cannot use ${this.subject}: it is closed`);
    return this.#fd;
  }

  /**
   * Gives it a name in a bpffs, under which it outlives this process. Unlinking the file undoes that.
   * @param path absolute; its directory exists
   * @returns false if there is a file of that name already, which stays as it is
   * @throws SysError EPERM (no bpffs there), ENOENT (no directory), …
   */
  pin(path: string): boolean {
    const scratch = openScratch();
    const pathname = scratch.putText(path).address;
    const { value, errno } = bpf(scratch, 'BPF_OBJ_PIN', { pathname, bpf_fd: this.fd });
    if (value >= 0) return true;
    if (errno === EEXIST) return false;
    throw bpfError('BPF_OBJ_PIN', `${this.subject} to ${path}`, errno);
  }

  /** Closes the descriptor; again is harmless. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    const { value, errno } = close(this.#fd);
    this.#fd = -1;
    if (value < 0) throw new SysError('close', errno);
  }
}

/** Something else is pinned where one of ours should be. */
export class OtherPinError extends Error {
  override readonly name = 'OtherPinError';
  readonly code = 'EEXIST';
}

/** What a pin can be of, as the kernel names descriptors in /proc/self/fd. */
const DESCRIPTOR_NAMES = { map: 'bpf-map', program: 'bpf-prog', link: 'bpf-link' } as const;

/**
 * A new descriptor of what is pinned there, undefined if there is no such file.
 * @throws SysError EACCES (not of bpffs), EPERM, …; OtherPinError if something else is pinned there
 */
export function openPinnedFd(path: string, kind: keyof typeof DESCRIPTOR_NAMES): number | undefined {
  const scratch = openScratch();
  const pathname = scratch.putText(path).address;
  const { value: fd, errno } = bpf(scratch, 'BPF_OBJ_GET', { pathname });
  if (fd < 0 && errno === ENOENT) return undefined;
  if (fd < 0) throw bpfError('BPF_OBJ_GET', path, errno);
  // The kernel would answer for any of them, each with a struct of its own.
  const name = readlinkSync(`/proc/self/fd/${fd}`);
  if (name === `anon_inode:${DESCRIPTOR_NAMES[kind]}`) return fd;
  close(fd);
  throw new OtherPinError(`Cannot use what is pinned at ${path}: it is no ${kind} but ${name}`);
}

/**
 * What the kernel tells of a handle: as many bytes of its info struct as asked for, zeros behind what it knows.
 * @param subject for messages
 * @throws SysError EINVAL if the descriptor is of no BPF object
 */
export function objectInfo(fd: number, length: number, subject: string): DataView {
  const scratch = openScratch();
  const info = scratch.take(length);
  info.bytes.fill(0);
  const { value, errno } = bpf(scratch, 'BPF_OBJ_GET_INFO_BY_FD', {
    bpf_fd: fd,
    info_len: length,
    info: info.address,
  });
  if (value < 0) throw bpfError('BPF_OBJ_GET_INFO_BY_FD', `of ${subject}`, errno);
  return new DataView(Uint8Array.from(info.bytes).buffer);
}

/** A 32-bit number of an info struct. */
export function infoU32(info: DataView, offset: number): number {
  return info.getUint32(offset, littleEndian);
}

/** A name of an info struct: up to 16 bytes that end with a zero byte. */
export function infoName(info: DataView, offset: number): string {
  const bytes = Buffer.from(info.buffer, offset, 16);
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
}
