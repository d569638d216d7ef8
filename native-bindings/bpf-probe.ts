import { constants } from 'node:os';
import { openScratch } from './arena.ts';
import { BpfMap, MAP_TYPE, type MapShape } from './bpf-maps.ts';
import { ATTACH_TYPE, BpfProgram, PROGRAM_TYPE, VerifierError } from './bpf-programs.ts';
import { bpf, bpfError } from './bpf-syscall.ts';
import { SysError } from './errno.ts';
import * as libc from './libc.ts';
import { type CAPABILITY, type Probe, probeCapability, probeOfError, SUPPORTED } from './probe.ts';

/**
 * What the socket balancer asks of a kernel. A feature is asked for by using it, never by a version. Without the
 * privilege every answer but that of `probeBpf` is `unknown`.
 */

const { EACCES, EBADF, EINVAL, ENOMEM, ENOSYS, EPERM } = constants.errno;
// include/linux/socket.h, include/linux/net.h
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

const HASH: MapShape = { type: MAP_TYPE.hash, keyBytes: 4, valueBytes: 4, maxEntries: 1, flags: 0 };
const STORAGE: MapShape = {
  type: MAP_TYPE.socketStorage,
  keyBytes: 4,
  valueBytes: 8,
  maxEntries: 0,
  flags: 1,
};

// Functions of the kernel. @see include/uapi/linux/bpf.h
const BPF_FUNC_sk_storage_get = 107;
const BPF_FUNC_set_retval = 187;
// struct bpf_sock_addr
const SOCK_ADDR_SK_OFFSET = 64;
const BPF_PSEUDO_MAP_FD = 1;

/** One instruction. @see Documentation/bpf/standardization/instruction-set.rst */
type Instruction = readonly [
  code: number,
  destination: number,
  source: number,
  offset: number,
  value: number,
];

const RETURN_1: readonly Instruction[] = [
  [0xb7, 0, 0, 0, 1], // r0 = 1
  [0x95, 0, 0, 0, 0], // exit
];

/**
 * May this process use bpf(2) for programs of sockets? That takes CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN for
 * both. Each that is missing is named.
 */
export function probeBpf(): Probe {
  const missing = missingCapabilities();
  if (missing.length > 0) {
    return { outcome: 'unsupported', reason: `the process lacks ${missing.join(' and ')}` };
  }
  try {
    using _ = BpfMap.create('probe', HASH);
    return SUPPORTED;
  } catch (error) {
    // EPERM with all capabilities: they are of another user namespace, or seccomp or lockdown forbid it.
    return probeOfError(error, [ENOSYS, EPERM]);
  }
}

/** Does the kernel have programs for socket addresses at a cgroup's connect(2)? (CONFIG_CGROUP_BPF) */
export function probeSockAddrPrograms(): Probe {
  return probeProgram(RETURN_1);
}

/** Can a program say which errno a refused connect(2) gives? (Linux 5.18) */
export function probeSetRetval(): Probe {
  return probeProgram([
    [0xb7, 1, 0, 0, -constants.errno.ECONNREFUSED], // r1 = -ECONNREFUSED
    [0x85, 0, 0, 0, BPF_FUNC_set_retval], // call
    ...RETURN_1,
  ]);
}

/**
 * Can a program keep something with the socket that it is called for? From Linux 6.19 on that takes a processor that can
 * compare and swap 16 bytes: on another there is never memory for it (kmalloc_nolock() of mm/slub.c).
 */
export function probeSocketStorage(): Probe {
  try {
    using map = BpfMap.create('probe', STORAGE);
    const errno = storeOnSocket(map);
    if (errno !== 0) {
      return probeOfError(bpfError('BPF_MAP_UPDATE_ELEM', 'on a socket', errno), [ENOMEM]);
    }
    return probeProgram([
      [0x79, 2, 1, SOCK_ADDR_SK_OFFSET, 0], // r2 = ctx->sk
      [0x55, 2, 0, 2, 0], // if r2 != 0 goto +2
      ...RETURN_1,
      [0x18, 1, BPF_PSEUDO_MAP_FD, 0, map.fd], // r1 = map, which takes two
      [0, 0, 0, 0, 0],
      [0xb7, 3, 0, 0, 0], // r3 = 0: nothing to begin with
      [0xb7, 4, 0, 0, 1], // r4 = BPF_SK_STORAGE_GET_F_CREATE
      [0x85, 0, 0, 0, BPF_FUNC_sk_storage_get], // call
      ...RETURN_1,
    ]);
  } catch (error) {
    return probeOfError(error, [EINVAL]);
  }
}

/** @returns the errno of writing to the storage of a socket, 0 for none; throws SysError without a socket */
function storeOnSocket(map: BpfMap): number {
  const socket = libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (socket.value < 0) throw new SysError('socket', socket.errno);
  try {
    map.update(new Uint8Array(Int32Array.of(socket.value).buffer), new Uint8Array(map.entryBytes));
    return 0;
  } catch (error) {
    if (error instanceof SysError) return error.errno;
    throw error;
  } finally {
    libc.close(socket.value);
  }
}

/** Can many elements of a map be written by one call? (Linux 5.6; without, they are written one by one) */
export function probeBatches(): Probe {
  try {
    using map = BpfMap.create('probe', HASH);
    const { refusal, batched } = map.updateAll(new Uint8Array(4), new Uint8Array(4));
    if (refusal !== undefined) return { outcome: 'unknown', reason: refusal.message };
    return batched ? SUPPORTED : { outcome: 'unsupported', reason: 'bpf(2) has no batches for hashes' };
  } catch (error) {
    return probeOfError(error, []);
  }
}

/** Can programs be attached by links? (Linux 5.7) */
export function probeLinks(): Probe {
  const noDescriptor = 0xffff_ffff;
  const { value, errno } = bpf(openScratch(), 'BPF_LINK_CREATE', { prog_fd: noDescriptor });
  // A kernel that knows the command looks for the program.
  if (value < 0 && errno === EBADF) return SUPPORTED;
  return probeOfError(bpfError('BPF_LINK_CREATE', 'of no program', errno), [EINVAL, ENOSYS]);
}

/** EINVAL is the answer to what the kernel does not know, EACCES to what it does not allow in such a program. */
function probeProgram(instructions: readonly Instruction[]): Probe {
  try {
    using _ = BpfProgram.load({
      name: 'probe',
      type: PROGRAM_TYPE.cgroupSockAddr,
      attachType: ATTACH_TYPE.connect4,
      instructions: assemble(instructions),
      license: 'GPL',
    });
    return SUPPORTED;
  } catch (error) {
    if (!(error instanceof VerifierError)) return probeOfError(error, []);
    const answered = [EINVAL, EACCES, ENOSYS].includes(error.cause.errno);
    return { outcome: answered ? 'unsupported' : 'unknown', reason: error.message };
  }
}

/** In host byte order, as are the halves of the byte with both registers: little-endian, as our programs are. */
function assemble(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(8 * instructions.length);
  const view = new DataView(bytes.buffer);
  for (const [i, [code, destination, source, offset, value]] of instructions.entries()) {
    view.setUint8(8 * i, code);
    view.setUint8(8 * i + 1, destination | (source << 4));
    view.setInt16(8 * i + 2, offset, true);
    view.setInt32(8 * i + 4, value, true);
  }
  return bytes;
}

function missingCapabilities(): readonly string[] {
  const lacks = (name: keyof typeof CAPABILITY) => probeCapability(name).outcome === 'unsupported';
  return lacks('CAP_SYS_ADMIN') ? (['CAP_BPF', 'CAP_NET_ADMIN'] as const).filter(lacks) : [];
}
