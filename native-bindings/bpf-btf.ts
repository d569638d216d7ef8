import { endianness } from 'node:os';
import { openScratch } from './arena.ts';
import { BpfHandle } from './bpf-handle.ts';
import { bpf, bpfError } from './bpf-syscall.ts';

const littleEndian = endianness() === 'LE';

// include/uapi/linux/btf.h
const BTF_MAGIC = 0xeb9f;
const BTF_VERSION = 1;
const HEADER_BYTES = 24;
const BTF_KIND_INT = 1 << 24;
const BTF_KIND_ARRAY = 3 << 24;
const BTF_INT_SIGNED = 1 << 24;

/** Type ids in the BTF of `encodeBytesBtf`: they count from 1 in the order of the types. */
const INT_TYPE = 1;
const BYTE_TYPE = 2;
const ARRAY_TYPE = 3;

/** The types that a map of kind SK_STORAGE must name: the kernel takes none without. */
export class BpfBtf extends BpfHandle {
  /** Of the key, an int. */
  readonly keyType = INT_TYPE;
  /** Of the value, an array of bytes. */
  readonly valueType = ARRAY_TYPE;

  /** Types for a key of 4 bytes and a value of so many. @throws SysError EPERM, … */
  static load(valueBytes: number): BpfBtf {
    const blob = encodeBytesBtf(valueBytes);
    const scratch = openScratch();
    const { value: fd, errno } = bpf(scratch, 'BPF_BTF_LOAD', {
      btf: scratch.put(blob).address,
      btf_size: blob.length,
    });
    if (fd < 0) throw bpfError('BPF_BTF_LOAD', `of ${valueBytes} bytes`, errno);
    return new BpfBtf(fd, `BTF of ${valueBytes} bytes`);
  }
}

/**
 * A BTF blob of three types: `int`, `unsigned char`, and an array of so many of the latter. In host byte order.
 * @see Documentation/bpf/btf.rst, include/uapi/linux/btf.h
 */
export function encodeBytesBtf(valueBytes: number): Uint8Array {
  const names = Buffer.from('\0int\0u8\0');
  const [intName, byteName] = [1, 5];
  const types = [
    [intName, BTF_KIND_INT, 4, BTF_INT_SIGNED | 32],
    [byteName, BTF_KIND_INT, 1, 8],
    // An array has no name and no size of its own, but element type, index type and length.
    [0, BTF_KIND_ARRAY, 0, BYTE_TYPE, INT_TYPE, valueBytes],
  ].flat();
  const typeBytes = 4 * types.length;
  const blob = new Uint8Array(HEADER_BYTES + typeBytes + names.length);
  const view = new DataView(blob.buffer);
  view.setUint16(0, BTF_MAGIC, littleEndian);
  view.setUint8(2, BTF_VERSION);
  view.setUint32(4, HEADER_BYTES, littleEndian);
  // Offsets count from the end of the header: types at 0, then names.
  view.setUint32(12, typeBytes, littleEndian);
  view.setUint32(16, typeBytes, littleEndian);
  view.setUint32(20, names.length, littleEndian);
  for (const [i, word] of types.entries()) view.setUint32(HEADER_BYTES + 4 * i, word, littleEndian);
  blob.set(names, HEADER_BYTES + typeBytes);
  return blob;
}
