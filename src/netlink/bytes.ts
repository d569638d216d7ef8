/** Raised for every malformed input: the decoders of this folder throw nothing else. */
export class NetlinkDecodeError extends Error {
  override readonly name = 'NetlinkDecodeError';
  /** Offset in the datagram, in bytes, where reading failed. */
  readonly offset: number;

  constructor(problem: string, offset: number) {
    super(`Cannot decode netlink message at byte ${offset}: ${problem}`);
    this.offset = offset;
  }
}

/** Netlink is in host byte order; every target we ship for is little-endian, but nothing below assumes it. */
export const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** NLMSG_ALIGN and NLA_ALIGN: the next multiple of four. @see include/uapi/linux/netlink.h */
export function align4(length: number): number {
  return (length + 3) & ~3;
}

/** A datagram and the one DataView over it, so that decoding allocates none per message. */
export interface ByteView {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Wraps bytes without copying them. */
export function byteViewOf(bytes: Uint8Array): ByteView {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

/** An append-only buffer that grows by doubling and is meant to be reused: `clear()` keeps the memory. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  /** @param capacityBytes what is allocated at first; any size may be written */
  constructor(capacityBytes = 4096) {
    this.#bytes = new Uint8Array(Math.max(capacityBytes, 64));
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written since the last `clear()`. */
  get length(): number {
    return this.#length;
  }

  /** Forgets what was written and keeps the memory. */
  clear(): void {
    this.#length = 0;
  }

  /** What was written, as a view that is valid until the next write. */
  written(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
  }

  /** Host byte order. */
  u16(value: number): void {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, littleEndian);
  }

  /** Host byte order. */
  u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, littleEndian);
  }

  /** Host byte order. */
  u64(value: bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, value, littleEndian);
  }

  /** Network byte order. */
  be16(value: number): void {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, false);
  }

  /** Network byte order. */
  be32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, false);
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length);
    this.#bytes.set(value, at);
  }

  /** The text in UTF-8 and a NUL. */
  cString(value: string): void {
    for (let i = 0; i < value.length; i++) {
      const unit = value.charCodeAt(i);
      if (unit >= 0x80) {
        this.bytes(new TextEncoder().encode(value.slice(i)));
        break;
      }
      this.u8(unit);
    }
    this.u8(0);
  }

  /** Explicit zeros: the memory is reused, so what was not written is not zero. */
  zeros(count: number): void {
    const at = this.#reserve(count);
    for (let i = at; i < at + count; i++) this.#bytes[i] = 0;
  }

  /** Zeros up to the next multiple of four. */
  padTo4(): void {
    this.zeros(align4(this.#length) - this.#length);
  }

  /** Overwrites two written bytes, host byte order. */
  patchU16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, littleEndian);
  }

  /** Overwrites four written bytes, host byte order. */
  patchU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, littleEndian);
  }

  /** Growing replaces `#bytes` and `#view`, so call this before naming either. */
  #reserve(count: number): number {
    const at = this.#length;
    const end = at + count;
    if (end > this.#bytes.length) this.#grow(end);
    this.#length = end;
    return at;
  }

  #grow(atLeast: number): void {
    const grown = new Uint8Array(Math.max(atLeast, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
