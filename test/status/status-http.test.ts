import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ListenPlace } from '../../src/status/listener-http.ts';
import { type Routes, StatusServer, TEXT_TYPE } from '../../src/status/status-http.ts';
import { freePort } from '../free-port.ts';

const text = (body: string) => ({ status: 200, type: TEXT_TYPE, body });

const ROUTES: Routes = {
  'GET /proxyMode': () => text('ipvs'),
  'GET /echo': (query) => text(query.get('x') ?? 'nothing'),
  'POST /guard/release': async () => text('released'),
  'GET /broken': async () => {
    throw new Error('Cannot read the kernel: EPERM');
  },
};

let directory: string;
let said: string[];
let server: StatusServer;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-status-'));
  said = [];
  server = new StatusServer('status', ROUTES, { retryDelayMs: () => 10, report: (line) => said.push(line) });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

function ask(place: ListenPlace, path: string, method = 'GET') {
  const where =
    'path' in place ? { socketPath: place.path } : { host: place.host ?? '127.0.0.1', port: place.port };
  return new Promise<{ status: number | undefined; body: string; headers: object }>((resolve, reject) => {
    const asked = request({ ...where, path, method, agent: false }, async (response) => {
      resolve({
        status: response.statusCode,
        body: (await response.toArray()).join(''),
        headers: response.headers,
      });
    });
    asked.once('error', reject).end();
  });
}

const local = async (): Promise<ListenPlace> => ({ host: '127.0.0.1', port: await freePort() });
const answered = (place: ListenPlace) =>
  vi.waitFor(
    async () => expect(await ask(place, '/proxyMode')).toMatchObject({ status: 200, body: 'ipvs' }),
    10_000,
  );

describe('StatusServer', () => {
  test('answers by method and path, with a query, and HEAD as GET', async () => {
    const place = await local();
    await server.rebind(place);
    await answered(place);
    expect(await ask(place, '/echo?x=a%20b')).toMatchObject({
      body: 'a b',
      headers: { 'content-type': TEXT_TYPE, 'x-content-type-options': 'nosniff' },
    });
    expect(await ask(place, '/proxyMode', 'HEAD')).toMatchObject({
      status: 200,
      body: '',
      headers: { 'content-length': '4' },
    });
    expect(await ask(place, '/guard/release', 'POST')).toMatchObject({ body: 'released' });
  });

  test.each([
    { path: '/nothing', method: 'GET', status: 404, allow: undefined },
    { path: '/constructor', method: 'GET', status: 404, allow: undefined },
    { path: '/proxyMode', method: 'POST', status: 405, allow: 'GET, HEAD' },
    { path: '/guard/release', method: 'GET', status: 405, allow: 'POST' },
  ])('answers $method $path with $status', async ({ path, method, status, allow }) => {
    const place = await local();
    await server.rebind(place);
    await answered(place);
    const answer = await ask(place, path, method);
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject(allow === undefined ? {} : { allow });
  });

  test('answers a failure with 500 and its line', async () => {
    const place = await local();
    await server.rebind(place);
    await answered(place);
    expect(await ask(place, '/broken')).toMatchObject({
      status: 500,
      body: 'Cannot read the kernel: EPERM\n',
    });
  });

  test('answers on IPv6', async () => {
    const place = { host: '::1', port: await freePort() };
    await server.rebind(place);
    await answered(place);
  });

  test('rebind() moves, keeps a place that stays, and ends with null', async () => {
    const [first, second] = [await local(), await local()];
    await server.rebind(first);
    await answered(first);
    await server.rebind({ ...first });
    await answered(first);
    await server.rebind(second);
    await answered(second);
    await expect(ask(first, '/proxyMode')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await server.rebind(null);
    await expect(ask(second, '/proxyMode')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(said).toEqual([]);
  });

  test('says of a port that is taken once, and has it as soon as it is free', async () => {
    const place = { host: '127.0.0.1', port: await freePort() };
    const holder = createServer().listen(place.port, '127.0.0.1');
    await once(holder, 'listening');
    await server.rebind(place);
    await vi.waitFor(() => expect(server.failure()).toBeDefined(), 10_000);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const at = `status at 127.0.0.1:${place.port}`;
    expect(said).toEqual([
      `failed: Cannot listen: ${at}: EADDRINUSE: another program has the port (ss -ltnp shows which)`,
    ]);
    holder.close();
    await answered(place);
    expect(server.failure()).toBeUndefined();
    expect(said.slice(1)).toEqual([`listening: ${at}`]);
  });
});

describe('StatusServer on a unix socket', () => {
  test('makes its directory, is for its owner alone, and leaves nothing', async () => {
    const place = { path: join(directory, 'run', 'svcplane.sock') };
    await server.rebind(place);
    await answered(place);
    expect(statSync(place.path).mode & 0o777).toBe(0o600);
    await server.rebind(null);
    expect(existsSync(place.path)).toBe(false);
  });

  test('takes the place of a socket whose process has ended without removing it', async () => {
    const path = join(directory, 'stale.sock');
    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
    await once(spawn(process.execPath, ['--eval', script]), 'exit');
    expect(existsSync(path)).toBe(true);
    await server.rebind({ path });
    await answered({ path });
    expect(said).toEqual([]);
  });

  test('leaves alone a socket that somebody listens on, and a file that is no socket', async () => {
    const other = new StatusServer('other', ROUTES, { retryDelayMs: () => 10, report: () => undefined });
    const path = join(directory, 'taken.sock');
    await other.rebind({ path });
    await answered({ path });
    await server.rebind({ path });
    await vi.waitFor(
      () => expect(server.failure()).toMatch(/taken\.sock: EADDRINUSE: another svcplane/),
      10_000,
    );
    await other[Symbol.asyncDispose]();
    await vi.waitFor(() => expect(server.failure()).toBeUndefined(), 10_000);
    const file = join(directory, 'file');
    writeFileSync(file, 'mine');
    await server.rebind({ path: file });
    await vi.waitFor(() => expect(server.failure()).toMatch(/file: EADDRINUSE/), 10_000);
    expect(statSync(file).size).toBe(4);
  });
});
