import { describe, expect, test } from 'vitest';
import { createMap, loadProgram, readSocklbObject } from '../../native-bindings/bpf-object.ts';
import {
  ATTACH_TYPE,
  BpfProgram,
  PROGRAM_TYPE,
  type ProgramSource,
  VerifierError,
} from '../../native-bindings/bpf-programs.ts';
import { needsBpf } from './bpf-environment.ts';

/** `r0 = VALUE; exit`. @see Documentation/bpf/standardization/instruction-set.rst */
function returning(value: number): Uint8Array {
  return Uint8Array.of(0xb7, 0, 0, 0, value, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
}

const ALLOW: ProgramSource = {
  name: 'test_allow',
  type: PROGRAM_TYPE.cgroupSockAddr,
  attachType: ATTACH_TYPE.connect4,
  instructions: returning(1),
  license: 'GPL',
};

function refusalOf(source: ProgramSource): VerifierError {
  try {
    BpfProgram.load(source)[Symbol.dispose]();
  } catch (error) {
    if (error instanceof VerifierError) return error;
    throw error;
  }
  throw new Error('the kernel has taken it');
}

describe('BpfProgram', needsBpf(), () => {
  test('load() loads what info() tells', () => {
    using program = BpfProgram.load(ALLOW);
    expect(program.info()).toEqual({
      id: expect.any(Number),
      type: PROGRAM_TYPE.cgroupSockAddr,
      name: 'test_allow',
      tag: expect.stringMatching(/^[0-9a-f]{16}$/),
    });
  });

  test('the tag tells the instructions', () => {
    using one = BpfProgram.load(ALLOW);
    using same = BpfProgram.load({ ...ALLOW, name: 'test_same' });
    using other = BpfProgram.load({ ...ALLOW, instructions: returning(0) });
    expect(same.info().tag).toBe(one.info().tag);
    expect(other.info().tag).not.toBe(one.info().tag);
  });

  test.each([
    {
      name: 'an answer that the hook does not know',
      instructions: returning(7),
      summary: /^Cannot load program bad: EINVAL: At program exit .*$/,
    },
    {
      name: 'a register that was never set',
      instructions: Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0),
      summary: /^Cannot load program bad: EACCES: R0 !read_ok$/,
    },
  ])('load() throws one line, and has the whole log, for $name', ({ instructions, summary }) => {
    const error = refusalOf({ ...ALLOW, name: 'bad', instructions });
    expect(error.message).toMatch(summary);
    expect(error.message).not.toContain('\n');
    expect(error.log).toMatch(/processed \d+ insns/);
    expect(error.cause.syscall).toBe('bpf BPF_PROG_LOAD bad');
  });

  test('load() throws without a log where the verifier was not asked', () => {
    const error = refusalOf({ ...ALLOW, name: 'bad', attachType: 9999 });
    expect([error.message, error.log]).toEqual(['Cannot load program bad: EINVAL', '']);
  });

  test('openById() finds a program, and no longer when it is gone', () => {
    const program = BpfProgram.load(ALLOW);
    const { id } = program.info();
    {
      using again = BpfProgram.openById(id);
      expect(again?.info()).toEqual(program.info());
    }
    program[Symbol.dispose]();
    expect(BpfProgram.openById(2 ** 31 - 1)).toBeUndefined();
  });

  test('dispose closes once, and use after it throws', () => {
    const program = BpfProgram.load(ALLOW);
    program[Symbol.dispose]();
    program[Symbol.dispose]();
    expect(() => program.info()).toThrow('Cannot use program test_allow: it is closed');
  });
});

describe('loadProgram()', needsBpf(), () => {
  test.each(['socklb', 'socklb-no-retval'] as const)('the verifier takes all programs of %s', (build) => {
    const object = readSocklbObject(build);
    using stack = new DisposableStack();
    const maps = new Map(
      object.maps.map((map) => [map.name, stack.use(createMap(map, Math.min(map.maxEntries, 16)))]),
    );
    const names = object.programs.map((program) => {
      const loaded = stack.use(loadProgram(object, program, (name) => maps.get(name)?.fd ?? -1));
      return loaded.info().name;
    });
    expect(names).toContain('lb_connect4');
    expect(new Set(names).size).toBe(8);
  });

  test('a map that is missing is an error of the verifier', () => {
    const object = readSocklbObject('socklb');
    const [program] = object.programs;
    if (program === undefined) throw new Error('the object has no program');
    expect(() => loadProgram(object, program, () => -1)).toThrow(VerifierError);
  });
});
