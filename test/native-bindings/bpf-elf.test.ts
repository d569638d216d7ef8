import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readElf, relocate } from '../../native-bindings/bpf-elf.ts';

const OBJECT = readFileSync(join(import.meta.dirname, '../../native-bindings/bpf/socklb.bpf.o'));

/** The object with some bytes changed. */
function changed(offset: number, ...bytes: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(OBJECT);
  copy.set(bytes, offset);
  return copy;
}

function errorOf(bytes: Uint8Array): unknown {
  try {
    readElf(bytes);
    return undefined;
  } catch (error) {
    return error;
  }
}

describe('readElf()', () => {
  test('readElf() finds programs, the maps that they name, and the license', () => {
    const { programs, license, symbols } = readElf(OBJECT);
    expect(license).toBe('GPL');
    expect(programs.map(({ name, section }) => `${section} ${name}`).sort()).toEqual([
      'cgroup/connect4 lb_connect4',
      'cgroup/connect6 lb_connect6',
      'cgroup/getpeername4 lb_getpeer4',
      'cgroup/getpeername6 lb_getpeer6',
      'cgroup/recvmsg4 lb_recvmsg4',
      'cgroup/recvmsg6 lb_recvmsg6',
      'cgroup/sendmsg4 lb_sendmsg4',
      'cgroup/sendmsg6 lb_sendmsg6',
    ]);
    const used = new Set(programs.flatMap(({ relocations }) => relocations.map(({ symbol }) => symbol)));
    expect([...used].every((name) => symbols.get(name)?.section === '.socklb.maps')).toBe(true);
    expect([...used].sort()).toEqual(
      [...symbols.values()]
        .filter(({ section }) => section === '.socklb.maps')
        .map(({ name }) => name)
        .sort(),
    );
  });

  test.each([
    { name: 'nothing', bytes: new Uint8Array(0), reason: 'it is no ELF file' },
    { name: 'a text', bytes: Buffer.from('x'.repeat(500)), reason: 'it is no ELF file' },
    { name: '32 bits', bytes: changed(4, 1), reason: 'it is not of 64 bits' },
    {
      name: 'big endian',
      bytes: changed(5, 2),
      reason: 'it is big-endian, and only little-endian ones are built',
    },
    { name: 'an executable', bytes: changed(16, 2, 0), reason: 'it is no relocatable object' },
    { name: 'x86-64', bytes: changed(18, 62, 0), reason: 'it is for machine 62, not 247 (BPF)' },
    { name: 'section headers far outside', bytes: changed(40, 0, 0, 0, 0, 1), reason: 'it is damaged' },
    { name: 'a cut file', bytes: OBJECT.subarray(0, 5000), reason: 'it is damaged' },
    { name: 'Node itself', bytes: readFileSync(process.execPath).subarray(0, 4096), reason: 'it is' },
  ])('readElf() refuses $name', ({ bytes, reason }) => {
    const error = errorOf(bytes);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).toContain(`Cannot read BPF object: ${reason}`);
    expect(String(error)).not.toContain('\n');
  });

  test('readElf() gives an object or one line of error, whatever the bytes', () => {
    const damage = fc.array(fc.tuple(fc.nat(OBJECT.length - 1), fc.nat(255)), {
      minLength: 1,
      maxLength: 20,
    });
    // Headers are at both ends, and most bytes between are instructions, which nobody looks at.
    const header = fc.array(fc.tuple(fc.nat(63), fc.nat(255)), { minLength: 1, maxLength: 8 });
    const cut = fc.integer({ min: 0, max: OBJECT.length });
    fc.assert(
      fc.property(fc.oneof(damage, header), cut, fc.boolean(), (changes, length, isCut) => {
        const bytes = Uint8Array.from(OBJECT);
        for (const [offset, value] of changes) bytes[offset] = value;
        const error = errorOf(isCut ? bytes.subarray(0, length) : bytes);
        expect(error === undefined || /^Error: Cannot read BPF object: .+$/.test(String(error))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('relocate()', () => {
  test('relocate() puts descriptors into a copy', () => {
    const [program] = readElf(OBJECT).programs;
    if (program === undefined) throw new Error('the object has no program');
    const before = Uint8Array.from(program.instructions);
    const names: string[] = [];
    const instructions = relocate(program, (symbol) => names.push(symbol) + 1000);
    expect(program.instructions).toEqual(before);
    const view = new DataView(instructions.buffer);
    for (const [i, { offset, symbol }] of program.relocations.entries()) {
      expect(names[i]).toBe(symbol);
      expect(view.getUint8(offset + 1) >> 4).toBe(1); // BPF_PSEUDO_MAP_FD
      expect(view.getInt32(offset + 4, true)).toBe(1001 + i);
    }
    const touched = new Set(program.relocations.map(({ offset }) => offset / 8));
    const others = [...before.keys()].filter((i) => !touched.has(Math.floor(i / 8)));
    expect(others.every((i) => instructions[i] === before[i])).toBe(true);
  });
});
