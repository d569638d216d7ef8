import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  cgroup2Entries,
  findCgroup2Mounts,
  mountFileSystem,
  probeBpffs,
  probeMakingDirectories,
  unmountFileSystem,
} from '../../native-bindings/mounts.ts';
import { needsBpf } from './bpf-environment.ts';
import { makeCgroup, temporaryDirectory } from './socklb-lab.ts';

describe('cgroup2Entries()', () => {
  test.each([
    { name: 'none', table: '22 1 0:21 / /proc rw - proc proc rw\n', paths: [] },
    {
      name: 'one, with optional fields',
      table:
        '24 19 0:22 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n' +
        '25 19 0:23 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n',
      paths: ['/sys/fs/cgroup'],
    },
    {
      name: 'a path with a blank',
      table: '30 1 0:22 / /mnt/c\\040d rw - cgroup2 none rw\n',
      paths: ['/mnt/c d'],
    },
    { name: 'a source of that name', table: '30 1 0:22 / /mnt rw - tmpfs cgroup2 rw\n', paths: [] },
  ])('cgroup2Entries() finds $name', ({ table, paths }) => {
    expect(cgroup2Entries(table)).toEqual(paths.map((path) => ({ path, top: '/' })));
  });
});

describe('probeBpffs()', () => {
  test.each([
    { name: 'another file system', path: '/proc', outcome: 'unsupported', reason: '/proc is no bpffs' },
    { name: 'no such path', path: '/no/such', outcome: 'unknown', reason: 'ENOENT' },
  ])('probeBpffs() gives the reason for $name', ({ path, outcome, reason }) => {
    expect(probeBpffs(path)).toEqual({ outcome, reason: expect.stringContaining(reason) });
  });
});

describe('probeMakingDirectories()', () => {
  test('makes one and takes it away', () => {
    const path = temporaryDirectory();
    expect(probeMakingDirectories(path)).toEqual({ outcome: 'supported' });
    expect(readdirSync(path)).toEqual([]);
    rmdirSync(path);
  });

  test.each([
    { name: 'a read-only file system', path: '/proc/sys', outcome: 'unknown' },
    { name: 'no such path', path: '/no/such', outcome: 'unknown' },
  ])('gives the reason for $name', ({ path, outcome }) => {
    expect(probeMakingDirectories(path)).toEqual({ outcome, reason: expect.any(String) });
  });
});

describe('mountFileSystem()', needsBpf(), () => {
  test('mountFileSystem() mounts a bpffs, and unmountFileSystem() undoes it', () => {
    const path = temporaryDirectory();
    mountFileSystem('bpf', path);
    expect(probeBpffs(path)).toEqual({ outcome: 'supported' });
    unmountFileSystem(path);
    expect(probeBpffs(path)).toEqual({ outcome: 'unsupported', reason: `${path} is no bpffs` });
    rmdirSync(path);
  });

  test('mountFileSystem() mounts the cgroup2 that there is', () => {
    const path = temporaryDirectory();
    const [before] = findCgroup2Mounts();
    mountFileSystem('cgroup2', path);
    try {
      const mounts = findCgroup2Mounts();
      expect(mounts.map((mount) => mount.path)).toContain(path);
      if (before) expect(mounts.find((mount) => mount.path === path)?.isHostRoot).toBe(before.isHostRoot);
    } finally {
      unmountFileSystem(path);
    }
    expect(findCgroup2Mounts().map((mount) => mount.path)).not.toContain(path);
    rmdirSync(path);
  });

  test('findCgroup2Mounts() knows a mount from outside its cgroup namespace', () => {
    const path = makeCgroup();
    const module = join(import.meta.dirname, '../../native-bindings/mounts.ts');
    const script = `import { findCgroup2Mounts } from '${module}'; console.log(JSON.stringify(findCgroup2Mounts()));`;
    const inside = `echo $$ >'${path}/cgroup.procs' && exec unshare --cgroup "$0" "$@"`;
    const { stdout, stderr } = spawnSync(
      'sh',
      ['-c', inside, process.execPath, '--input-type=module', '-e', script],
      { encoding: 'utf8' },
    );
    rmdirSync(path);
    expect(stderr).toBe('');
    const seen: { isHandedIn: boolean }[] = JSON.parse(stdout);
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.filter(({ isHandedIn }) => !isHandedIn)).toEqual([]);
    expect(findCgroup2Mounts()[0]?.isHandedIn).toBe(false);
  });

  test('findCgroup2Mounts() leaves out what another mount hides', () => {
    const path = temporaryDirectory();
    const below = join(path, 'below');
    mkdirSync(below);
    mountFileSystem('cgroup2', below);
    const found = () => findCgroup2Mounts().map((each) => each.path);
    try {
      expect(found()).toContain(below);
      // Of a tmpfs the root may have inode 1, too.
      mountFileSystem('bpf', below);
      expect(found()).not.toContain(below);
      unmountFileSystem(below);
      // Now the path does not even exist.
      mountFileSystem('bpf', path);
      expect(found()).not.toContain(below);
      unmountFileSystem(path);
      expect(found()).toContain(below);
    } finally {
      unmountFileSystem(below);
      rmdirSync(below);
      rmdirSync(path);
    }
  });

  test('mountFileSystem() throws for a path that does not exist', () => {
    expect(() => mountFileSystem('bpf', '/no/such')).toThrow(
      expect.objectContaining({ syscall: 'mount bpf /no/such', code: 'ENOENT' }),
    );
    expect(() => unmountFileSystem('/no/such')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
  });
});
