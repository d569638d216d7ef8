/**
 * The few lines of ELF that our own object has: sections, symbols, and the places in programs where a map's descriptor
 * belongs. What we did not build ourselves is refused rather than understood.
 * @see <elf.h>; https://docs.kernel.org/bpf/llvm_reloc.html
 */

/** A program of an object, as the compiler left it. */
export interface ElfProgram {
  /** The name of its function. */
  readonly name: string;
  /** Of its section, which tells the hook: `cgroup/connect4`. */
  readonly section: string;
  /** 8 bytes each. */
  readonly instructions: Uint8Array;
  /** Where maps are named. */
  readonly relocations: readonly ElfRelocation[];
}

/** An instruction that loads the address of a map. */
export interface ElfRelocation {
  /** In bytes from the first instruction. */
  readonly offset: number;
  /** The name of the map. */
  readonly symbol: string;
}

/** A named piece of a data section. */
export interface ElfSymbol {
  readonly name: string;
  readonly section: string;
  readonly bytes: Uint8Array;
}

/** What an object has. */
export interface ElfObject {
  readonly license: string;
  readonly programs: readonly ElfProgram[];
  /** What lies in data sections, by name. */
  readonly symbols: ReadonlyMap<string, ElfSymbol>;
  /** The bytes of a section, undefined if there is none of this name. */
  section(name: string): Uint8Array | undefined;
}

const HEADER_BYTES = 64;
const SECTION_HEADER_BYTES = 64;
const SYMBOL_BYTES = 24;
const RELOCATION_BYTES = 16;
const INSTRUCTION_BYTES = 8;
const ELFCLASS64 = 2;
const ELFDATA2LSB = 1;
const ET_REL = 1;
const EM_BPF = 247;
const [SHT_SYMTAB, SHT_NOBITS, SHT_REL] = [2, 8, 9];
const SHF_EXECINSTR = 4;
const STT_FUNC = 2;
const R_BPF_64_64 = 1;
/** BPF_LD | BPF_IMM | BPF_DW: takes two instructions. @see include/uapi/linux/bpf.h */
const LOAD_64 = 0x18;
const BPF_PSEUDO_MAP_FD = 1;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly link: number;
  readonly info: number;
  readonly bytes: Uint8Array;
}

interface SymbolEntry {
  readonly name: string;
  readonly type: number;
  readonly section: number;
  readonly value: number;
  readonly size: number;
}

/**
 * Reads an object that clang has built for little-endian BPF.
 * @throws Error in one line if it is anything else, or damaged
 */
export function readElf(bytes: Uint8Array): ElfObject {
  try {
    return readObject(bytes);
  } catch (cause) {
    // Offsets that point outside are RangeErrors of DataView, of whatever text.
    const reason = cause instanceof ForeignObjectError ? cause.message : 'it is damaged';
    throw new Error(`Cannot read BPF object: ${reason}`, { cause });
  }
}

class ForeignObjectError extends Error {
  override readonly name = 'ForeignObjectError';
}

function readObject(bytes: Uint8Array): ElfObject {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  checkHeader(view);
  const sections = readSections(view);
  const byName = new Map(sections.map((section) => [section.name, section]));
  const table = sections.find(({ type }) => type === SHT_SYMTAB);
  const symbols = table ? readSymbols(table, sections) : [];
  const programs = sections.flatMap((section, index) =>
    (section.flags & BigInt(SHF_EXECINSTR)) !== 0n && section.bytes.length > 0
      ? [readProgram(section, index, symbols, sections)]
      : [],
  );
  return {
    license: textOf(byName.get('license')?.bytes ?? new Uint8Array(0), 0),
    programs,
    symbols: new Map(symbols.flatMap((symbol) => dataOf(symbol, sections)).map((data) => [data.name, data])),
    section: (name) => byName.get(name)?.bytes,
  };
}

function checkHeader(view: DataView): void {
  if (view.byteLength < HEADER_BYTES || view.getUint32(0) !== 0x7f454c46) refuse('it is no ELF file');
  if (view.getUint8(4) !== ELFCLASS64) refuse('it is not of 64 bits');
  if (view.getUint8(5) !== ELFDATA2LSB) refuse('it is big-endian, and only little-endian ones are built');
  if (view.getUint16(16, true) !== ET_REL) refuse('it is no relocatable object');
  const machine = view.getUint16(18, true);
  if (machine !== EM_BPF) refuse(`it is for machine ${machine}, not ${EM_BPF} (BPF)`);
  if (view.getUint16(58, true) !== SECTION_HEADER_BYTES) refuse('its section headers have an unknown size');
}

function refuse(reason: string): never {
  throw new ForeignObjectError(reason);
}

function readSections(view: DataView): readonly Section[] {
  const start = Number(view.getBigUint64(40, true));
  const count = view.getUint16(60, true);
  const headers = Array.from({ length: count }, (_, i) => {
    const at = start + i * SECTION_HEADER_BYTES;
    const type = view.getUint32(at + 4, true);
    return {
      nameAt: view.getUint32(at, true),
      type,
      flags: view.getBigUint64(at + 8, true),
      link: view.getUint32(at + 40, true),
      info: view.getUint32(at + 44, true),
      bytes:
        type === SHT_NOBITS
          ? new Uint8Array(0)
          : slice(view, Number(view.getBigUint64(at + 24, true)), Number(view.getBigUint64(at + 32, true))),
    };
  });
  const names = headers[view.getUint16(62, true)]?.bytes ?? refuse('its sections have no names');
  return headers.map(({ nameAt, ...header }) => ({ name: textOf(names, nameAt), ...header }));
}

function readSymbols(table: Section, sections: readonly Section[]): readonly SymbolEntry[] {
  const names = sections[table.link]?.bytes ?? refuse('its symbols have no names');
  const view = viewOf(table.bytes);
  return Array.from({ length: Math.floor(table.bytes.length / SYMBOL_BYTES) }, (_, i) => {
    const at = i * SYMBOL_BYTES;
    return {
      name: textOf(names, view.getUint32(at, true)),
      type: view.getUint8(at + 4) & 0xf,
      section: view.getUint16(at + 6, true),
      value: Number(view.getBigUint64(at + 8, true)),
      size: Number(view.getBigUint64(at + 16, true)),
    };
  });
}

function dataOf(symbol: SymbolEntry, sections: readonly Section[]): readonly ElfSymbol[] {
  const section = sections[symbol.section];
  const isData = section !== undefined && (section.flags & BigInt(SHF_EXECINSTR)) === 0n;
  if (!isData || symbol.name === '' || symbol.size === 0) return [];
  const bytes = slice(viewOf(section.bytes), symbol.value, symbol.size);
  return [{ name: symbol.name, section: section.name, bytes }];
}

function readProgram(
  section: Section,
  index: number,
  symbols: readonly SymbolEntry[],
  sections: readonly Section[],
): ElfProgram {
  const functions = symbols.filter((symbol) => symbol.type === STT_FUNC && symbol.section === index);
  const [main] = functions;
  if (main === undefined || functions.length > 1 || main.value !== 0) {
    refuse(`section ${section.name} has ${functions.length} functions, not one`);
  }
  const relocations = sections
    .filter(({ type, info }) => type === SHT_REL && info === index)
    .flatMap((relocation) => readRelocations(relocation, section, symbols));
  return { name: main.name, section: section.name, instructions: section.bytes, relocations };
}

function readRelocations(
  { bytes }: Section,
  program: Section,
  symbols: readonly SymbolEntry[],
): readonly ElfRelocation[] {
  const view = viewOf(bytes);
  return Array.from({ length: Math.floor(bytes.length / RELOCATION_BYTES) }, (_, i) => {
    const offset = Number(view.getBigUint64(i * RELOCATION_BYTES, true));
    const type = view.getUint32(i * RELOCATION_BYTES + 8, true);
    const symbol = symbols[view.getUint32(i * RELOCATION_BYTES + 12, true)];
    if (type !== R_BPF_64_64) refuse(`section ${program.name} has a relocation of type ${type}`);
    if (symbol === undefined || symbol.name === '') {
      refuse(`section ${program.name} refers to something without a name`);
    }
    if (offset % INSTRUCTION_BYTES !== 0 || program.bytes[offset] !== LOAD_64) {
      refuse(`section ${program.name} has a relocation at byte ${offset}, where nothing is loaded`);
    }
    return { offset, symbol: symbol.name };
  });
}

/**
 * The instructions of a program with maps in place.
 * @param fdOf the descriptor of the map of this name
 */
export function relocate(program: ElfProgram, fdOf: (symbol: string) => number): Uint8Array {
  const instructions = Uint8Array.from(program.instructions);
  const view = viewOf(instructions);
  for (const { offset, symbol } of program.relocations) {
    // The upper half of the second byte is the source register, which here tells what the number means.
    view.setUint8(offset + 1, (view.getUint8(offset + 1) & 0xf) | (BPF_PSEUDO_MAP_FD << 4));
    view.setInt32(offset + 4, fdOf(symbol), true);
  }
  return instructions;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A view of these bytes, where `subarray` would silently be shorter. @throws RangeError if they are not all there */
function slice(view: DataView, offset: number, length: number): Uint8Array {
  return new Uint8Array(
    view.buffer,
    new DataView(view.buffer, view.byteOffset + offset, length).byteOffset,
    length,
  );
}

/** @throws RangeError if there is no zero byte */
function textOf(bytes: Uint8Array, offset: number): string {
  const end = bytes.indexOf(0, offset);
  if (end < 0 && bytes.length > 0) throw new RangeError('a text without end');
  return Buffer.from(bytes.subarray(offset, Math.max(offset, end))).toString('latin1');
}
