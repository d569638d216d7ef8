import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SnapshotError } from '../../src/snapshot/parse.ts';
import { readSnapshot, writeSnapshot } from '../../src/snapshot/store.ts';
import { realServer, snapshotOf, virtualServer } from './build.ts';

const A = snapshotOf([virtualServer('10.0.0.1:80', { realServers: [realServer('10.1.0.1:80')] })]);
const B = snapshotOf([virtualServer('[fd00::1]:80')]);
const signal = new AbortController().signal;

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'svcplane-snapshot-'));
});
afterEach(() => rm(directory, { recursive: true }));

describe('writeSnapshot()', () => {
  it('replaces what readSnapshot() then reads, and leaves no other file', async () => {
    const file = join(directory, 'node.json');
    await writeSnapshot(file, A, signal);
    await writeSnapshot(file, B, signal);
    expect(await readSnapshot(file, signal)).toEqual(B);
    expect(await readdir(directory)).toEqual(['node.json']);
  });

  it('leaves the old content if aborted', async () => {
    const file = join(directory, 'node.json');
    await writeSnapshot(file, A, signal);
    await expect(writeSnapshot(file, B, AbortSignal.abort())).rejects.toThrow('aborted');
    expect(await readSnapshot(file, signal)).toEqual(A);
    expect(await readdir(directory)).toEqual(['node.json']);
  });

  it('names the file if it cannot be written', async () => {
    await expect(writeSnapshot(join(directory, 'no/node.json'), A, signal)).rejects.toThrow('no/node.json');
  });
});

describe('readSnapshot()', () => {
  it('names a file that is missing or broken', async () => {
    const file = join(directory, 'node.json');
    await expect(readSnapshot(file, signal)).rejects.toThrow(SnapshotError);
    await writeFile(file, '{}');
    await expect(readSnapshot(file, signal)).rejects.toThrow(
      `Cannot read snapshot ${file}: version: is missing`,
    );
  });
});
