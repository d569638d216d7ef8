import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { askDaemon } from '../../src/status/local-client.ts';
import { healthRoutes, localRoutes, metricsRoutes } from '../../src/status/routes.ts';
import { type Routes, StatusServer } from '../../src/status/status-http.ts';
import { daemonStatus, syncRecord } from './status-build.ts';

const never = new AbortController().signal;
const OPTIONS = { retryDelayMs: () => 10, report: () => undefined };

let directory: string;
let path: string;
let server: StatusServer | undefined;
let released: number;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-routes-'));
  path = join(directory, 'svcplane.sock');
  released = 0;
});
afterEach(async () => {
  await server?.[Symbol.asyncDispose]();
  server = undefined;
  rmSync(directory, { recursive: true });
});

async function serve(routes: Routes): Promise<void> {
  server = new StatusServer('local questions', routes, OPTIONS);
  await server.rebind({ path });
  await vi.waitFor(
    () => ask('GET', '/').catch((error: Error) => expect(error.message).toContain('404')),
    10_000,
  );
}

const ask = (method: 'GET' | 'POST', at: string) => askDaemon(path, method, at, never);

function local(): Routes {
  const status = daemonStatus({ seconds: 11 });
  status.synced(syncRecord([]));
  return localRoutes(status, {
    snapshot: async (of) => `{"of":"${of}"}\n`,
    plan: async () => {
      throw new Error('Cannot read the virtual servers of IPVS: EPERM');
    },
    releaseGuard: () => {
      released += 1;
      return 'released';
    },
  });
}

describe('localRoutes()', () => {
  test('tell the status, as JSON or as text', async () => {
    await serve(local());
    expect(JSON.parse(await ask('GET', '/status'))).toMatchObject({ version: 1, node: 'n0', ready: true });
    expect(await ask('GET', '/status?output=text')).toMatch(/^node {7}n0\nversion .*\nready {6}yes\n/);
  });

  test('tell what is and what should be', async () => {
    await serve(local());
    expect(await ask('GET', '/snapshot')).toBe('{"of":"observed"}\n');
    expect(await ask('GET', '/snapshot?state=desired')).toBe('{"of":"desired"}\n');
    await expect(ask('GET', '/snapshot?state=past')).rejects.toThrow(
      '400: state is neither observed nor desired',
    );
  });

  test('tell the metrics', async () => {
    await serve(local());
    expect(await ask('GET', '/metrics')).toContain('\nsvcplane_guard_held 0\n');
  });

  test('release the guard only when told to', async () => {
    await serve(local());
    await expect(ask('GET', '/guard/release')).rejects.toThrow('405');
    expect(released).toBe(0);
    expect(await ask('POST', '/guard/release')).toBe('released\n');
    expect(released).toBe(1);
  });
});

describe('healthRoutes() and metricsRoutes()', () => {
  test('answer at the paths of kube-proxy', async () => {
    const status = daemonStatus({ seconds: 11 });
    await serve({ ...metricsRoutes(status, () => ({ scheduler: 'rr' })) });
    expect(await ask('GET', '/healthz')).toBe('ok');
    expect(await ask('GET', '/proxyMode')).toBe('ipvs');
    expect(JSON.parse(await ask('GET', '/configz'))).toEqual({ 'svcplane.io': { scheduler: 'rr' } });
    expect(await ask('GET', '/metrics')).toContain('\nprocess_resident_memory_bytes 100\n');
  });

  test('answer probes by the state', async () => {
    const status = daemonStatus({ seconds: 11 });
    await serve(healthRoutes(status));
    expect(Object.keys(JSON.parse(await ask('GET', '/livez')))).toEqual(['lastUpdated', 'currentTime']);
    await expect(ask('GET', '/readyz')).rejects.toThrow('503: {"ready":false');
    status.synced(syncRecord([]));
    expect(JSON.parse(await ask('GET', '/readyz'))).toMatchObject({ ready: true });
    status.eligible({ isBeingDeleted: false, hasDeletionTaint: true });
    await expect(ask('GET', '/healthz')).rejects.toThrow('503: {"lastUpdated"');
  });
});

describe('askDaemon()', () => {
  test('says in one line that no daemon runs', async () => {
    await expect(ask('GET', '/status')).rejects.toThrow(
      `Cannot ask the daemon at ${path}: none is running there (ENOENT): start svcplane run, or set socket as it has it`,
    );
    await expect(askDaemon('', 'GET', '/status', never)).rejects.toThrow(
      'Cannot ask the daemon: socket is empty, so it listens at none',
    );
  });

  test('says in one line what the daemon can not do', async () => {
    await serve(local());
    await expect(ask('GET', '/plan')).rejects.toThrow(
      `Cannot GET /plan of the daemon at ${path}: 500: Cannot read the virtual servers of IPVS: EPERM`,
    );
  });

  test('ends with a daemon that ends', async () => {
    const dying = createServer((peer) => peer.once('data', () => peer.destroy())).listen(path);
    await once(dying, 'listening');
    await expect(ask('GET', '/status')).rejects.toThrow(`Cannot ask the daemon at ${path}: ECONNRESET`);
    dying.close();
    await once(dying, 'close');
  });
});
