import { readFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { type ElfObject, type ElfProgram, readElf, relocate } from './bpf-elf.ts';
import { BpfMap, MAP_TYPE, type MapShape } from './bpf-maps.ts';
import { ATTACH_TYPE, type AttachHook, BpfProgram, PROGRAM_TYPE } from './bpf-programs.ts';

/** The builds of the socket balancer: with ECONNREFUSED for what has no backend, or EPERM for kernels before 5.18. */
export type SocklbBuild = 'socklb' | 'socklb-no-retval';

/** A map as the object asks for it. */
export interface MapDefinition extends MapShape {
  readonly name: string;
  /** In a map of maps, the size of the one value in each of its arrays; 0 otherwise. */
  readonly innerValueBytes: number;
}

/** Offset and size of a field in bytes. */
export interface FieldLayout {
  readonly offset: number;
  readonly bytes: number;
}

/** A C struct of a key or value. */
export interface RecordLayout {
  readonly bytes: number;
  readonly fields: Readonly<Record<string, FieldLayout>>;
}

/** An object with our programs, and what it says of itself: see bpf/describe.h. */
export interface BpfObject {
  readonly maps: readonly MapDefinition[];
  /** Structs by their name in bpf/socklb.h. */
  readonly records: Readonly<Record<string, RecordLayout>>;
  /** Constants by their name there: flags, numbers of counters. */
  readonly constants: Readonly<Record<string, number>>;
  readonly license: string;
  readonly programs: readonly ObjectProgram[];
}

/** A program of an object, with the hook that its section names. */
export interface ObjectProgram extends ElfProgram {
  readonly hook: AttachHook;
}

const U32_BYTES = 4;
const FIELD_NAME_BYTES = 16;
const CONSTANT_NAME_BYTES = 24;
const MAPS_SECTION = '.socklb.maps';
const FIELDS_SECTION = '.socklb.fields';
const CONSTANTS_SECTION = '.socklb.constants';

/**
 * Reads a build of our programs, which lies beside this file.
 * @throws Error if it is missing or damaged, or this host is big-endian, for which there is no build
 */
export function readSocklbObject(build: SocklbBuild): BpfObject {
  if (endianness() !== 'LE') {
    throw new Error('Cannot use the socket balancer: its programs are built for little-endian processors');
  }
  return describe(readElf(readFileSync(join(import.meta.dirname, 'bpf', `${build}.bpf.o`))));
}

/**
 * What an object says of itself.
 * @throws Error if it is not one of ours
 */
export function describe(elf: ElfObject): BpfObject {
  const maps = [...elf.symbols.values()].filter(({ section }) => section === MAPS_SECTION);
  return {
    maps: maps.map(({ name, bytes }) => readDefinition(name, bytes)),
    records: readRecords(elf.section(FIELDS_SECTION) ?? new Uint8Array(0)),
    constants: readConstants(elf.section(CONSTANTS_SECTION) ?? new Uint8Array(0)),
    license: elf.license,
    programs: elf.programs.map((program) => ({ ...program, hook: hookOf(program.section) })),
  };
}

/**
 * Makes a map as the object asks for it.
 * @param maxEntries instead of what the object says
 * @throws SysError
 */
export function createMap(definition: MapDefinition, maxEntries = definition.maxEntries): BpfMap {
  const shape: MapShape = { ...shapeOf(definition), maxEntries };
  if (definition.type !== MAP_TYPE.hashOfMaps) return BpfMap.create(definition.name, shape);
  using example = createInnerMap(definition);
  return BpfMap.create(definition.name, shape, example);
}

/** Makes a map to put into the map of maps that is defined so: an array of one value. @throws SysError */
export function createInnerMap({ name, innerValueBytes }: MapDefinition): BpfMap {
  const shape = { type: MAP_TYPE.array, keyBytes: 4, valueBytes: innerValueBytes, maxEntries: 1, flags: 0 };
  return BpfMap.create(`${name}_in`, shape);
}

/**
 * Loads a program of an object.
 * @param fdOf the descriptor of the map of this name
 * @throws VerifierError
 */
export function loadProgram(
  object: BpfObject,
  program: ObjectProgram,
  fdOf: (map: string) => number,
  flags = 0,
): BpfProgram {
  return BpfProgram.load({
    name: program.name,
    type: PROGRAM_TYPE.cgroupSockAddr,
    attachType: ATTACH_TYPE[program.hook],
    instructions: relocate(program, fdOf),
    license: object.license,
    flags,
  });
}

/** What of a definition the kernel knows, to be compared with that of a pinned map. */
export function shapeOf({ type, keyBytes, valueBytes, maxEntries, flags }: MapDefinition): MapShape {
  return { type, keyBytes, valueBytes, maxEntries, flags };
}

function hookOf(section: string): AttachHook {
  const hook = /^cgroup\/(\w+)$/.exec(section)?.[1];
  if (hook === undefined || !isHook(hook)) {
    throw new Error(`Cannot use BPF object: there is no hook for its section ${section}`);
  }
  return hook;
}

function isHook(name: string): name is AttachHook {
  return Object.hasOwn(ATTACH_TYPE, name);
}

/** @see bpf/describe.h struct map_definition */
function readDefinition(name: string, bytes: Uint8Array): MapDefinition {
  const [type = 0, keyBytes = 0, valueBytes = 0, maxEntries = 0, flags = 0, innerValueBytes = 0] =
    wordsOf(bytes);
  return { name, type, keyBytes, valueBytes, maxEntries, flags, innerValueBytes };
}

/** @see bpf/describe.h struct field_description */
function readRecords(bytes: Uint8Array): Readonly<Record<string, RecordLayout>> {
  const records: Record<string, { bytes: number; fields: Record<string, FieldLayout> }> = {};
  for (const entry of piecesOf(bytes, 2 * FIELD_NAME_BYTES + 2 * U32_BYTES)) {
    const name = textOf(entry.subarray(0, FIELD_NAME_BYTES));
    const field = textOf(entry.subarray(FIELD_NAME_BYTES, 2 * FIELD_NAME_BYTES));
    const [offset = 0, size = 0] = wordsOf(entry.subarray(2 * FIELD_NAME_BYTES));
    records[name] ??= { bytes: 0, fields: {} };
    if (field === '') records[name].bytes = size;
    else records[name].fields[field] = { offset, bytes: size };
  }
  return records;
}

/** @see bpf/describe.h struct constant_description */
function readConstants(bytes: Uint8Array): Readonly<Record<string, number>> {
  const entries = piecesOf(bytes, CONSTANT_NAME_BYTES + U32_BYTES).map((entry): [string, number] => [
    textOf(entry.subarray(0, CONSTANT_NAME_BYTES)),
    wordsOf(entry.subarray(CONSTANT_NAME_BYTES))[0] ?? 0,
  ]);
  return Object.fromEntries(entries);
}

function piecesOf(bytes: Uint8Array, size: number): readonly Uint8Array[] {
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  );
}

/** Little-endian, as the object is. */
function wordsOf(bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / U32_BYTES) }, (_, i) =>
    view.getUint32(i * U32_BYTES, true),
  );
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1').replace(/\0.*$/s, '');
}
