import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { CliContext } from '../../src/cli/context.ts';
import { guardVerb } from '../../src/cli/guard.ts';
import { statusVerb } from '../../src/cli/status.ts';
import type { Verb } from '../../src/cli/verb.ts';
import { localRoutes } from '../../src/status/routes.ts';
import { StatusServer } from '../../src/status/status-http.ts';
import { daemonStatus, syncRecord } from '../status/status-build.ts';
import { CliHarness } from './harness.ts';

let files: CliHarness;
let socket: string;
let server: StatusServer;
let releases: number;
beforeEach(() => {
  files = new CliHarness();
  socket = join(files.directory, 'svcplane.sock');
  releases = 0;
  const status = daemonStatus({ seconds: 11 });
  status.synced(syncRecord([]));
  const handlers = {
    snapshot: async () => '',
    plan: async () => '',
    releaseGuard: () => {
      releases += 1;
      return 'released: 40 deletions are made with the next sync';
    },
  };
  const options = { retryDelayMs: () => 10, report: () => undefined };
  server = new StatusServer('local questions', localRoutes(status, handlers), options);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  files[Symbol.dispose]();
});

/** What a verb prints, asking the socket that the configuration names. */
async function printed(verb: Verb, given: Record<string, string> = {}, ...args: string[]): Promise<string> {
  let out = '';
  const context: Pick<CliContext, 'env' | 'signal' | 'out' | 'err' | 'readText'> = {
    env: {},
    signal: new AbortController().signal,
    out: async (text) => {
      out += text;
    },
    err: () => undefined,
    readText: async () => `socket: ${socket}`,
  };
  const name = { svcplaneConfig: 'config.yaml' };
  await verb.run({ context: context as CliContext, given: { ...name, ...given }, args });
  return out;
}

/** Until the daemon listens. */
const serve = async () => {
  await server.rebind({ path: socket });
  await vi.waitFor(() => printed(statusVerb), 10_000);
};

describe('status', () => {
  it('prints what the daemon says, as text or as JSON', async () => {
    await serve();
    expect(await printed(statusVerb)).toMatch(/^node {7}n0\n[\s\S]*\nlistening {2}everywhere it should\n$/);
    expect(JSON.parse(await printed(statusVerb, { output: 'json' }))).toMatchObject({
      version: 1,
      ready: true,
    });
    await expect(printed(statusVerb, { output: 'yaml' })).rejects.toThrow(
      '--output yaml is none of text, json',
    );
  });

  it('says in one line that no daemon runs', async () => {
    await expect(printed(statusVerb)).rejects.toThrow(
      /^Cannot ask the daemon at .*svcplane\.sock: none is running there \(ENOENT\): start svcplane run/,
    );
  });
});

describe('guard', () => {
  it('releases, and knows nothing else', async () => {
    await serve();
    await expect(printed(guardVerb, {}, 'hold')).rejects.toThrow(
      'Cannot hold the guard: the one action is release',
    );
    expect(releases).toBe(0);
    expect(await printed(guardVerb, {}, 'release')).toBe(
      'released: 40 deletions are made with the next sync\n',
    );
    expect(releases).toBe(1);
  });
});
