import { align4, type ByteView, type ByteWriter, littleEndian, NetlinkDecodeError } from './bytes.ts';

/** A value and the mask of the bits it speaks for. @see include/uapi/linux/ip_vs.h struct ip_vs_flags */
export interface FlagsWithMask {
  readonly flags: number;
  readonly mask: number;
}

/**
 * What each kind holds in TypeScript. `u16`, `u32`, `u64` and `flagsWithMask` are in host byte order on the wire,
 * `be16` and `be32` in network byte order; all are plain numbers here. `string` ends in a NUL on the wire.
 * `address16` is a `union nf_inet_addr`: 4 or 16 bytes, written with zeros up to 16, read as 16.
 */
interface ValueOfKind {
  readonly u8: number;
  readonly u16: number;
  readonly u32: number;
  readonly u64: bigint;
  readonly be16: number;
  readonly be32: number;
  readonly string: string;
  readonly bytes: Uint8Array;
  readonly address16: Uint8Array;
  readonly flagsWithMask: FlagsWithMask;
}

type ScalarKind = keyof ValueOfKind;

/** One attribute: its number in the kernel's enum and what it holds. */
export type AttributeSpec =
  | { readonly type: number; readonly kind: ScalarKind }
  | { readonly type: number; readonly kind: 'nested'; readonly schema: Schema };

/** Attributes by name, in the order in which they are written. Declare one `as const satisfies Schema`. */
export interface Schema {
  readonly [name: string]: AttributeSpec;
}

type ValueOf<A extends AttributeSpec> = A extends {
  readonly kind: 'nested';
  readonly schema: infer S extends Schema;
}
  ? AttributesOf<S>
  : A extends { readonly kind: infer K extends ScalarKind }
    ? ValueOfKind[K]
    : never;

/** The values that a schema describes. An absent attribute is an absent (or undefined) property. */
export type AttributesOf<S extends Schema> = { readonly [K in keyof S]?: ValueOf<S[K]> | undefined };

type AttributeValue = ValueOfKind[ScalarKind] | { readonly [name: string]: AttributeValue | undefined };
type AttributeValues = { readonly [name: string]: AttributeValue | undefined };

/** Encoder and decoder of one schema. */
export interface AttributeCodec<S extends Schema> {
  /**
   * Appends the attributes that are present, in the order of the schema, each padded to four bytes.
   * @throws RangeError on an address that has neither 4 nor 16 bytes
   */
  encode(writer: ByteWriter, values: AttributesOf<S>): void;
  /**
   * Reads the attributes between two offsets. Unknown ones are skipped, of repeated ones the last counts, and byte
   * values are copies, so the datagram's memory may be reused.
   * @throws NetlinkDecodeError on a length that does not fit
   */
  decode(source: ByteView, start: number, end: number): AttributesOf<S>;
}

/** Set on what we write, as libnl does; the kernel leaves it out of older families' replies. */
const NLA_F_NESTED = 0x8000;
/** Bits of `nla_type` that are the type; the rest are NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;
const HEADER_BYTES = 4;
const ADDRESS_BYTES = 16;

/** How one kind is written and read. */
interface Kind<Value> {
  /** A longer payload is fine: the kernel lets attributes grow at their end. */
  readonly shortestBytes: number;
  write(writer: ByteWriter, value: Value): void;
  read(source: ByteView, start: number, end: number): Value;
}

const scalarKinds: { readonly [K in ScalarKind]: Kind<ValueOfKind[K]> } = {
  u8: {
    shortestBytes: 1,
    write: (writer, value) => writer.u8(value),
    read: ({ view }, start) => view.getUint8(start),
  },
  u16: {
    shortestBytes: 2,
    write: (writer, value) => writer.u16(value),
    read: ({ view }, start) => view.getUint16(start, littleEndian),
  },
  u32: {
    shortestBytes: 4,
    write: (writer, value) => writer.u32(value),
    read: ({ view }, start) => view.getUint32(start, littleEndian),
  },
  u64: {
    shortestBytes: 8,
    write: (writer, value) => writer.u64(value),
    read: ({ view }, start) => view.getBigUint64(start, littleEndian),
  },
  be16: {
    shortestBytes: 2,
    write: (writer, value) => writer.be16(value),
    read: ({ view }, start) => view.getUint16(start, false),
  },
  be32: {
    shortestBytes: 4,
    write: (writer, value) => writer.be32(value),
    read: ({ view }, start) => view.getUint32(start, false),
  },
  string: {
    shortestBytes: 0,
    write: (writer, value) => writer.cString(value),
    read: ({ bytes }, start, end) => readCString(bytes, start, end),
  },
  bytes: {
    shortestBytes: 0,
    write: (writer, value) => writer.bytes(value),
    read: ({ bytes }, start, end) => bytes.slice(start, end),
  },
  address16: {
    shortestBytes: ADDRESS_BYTES,
    write: writeAddress16,
    read: ({ bytes }, start) => bytes.slice(start, start + ADDRESS_BYTES),
  },
  flagsWithMask: {
    shortestBytes: 8,
    write: (writer, value) => {
      writer.u32(value.flags);
      writer.u32(value.mask);
    },
    read: ({ view }, start) => ({
      flags: view.getUint32(start, littleEndian),
      mask: view.getUint32(start + 4, littleEndian),
    }),
  },
};

interface Field {
  readonly name: string;
  /** What is written as `nla_type`. */
  readonly wireType: number;
  readonly kind: Kind<AttributeValue>;
}

interface Fields {
  readonly inOrder: readonly Field[];
  readonly byType: readonly (Field | undefined)[];
}

/** Prepares a schema once, so that decoding finds a field by its number and not by search. */
export function attributeCodec<S extends Schema>(schema: S): AttributeCodec<S>;
export function attributeCodec(schema: Schema): AttributeCodec<Schema> {
  const fields = fieldsOf(schema);
  return {
    encode: (writer, values) => encodeFields(writer, fields, values),
    decode: (source, start, end) => decodeFields(source, fields, start, end),
  };
}

function fieldsOf(schema: Schema): Fields {
  const specs = Object.entries(schema);
  const highest = Math.max(0, ...specs.map(([, spec]) => spec.type));
  const byType: (Field | undefined)[] = new Array<undefined>(highest + 1).fill(undefined);
  const inOrder = specs.map(([name, spec]): Field => {
    const field =
      spec.kind === 'nested'
        ? { name, wireType: spec.type | NLA_F_NESTED, kind: nestedKind(fieldsOf(spec.schema)) }
        : { name, wireType: spec.type, kind: scalarKinds[spec.kind] };
    byType[spec.type] = field;
    return field;
  });
  return { inOrder, byType };
}

function nestedKind(fields: Fields): Kind<AttributeValues> {
  return {
    shortestBytes: 0,
    write: (writer, value) => encodeFields(writer, fields, value),
    read: (source, start, end) => decodeFields(source, fields, start, end),
  };
}

function encodeFields(writer: ByteWriter, fields: Fields, values: AttributeValues): void {
  for (const field of fields.inOrder) {
    const value = values[field.name];
    if (value === undefined) continue;
    const start = writer.length;
    writer.u16(0);
    writer.u16(field.wireType);
    field.kind.write(writer, value);
    writer.patchU16(start, writer.length - start);
    writer.padTo4();
  }
}

function decodeFields(source: ByteView, fields: Fields, start: number, end: number): AttributeValues {
  const values: { [name: string]: AttributeValue } = {};
  let at = start;
  while (at < end) {
    if (end - at < HEADER_BYTES) throw new NetlinkDecodeError('attribute header is cut short', at);
    const length = source.view.getUint16(at, littleEndian);
    if (length < HEADER_BYTES || length > end - at) {
      throw new NetlinkDecodeError(`attribute length ${length} does not fit ${end - at} bytes`, at);
    }
    const field = fields.byType[source.view.getUint16(at + 2, littleEndian) & NLA_TYPE_MASK];
    if (field !== undefined) {
      const { shortestBytes } = field.kind;
      if (length - HEADER_BYTES < shortestBytes) {
        throw new NetlinkDecodeError(`${field.name} is shorter than ${shortestBytes} bytes`, at);
      }
      values[field.name] = field.kind.read(source, at + HEADER_BYTES, at + length);
    }
    at += align4(length);
  }
  return values;
}

function writeAddress16(writer: ByteWriter, address: Uint8Array): void {
  if (address.length !== 4 && address.length !== ADDRESS_BYTES) {
    throw new RangeError(`Cannot encode address: it has ${address.length} bytes, not 4 or 16`);
  }
  writer.bytes(address);
  writer.zeros(ADDRESS_BYTES - address.length);
}

function readCString(bytes: Uint8Array, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0) break;
    if (byte >= 0x80) return decodeUtf8(bytes.subarray(start, end));
    text += String.fromCharCode(byte);
  }
  return text;
}

function decodeUtf8(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return new TextDecoder().decode(nul === -1 ? bytes : bytes.subarray(0, nul));
}
