import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BpfSocklbKernel } from '../../../src/dataplane/socklb/client.ts';
import { MapShapeError, PinnedPrograms } from '../../../src/dataplane/socklb/program.ts';
import { FakeSocketPrograms, refusal } from '../../fakes/socket-programs.ts';

let directory: string;
let programs: FakeSocketPrograms;
let pinned: PinnedPrograms;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-pins-'));
  programs = new FakeSocketPrograms();
  pinned = new PinnedPrograms(programs, { directory: join(directory, 'v1'), cgroup: directory });
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** Makes the maps, and closes them. */
function makeMaps(): void {
  for (const map of pinned.makeMaps().values()) map[Symbol.dispose]();
}

describe('openMaps()', () => {
  it('closes what it has opened where a map is other than it should be', () => {
    makeMaps();
    const [, second = programs.maps[0]] = programs.maps;
    const other = new FakeSocketPrograms();
    Object.assign(other.maps, { 1: { ...second, maxEntries: 9 } });
    const newer = new PinnedPrograms(other, { directory: join(directory, 'v1'), cgroup: directory });
    expect(() => newer.openMaps()).toThrow(MapShapeError);
    expect([programs.open, other.open]).toEqual([0, 0]);
  });

  it('closes what it has opened where the kernel refuses the next', () => {
    makeMaps();
    programs.fault = (request) => (request === 'open lb_stat' ? refusal('EACCES') : undefined);
    expect(() => pinned.openMaps()).toThrow(expect.objectContaining({ code: 'EACCES' }));
    expect(programs.open).toBe(0);
  });

  it('closes what it has opened where a map is missing', () => {
    makeMaps();
    rmSync(join(directory, 'v1', 'maps', 'lb_stat'));
    expect(pinned.openMaps()).toBeUndefined();
    expect(programs.open).toBe(0);
  });
});

describe('makeMaps()', () => {
  beforeEach(() => {
    const maps = pinned.makeMaps();
    pinned.attach(maps);
    for (const map of maps.values()) map[Symbol.dispose]();
    programs.made.length = 0;
  });

  it('leaves maps and programs alone that are there', () => {
    makeMaps();
    expect([programs.made, pinned.state(), programs.open]).toEqual([[], 'attached', 0]);
  });

  it('loads the programs anew with a map that was lost', () => {
    rmSync(join(directory, 'v1', 'maps', 'lb_svc'));
    makeMaps();
    expect(programs.made).toEqual(['lb_svc', 'load lb_getpeer4', 'load lb_connect4']);
    expect([pinned.state(), programs.open]).toEqual(['attached', 0]);
  });

  it.each([
    'make lb_svc',
    'load lb_connect4',
  ])('does not take programs for attached that use a lost map, where %s is refused', (request) => {
    rmSync(join(directory, 'v1', 'maps', 'lb_svc'));
    programs.fault = (each) => (each === request ? refusal('ENOMEM') : undefined);
    expect(() => pinned.makeMaps()).toThrow(expect.objectContaining({ code: 'ENOMEM' }));
    expect([pinned.state(), programs.open]).toEqual(['partly', 0]);
    programs.fault = () => undefined;
    const maps = pinned.makeMaps();
    pinned.attach(maps);
    expect(pinned.state()).toBe('attached');
  });
});

describe('BpfSocklbKernel', () => {
  const ONE = { keys: new Uint8Array(4), values: new Uint8Array(8) };
  const never = new AbortController().signal;

  it('refuses writes where its maps can not be made, and makes them once they can', async () => {
    using kernel = new BpfSocklbKernel(programs, { directory: join(directory, 'v1'), cgroup: directory });
    programs.fault = (request) => (request === 'make lb_svc' ? refusal('ENOMEM') : undefined);
    expect(await kernel.update('lb_cfg', ONE, never)).toEqual({ done: 0, code: 'ENOMEM' });
    expect(await kernel.delete('lb_cfg', ONE.keys, never)).toEqual({ done: 0, code: 'ENOMEM' });
    expect(programs.open).toBe(0);
    programs.fault = () => undefined;
    expect(await kernel.update('lb_cfg', ONE, never)).toEqual({ done: 1, code: null });
  });

  it('refuses writes where a file is in the way of its maps', async () => {
    writeFileSync(join(directory, 'v1'), '');
    using kernel = new BpfSocklbKernel(programs, { directory: join(directory, 'v1'), cgroup: directory });
    expect(await kernel.update('lb_svc', ONE, never)).toEqual({ done: 0, code: 'ENOTDIR' });
  });

  it('rejects where a mistake of ours is the cause', async () => {
    using kernel = new BpfSocklbKernel(programs, { directory: join(directory, 'v1'), cgroup: directory });
    programs.fault = () => refusal('ERR_INVALID_ARG_TYPE');
    await expect(kernel.update('lb_cfg', ONE, never)).rejects.toThrow('ERR_INVALID_ARG_TYPE');
    await expect(kernel.attach(never)).rejects.toThrow('ERR_INVALID_ARG_TYPE');
  });
});
