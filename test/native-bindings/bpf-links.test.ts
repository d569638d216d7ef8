import { closeSync, mkdirSync, openSync, readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { BPF_F_ALLOW_MULTI, BpfLink, queryPrograms } from '../../native-bindings/bpf-links.ts';
import { BpfMap, MAP_TYPE } from '../../native-bindings/bpf-maps.ts';
import { ATTACH_TYPE, BpfProgram, PROGRAM_TYPE } from '../../native-bindings/bpf-programs.ts';
import { syscall } from '../../native-bindings/libc.ts';
import { mountFileSystem, unmountFileSystem } from '../../native-bindings/mounts.ts';
import { needsBpf } from './bpf-environment.ts';
import { makeCgroup, temporaryDirectory } from './socklb-lab.ts';

/** `r0 = VALUE; exit` */
function load(value: number, attachType: number = ATTACH_TYPE.connect4): BpfProgram {
  const instructions = Uint8Array.of(0xb7, 0, 0, 0, value, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
  const type = PROGRAM_TYPE.cgroupSockAddr;
  return BpfProgram.load({ name: `test_${value}`, type, attachType, instructions, license: 'GPL' });
}

/**
 * BPF_PROG_ATTACH with no flags: what somebody does who wants a hook for himself, and we never do.
 * @see include/uapi/linux/bpf.h
 */
function attachExclusively(cgroup: string, program: BpfProgram): void {
  const directory = openSync(cgroup, 'r');
  const attr = new Uint8Array(Uint32Array.of(directory, program.fd, ATTACH_TYPE.connect4, 0).buffer);
  const { value, errno } = syscall(arch() === 'x64' ? 321 : 280, 8, attr, attr.length);
  closeSync(directory);
  if (value < 0) throw new Error(`cannot attach: errno ${errno}`);
}

describe('BpfLink', needsBpf(), () => {
  let cgroup = '';

  beforeEach(() => {
    cgroup = makeCgroup();
  });

  afterEach(() => rmdirSync(cgroup));

  test('createOnCgroup() attaches, beside others, until it is closed', () => {
    using one = load(1);
    using two = load(0);
    using first = BpfLink.createOnCgroup(one, cgroup, ATTACH_TYPE.connect4);
    expect(first.info()).toEqual({
      id: expect.any(Number),
      programId: one.info().id,
      cgroupId: expect.any(BigInt),
      attachType: ATTACH_TYPE.connect4,
    });
    const second = BpfLink.createOnCgroup(two, cgroup, ATTACH_TYPE.connect4);
    expect(queryPrograms(cgroup, ATTACH_TYPE.connect4)).toEqual({
      flags: BPF_F_ALLOW_MULTI,
      ids: [one.info().id, two.info().id],
    });
    second[Symbol.dispose]();
    expect(queryPrograms(cgroup, ATTACH_TYPE.connect4).ids).toEqual([one.info().id]);
    expect(queryPrograms(cgroup, ATTACH_TYPE.connect6)).toEqual({ flags: 0, ids: [] });
  });

  test('queryPrograms() shows what is called for a child', () => {
    using program = load(1);
    using _ = BpfLink.createOnCgroup(program, cgroup, ATTACH_TYPE.connect4);
    const child = join(cgroup, 'child');
    mkdirSync(child);
    try {
      expect(queryPrograms(child, ATTACH_TYPE.connect4).ids).toEqual([]);
      expect(queryPrograms(child, ATTACH_TYPE.connect4, true).ids).toContain(program.info().id);
    } finally {
      rmdirSync(child);
    }
  });

  test('createOnCgroup() throws EPERM where somebody else has the hook, and queryPrograms() says who', () => {
    using foreign = load(1);
    using ours = load(1);
    attachExclusively(cgroup, foreign);
    expect(() => BpfLink.createOnCgroup(ours, cgroup, ATTACH_TYPE.connect4)).toThrow(
      expect.objectContaining({ code: 'EPERM' }),
    );
    expect(queryPrograms(cgroup, ATTACH_TYPE.connect4)).toEqual({ flags: 0, ids: [foreign.info().id] });
  });

  test('createOnCgroup() throws for what is no cgroup2', () => {
    using program = load(1);
    expect(() => BpfLink.createOnCgroup(program, '/tmp', ATTACH_TYPE.connect4)).toThrow(
      expect.objectContaining({ code: 'EBADF' }),
    );
    expect(() => BpfLink.createOnCgroup(program, '/no/such', ATTACH_TYPE.connect4)).toThrow('ENOENT');
  });

  test('update() replaces the program, and refuses if another is attached than expected', () => {
    using old = load(1);
    using next = load(0);
    using link = BpfLink.createOnCgroup(old, cgroup, ATTACH_TYPE.connect4);
    link.update(next);
    expect(link.info().programId).toBe(next.info().id);
    expect(() => link.update(old, old)).toThrow(expect.objectContaining({ code: 'EPERM' }));
    link.update(old, next);
    expect(link.info().programId).toBe(old.info().id);
  });

  test('update() refuses a program for another hook', () => {
    using program = load(1);
    using other = load(1, ATTACH_TYPE.connect6);
    using link = BpfLink.createOnCgroup(program, cgroup, ATTACH_TYPE.connect4);
    expect(() => link.update(other)).toThrow('it is for hook 11, not 10');
    expect(link.info().programId).toBe(program.info().id);
  });

  test('detach() ends it at once, again is harmless, and update() then throws', () => {
    using program = load(1);
    using link = BpfLink.createOnCgroup(program, cgroup, ATTACH_TYPE.connect4);
    link.detach();
    link.detach();
    expect(queryPrograms(cgroup, ATTACH_TYPE.connect4).ids).toEqual([]);
    expect(link.info().cgroupId).toBe(0n);
    expect(() => link.update(program)).toThrow(expect.objectContaining({ code: 'ENOLINK' }));
  });
});

describe('pins', needsBpf(), () => {
  const bpffs = temporaryDirectory();

  beforeAll(() => mountFileSystem('bpf', bpffs));

  afterAll(() => {
    unmountFileSystem(bpffs);
    rmdirSync(bpffs);
  });

  test('a pinned map outlives its descriptor', () => {
    const shape = { type: MAP_TYPE.hash, keyBytes: 4, valueBytes: 4, maxEntries: 8, flags: 0 };
    const path = join(bpffs, 'map');
    const map = BpfMap.create('test_pinned', shape);
    expect(BpfMap.openPinned(path)).toBeUndefined();
    expect(map.pin(path)).toBe(true);
    expect(map.pin(path)).toBe(false);
    const { id } = map.info();
    map.update(Uint8Array.of(1, 0, 0, 0), Uint8Array.of(2, 0, 0, 0));
    map[Symbol.dispose]();
    using again = BpfMap.openPinned(path);
    expect(again?.shape).toEqual(shape);
    expect(again?.info()).toMatchObject({ id, name: 'test_pinned' });
    expect(again?.lookup(Uint8Array.of(1, 0, 0, 0))).toEqual(Uint8Array.of(2, 0, 0, 0));
    unlinkSync(path);
    expect(BpfMap.openPinned(path)).toBeUndefined();
  });

  test('a pinned link stays attached until the pin is removed', async () => {
    const cgroup = makeCgroup();
    try {
      const path = join(bpffs, 'link');
      using program = load(1);
      const link = BpfLink.createOnCgroup(program, cgroup, ATTACH_TYPE.connect4);
      link.pin(path);
      link[Symbol.dispose]();
      const attached = () => queryPrograms(cgroup, ATTACH_TYPE.connect4).ids;
      expect(attached()).toEqual([program.info().id]);
      {
        using again = BpfLink.openPinned(path);
        expect(again?.info().programId).toBe(program.info().id);
      }
      expect(attached()).toEqual([program.info().id]);
      unlinkSync(path);
      // The kernel frees it once nobody reads the directory any more.
      await vi.waitFor(() => expect(attached()).toEqual([]));
    } finally {
      rmdirSync(cgroup);
    }
  });

  test('a pinned program can be opened', () => {
    const path = join(bpffs, 'program');
    using program = load(1);
    program.pin(path);
    using again = BpfProgram.openPinned(path);
    expect(again?.info()).toEqual(program.info());
    unlinkSync(path);
  });

  test('what is pinned elsewhere, or as something else, is an error', () => {
    using program = load(1);
    expect(() => program.pin('/tmp/no-bpffs')).toThrow(expect.objectContaining({ code: 'EPERM' }));
    expect(() => program.pin(join(bpffs, 'no/such'))).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    const path = join(bpffs, 'program');
    program.pin(path);
    expect(() => BpfMap.openPinned(path)).toThrow('is no map');
    expect(() => BpfLink.openPinned(path)).toThrow('is no link');
    unlinkSync(path);
    // Some kernels put files of their own there.
    expect(readdirSync(bpffs).filter((name) => !name.endsWith('.debug'))).toEqual([]);
  });
});
