import { rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { watchConfig } from '../../src/cli/config-watch.ts';
import { watchManifests } from '../../src/cluster/manifest-watch.ts';
import { CliHarness } from './harness.ts';

const context = {
  readText: (path: string) => readFile(path, 'utf8'),
  watchManifests: (paths: readonly string[], signal: AbortSignal) =>
    watchManifests(paths, signal, { quietMs: 5, patienceMs: 5000, pollMs: 20 }),
};

describe('watchConfig()', () => {
  it('tells what the file says, each time it has changed, and when it is of no use', async () => {
    using cli = new CliHarness();
    const file = cli.file('config.yaml', 'scheduler: lc\n');
    const ended = new AbortController();
    const news = watchConfig(context, { svcplaneConfig: file, interface: 'x0' }, ended.signal);
    const next = async () => (await news.next()).value;
    expect(await next()).toMatchObject({ config: { scheduler: 'lc', interface: 'x0' } });
    writeFileSync(file, 'scheduler: wlc\n');
    expect(await next()).toMatchObject({ config: { scheduler: 'wlc', interface: 'x0' } });
    writeFileSync(file, 'scheduler: fastest\n');
    expect(await next()).toMatchObject({
      error: { message: `Cannot use ${file}:1: scheduler "fastest" is not an IPVS scheduler` },
    });
    rmSync(file);
    expect(await next()).toMatchObject({ error: { code: 'ENOENT' } });
    ended.abort();
    expect(await news.next()).toEqual({ done: true, value: undefined });
  });

  it('without a file is over at once', async () => {
    const news = watchConfig(context, {}, new AbortController().signal);
    expect(await news.next()).toEqual({ done: true, value: undefined });
  });
});
