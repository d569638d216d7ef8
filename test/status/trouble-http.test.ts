import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { DaemonStatus } from '../../src/status/daemon-status.ts';
import type { ApiWatchState, ReadinessCheck } from '../../src/status/health.ts';
import { NO_CHANGES } from '../../src/status/records.ts';
import { healthRoutes, metricsRoutes } from '../../src/status/routes.ts';
import { StatusServer } from '../../src/status/status-http.ts';
import { freePort } from '../free-port.ts';
import { ADD, at, daemonStatus, syncRecord } from './status-build.ts';

let clock: { seconds: number };
let status: DaemonStatus;
let server: StatusServer;
let url: string;
beforeEach(async () => {
  clock = { seconds: 10 };
  status = daemonStatus(clock);
  status.watching(watch('watching'));
  status.synced(syncRecord([]));
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  const routes = { ...metricsRoutes(status, () => ({})), ...healthRoutes(status) };
  server = new StatusServer('health', routes, { retryDelayMs: () => 10, report: () => undefined });
  await server.rebind({ host: '127.0.0.1', port });
  await vi.waitFor(() => fetch(`${url}/livez`), 10_000);
});
afterEach(() => server[Symbol.asyncDispose]());

function watch(state: ApiWatchState['state'], reason = ''): ApiWatchState {
  return { kind: 'Service', state, sinceMs: at(clock.seconds), reason };
}

/** The checks that fail, and the status. */
async function readyz(): Promise<{ readonly status: number; readonly failing: readonly string[] }> {
  const response = await fetch(`${url}/readyz`);
  const { checks } = (await response.json()) as { checks: readonly ReadinessCheck[] };
  const failing = checks.filter(({ ok }) => !ok).map(({ name, reason }) => `${name}: ${reason}`);
  return { status: response.status, failing };
}

async function sample(name: string): Promise<number | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length));
}

const READY = { status: 200, failing: [] };

describe('/readyz', () => {
  test('fails by api from 60 s without contact on, until there is contact again', async () => {
    status.watching(watch('retrying', 'Cannot GET /api/v1/services: ECONNREFUSED'));
    clock.seconds = 69;
    // Its reason may change meanwhile, and the time still counts from the first failure.
    status.watching(watch('retrying', 'Cannot GET /api/v1/services: ETIMEDOUT'));
    expect(await readyz()).toEqual(READY);
    clock.seconds = 70;
    const failing = ['api: Service for 60 s: Cannot GET /api/v1/services: ETIMEDOUT'];
    expect(await readyz()).toEqual({ status: 503, failing });
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    status.watching(watch('watching'));
    expect(await readyz()).toEqual(READY);
    clock.seconds = 71;
    status.watching(watch('retrying', 'Cannot GET /api/v1/services: ECONNREFUSED'));
    clock.seconds = 130;
    expect(await readyz()).toEqual(READY);
  });

  test('fails by queue, as /livez, when a change has waited for 60 s', async () => {
    status.changed(NO_CHANGES);
    clock.seconds = 70;
    expect(await readyz()).toEqual({ status: 503, failing: ['queue: a change has waited for 60 s'] });
    expect((await fetch(`${url}/livez`)).status).toBe(503);
    status.syncBegun();
    status.synced(syncRecord([]));
    expect(await readyz()).toEqual(READY);
  });
});

describe('/metrics', () => {
  test('has the age of the oldest change rise while syncs fail, whatever comes after it', async () => {
    const age = () => sample('svcplane_queue_age_seconds');
    status.changed(NO_CHANGES);
    clock.seconds = 12;
    status.syncBegun();
    status.synced(syncRecord([], { refused: [ADD] }));
    status.changed(NO_CHANGES);
    expect(await age()).toBe(2);
    clock.seconds = 55;
    status.syncBegun();
    status.syncFailed(
      'whole',
      Object.assign(new Error('Cannot talk to netlink: ENOBUFS'), { code: 'ENOBUFS' }),
    );
    expect(await age()).toBe(45);
    status.syncBegun();
    status.synced(syncRecord([]));
    expect(await age()).toBe(0);
  });

  test('counts what the kernel refuses, and failures of the channel to it, by errno', async () => {
    const refused = () => sample('svcplane_operations_refused_total{dataplane="ipvs",code="EPERM"}');
    const broken = () => sample('svcplane_netlink_errors_total{code="ENOBUFS"}');
    expect([await refused(), await broken()]).toEqual([undefined, undefined]);
    for (const times of [1, 2]) {
      status.synced(syncRecord([], { refused: [ADD] }));
      status.syncFailed('whole', Object.assign(new Error('Cannot talk to netlink'), { code: 'ENOBUFS' }));
      expect([await refused(), await broken()]).toEqual([times, times]);
    }
  });
});
