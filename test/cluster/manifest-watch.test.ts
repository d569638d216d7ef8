import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { watchManifests } from '../../src/cluster/manifest-watch.ts';

/** Far longer than a test: what is seen, is seen by a notice. */
const NEVER_MS = 3_600_000;
const TIMES = { quietMs: 20, patienceMs: 5000, pollMs: NEVER_MS };

let directory: string;
let stop: AbortController;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-watch-'));
  stop = new AbortController();
});
afterEach(() => {
  stop.abort();
  rmSync(directory, { recursive: true });
});

const file = (...path: string[]) => join(directory, ...path);

/** A watch that has yielded for the start already. */
async function started(paths: readonly string[], times = TIMES) {
  const changes = watchManifests(paths, stop.signal, times);
  await changes.next();
  return changes;
}

describe('watchManifests()', () => {
  test.each([
    { name: 'a new file', change: () => writeFileSync(file('dir', 'b.yaml'), 'b') },
    { name: 'a changed file', change: () => writeFileSync(file('dir', 'a.yaml'), 'other') },
    { name: 'a file that is gone', change: () => rmSync(file('dir', 'a.yaml')) },
    {
      name: 'a file put in place of another',
      change: () => {
        writeFileSync(file('dir', '.new'), 'x');
        renameSync(file('dir', '.new'), file('dir', 'a.yaml'));
      },
    },
    {
      name: 'a file in a new directory',
      change: () => {
        mkdirSync(file('dir', 'sub'));
        writeFileSync(file('dir', 'sub', 'c.yaml'), 'c');
      },
    },
  ])('yields for $name', async ({ change }) => {
    mkdirSync(file('dir'));
    writeFileSync(file('dir', 'a.yaml'), 'a');
    const changes = await started([file('dir')]);
    const next = changes.next();
    change();
    expect(await next).toMatchObject({ done: false });
  });

  test('yields for a ConfigMap as the kubelet swaps it', async () => {
    for (const version of ['..1', '..2']) {
      mkdirSync(file(version));
      writeFileSync(file(version, 'all.yaml'), version);
    }
    symlinkSync('..1', file('..data'));
    symlinkSync('..data/all.yaml', file('all.yaml'));
    const changes = await started([file('all.yaml')]);
    const next = changes.next();
    symlinkSync('..2', file('..data_tmp'));
    renameSync(file('..data_tmp'), file('..data'));
    expect(await next).toMatchObject({ done: false });
  });

  test('yields for a file of a later directory, and for one that was missing', async () => {
    const changes = await started([file('late.yaml')]);
    let next = changes.next();
    writeFileSync(file('late.yaml'), 'a');
    expect(await next).toMatchObject({ done: false });
    next = changes.next();
    writeFileSync(file('late.yaml'), 'ab');
    expect(await next).toMatchObject({ done: false });
  });

  test('finds without notices what a look now and then shows', async () => {
    mkdirSync(file('elsewhere'));
    writeFileSync(file('elsewhere', 'a.yaml'), 'a');
    mkdirSync(file('dir'));
    symlinkSync('../elsewhere/a.yaml', file('dir', 'a.yaml'));
    const changes = await started([file('dir')], { ...TIMES, pollMs: 10 });
    const next = changes.next();
    // What a link leads to is in a directory that nobody watches.
    writeFileSync(file('elsewhere', 'a.yaml'), 'other');
    expect(await next).toMatchObject({ done: false });
  });

  test('yields once for a file that is written bit by bit', async () => {
    const changes = await started([directory], { ...TIMES, quietMs: 200 });
    const next = changes.next();
    for (let i = 0; i < 10; i++) {
      writeFileSync(file('a.yaml'), 'a'.repeat(i));
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await next;
    const after = changes.next();
    // Something else that happens there is no change of the files.
    writeFileSync(file('notes.txt'), '');
    stop.abort();
    expect(await after).toMatchObject({ done: true });
  });

  test('ends when aborted', async () => {
    const changes = await started([directory]);
    const next = changes.next();
    stop.abort();
    expect(await next).toMatchObject({ done: true });
  });
});
