import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { endianness } from 'node:os';
import { openScratch } from './arena.ts';
import { BpfHandle, infoU32, OtherPinError, objectInfo, openPinnedFd } from './bpf-handle.ts';
import type { BpfProgram } from './bpf-programs.ts';
import { bpf, bpfError } from './bpf-syscall.ts';

// include/uapi/linux/bpf.h
const BPF_F_REPLACE = 4;
const BPF_F_QUERY_EFFECTIVE = 1;
const BPF_LINK_TYPE_CGROUP = 3;
/** How programs are attached that others may stand beside, as links are. */
export const BPF_F_ALLOW_MULTI = 2;
/** How a program is attached that child cgroups may replace; a link beside it is refused with EPERM. */
export const BPF_F_ALLOW_OVERRIDE = 1;

// struct bpf_link_info as far as we read it
const LINK_INFO_BYTES = 32;
const MOST_PROGRAMS = 64;
const U32_BYTES = 4;
const littleEndian = endianness() === 'LE';

/** What the kernel tells of a link to a cgroup. */
export interface LinkInfo {
  readonly id: number;
  /** Of the program that is attached now. */
  readonly programId: number;
  /** The inode number of the cgroup; 0 if the link is detached. */
  readonly cgroupId: bigint;
  /** A number of `ATTACH_TYPE`. */
  readonly attachType: number;
}

/** A program's attachment to a cgroup. Without a pin it ends with its last descriptor. */
export class BpfLink extends BpfHandle {
  #attachType: number | undefined;

  private constructor(fd: number, subject: string, attachType?: number) {
    super(fd, subject);
    this.#attachType = attachType;
  }

  /**
   * Attaches a program to a cgroup, for sockets made in it and below, beside what others have attached.
   * @param cgroup a directory of a cgroup2 mount
   * @throws SysError EPERM (no privilege, or somebody has attached there exclusively: see `queryPrograms`), EBADF (no
   * cgroup2), …
   */
  static createOnCgroup(program: BpfProgram, cgroup: string, attachType: number): BpfLink {
    return withDirectory(cgroup, (target_fd) => {
      const { value: fd, errno } = bpf(openScratch(), 'BPF_LINK_CREATE', {
        prog_fd: program.fd,
        target_fd,
        attach_type: attachType,
      });
      if (fd < 0) throw bpfError('BPF_LINK_CREATE', `of ${program.subject} to ${cgroup}`, errno);
      return new BpfLink(fd, `link of ${program.subject}`, attachType);
    });
  }

  /** Opens the link that is pinned there, undefined if there is none. @throws SysError */
  static openPinned(path: string): BpfLink | undefined {
    const fd = openPinnedFd(path, 'link');
    return fd === undefined ? undefined : new BpfLink(fd, `link ${path}`);
  }

  /**
   * Puts another program in the place of the attached one. No call sees neither or both.
   * @param expected if given, it is replaced only if it is the one that is attached
   * @throws SysError EPERM (another is attached than expected), ENOLINK (detached), …
   * @throws Error if the program is for another hook: the kernel would take it
   */
  update(program: BpfProgram, expected?: BpfProgram): void {
    this.#attachType ??= this.info().attachType;
    if (program.attachType !== undefined && program.attachType !== this.#attachType) {
      throw new Error(
        `Cannot put ${program.subject} in ${this.subject}: it is for hook ${program.attachType}, not ${this.#attachType}`,
      );
    }
    const { value, errno } = bpf(openScratch(), 'BPF_LINK_UPDATE', {
      link_fd: this.fd,
      new_prog_fd: program.fd,
      ...(expected && { flags: BPF_F_REPLACE, old_prog_fd: expected.fd }),
    });
    if (value < 0) throw bpfError('BPF_LINK_UPDATE', `of ${this.subject} to ${program.subject}`, errno);
  }

  /** Ends the attachment at once, pinned or not; again is harmless. @throws SysError */
  detach(): void {
    const { value, errno } = bpf(openScratch(), 'BPF_LINK_DETACH', { link_fd: this.fd });
    if (value < 0) throw bpfError('BPF_LINK_DETACH', this.subject, errno);
  }

  /** Asks the kernel. @throws SysError; OtherPinError if the link is to something else than a cgroup */
  info(): LinkInfo {
    const info = objectInfo(this.fd, LINK_INFO_BYTES, this.subject);
    if (infoU32(info, 0) !== BPF_LINK_TYPE_CGROUP) {
      throw new OtherPinError(`Cannot use ${this.subject}: it is to no cgroup`);
    }
    return {
      id: infoU32(info, 4),
      programId: infoU32(info, 8),
      cgroupId: info.getBigUint64(16, littleEndian),
      attachType: infoU32(info, 24),
    };
  }
}

/** The programs at one hook of a cgroup. */
export interface AttachedPrograms {
  /** `BPF_F_ALLOW_MULTI`, `BPF_F_ALLOW_OVERRIDE`, or 0: exclusive, or nothing there. */
  readonly flags: number;
  /** Their numbers, in the order in which they are called. */
  readonly ids: readonly number[];
}

/**
 * What is attached at a hook of a cgroup, by anybody: why a link is refused.
 * @param effective whether to list what is called for this cgroup, its parents' programs included; `flags` is 0 then
 * @throws SysError EPERM without CAP_NET_ADMIN, ENOSPC if there are more than 64, …
 */
export function queryPrograms(cgroup: string, attachType: number, effective = false): AttachedPrograms {
  return withDirectory(cgroup, (target_fd) => {
    const scratch = openScratch();
    const ids = scratch.take(MOST_PROGRAMS * U32_BYTES);
    const result = bpf(scratch, 'BPF_PROG_QUERY', {
      target_fd,
      attach_type: attachType,
      query_flags: effective ? BPF_F_QUERY_EFFECTIVE : 0,
      prog_ids: ids.address,
      prog_cnt: MOST_PROGRAMS,
    });
    if (result.value < 0) throw bpfError('BPF_PROG_QUERY', `of ${cgroup}`, result.errno);
    const view = new DataView(ids.bytes.buffer, ids.bytes.byteOffset, ids.bytes.length);
    return {
      flags: result.u32('attach_flags'),
      ids: Array.from({ length: result.u32('prog_cnt') }, (_, i) =>
        view.getUint32(i * U32_BYTES, littleEndian),
      ),
    };
  });
}

function withDirectory<Result>(path: string, use: (fd: number) => Result): Result {
  const fd = openSync(path, fsConstants.O_RDONLY | fsConstants.O_DIRECTORY);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}
