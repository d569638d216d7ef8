import { once } from 'node:events';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseIpAddress } from '../../src/model/address.ts';
import type { HealthCheck } from '../../src/model/desired-state.ts';
import { HealthCheckPorts } from '../../src/status/http.ts';
import { freePort } from '../free-port.ts';
import { healthCheck } from './status-build.ts';

const LOOPBACK = [parseIpAddress('127.0.0.1') ?? expect.unreachable()];

let ports: HealthCheckPorts;
let said: string[];
beforeEach(() => {
  said = [];
  ports = new HealthCheckPorts({ retryDelayMs: () => 10, report: (line) => said.push(line) });
});
afterEach(() => ports[Symbol.asyncDispose]());

const update = (checks: readonly HealthCheck[], isHealthy = true) =>
  ports.update({ checks, addresses: LOOPBACK, isHealthy });

function get(port: number, options: { method?: string; path?: string; host?: string } = {}) {
  return new Promise<{ status: number | undefined; body: string; weight: unknown }>((resolve, reject) => {
    const { host = '127.0.0.1', ...rest } = options;
    const asked = request({ host, port, agent: false, ...rest }, async (response) => {
      const body = (await response.toArray()).join('');
      resolve({
        status: response.statusCode,
        body,
        weight: response.headers['x-load-balancing-endpoint-weight'],
      });
    });
    asked.once('error', reject).end();
  });
}

/** Answered in the end: listening takes a turn of the event loop or two. */
const answered = (port: number, status: number, options = {}) =>
  vi.waitFor(async () => expect(await get(port, options)).toMatchObject({ status }), 10_000);

describe('HealthCheckPorts', () => {
  test('update() answers any path, for GET and HEAD', async () => {
    const port = await freePort();
    update([healthCheck(port, 3)]);
    await answered(port, 200);
    expect(await get(port, { path: '/healthz?x=1' })).toEqual({
      status: 200,
      body: '{"service":{"namespace":"web","name":"front"},"localEndpoints":3,"serviceProxyHealthy":true}',
      weight: '3',
    });
    expect(await get(port, { method: 'HEAD' })).toEqual({ status: 200, body: '', weight: '3' });
    expect(await get(port, { method: 'POST' })).toMatchObject({ status: 405 });
  });

  test('update() changes the answer of a listener that stays, whose connections live on', async () => {
    const port = await freePort();
    update([healthCheck(port)]);
    await answered(port, 200);
    const socket = connect(port, '127.0.0.1');
    const ask = async () => {
      socket.write('GET / HTTP/1.1\r\nHost: node\r\n\r\n');
      return String((await once(socket, 'data'))[0]).slice(9, 12);
    };
    expect(await ask()).toBe('200');
    update([healthCheck(port, 0)]);
    expect(await ask()).toBe('503');
    update([healthCheck(port, 1)], false);
    expect(await ask()).toBe('503');
    update([healthCheck(port, 1)]);
    expect(await ask()).toBe('200');
    socket.destroy();
  });

  test('update() closes what is no longer wanted, connections too', async () => {
    const [port, other] = [await freePort(), await freePort()];
    update([healthCheck(port), healthCheck(other, 1, 'web/other')]);
    await answered(port, 200);
    await answered(other, 200);
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    update([healthCheck(other, 1, 'web/other')]);
    await closed;
    await expect(get(port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await answered(other, 200);
  });

  test('a port that is taken is reported once, kept as state, and had as soon as it is free', async () => {
    const port = await freePort();
    const holder = createServer().listen(port, '127.0.0.1');
    await once(holder, 'listening');
    update([healthCheck(port)]);
    await vi.waitFor(() => expect(ports.failures()).toHaveLength(1), 10_000);
    const message = `Cannot listen: health check node port ${port} of 127.0.0.1 (Service web/front): EADDRINUSE: another program has the port (ss -ltnp shows which)`;
    expect(ports.failures()).toEqual([{ service: 'web/front', port, message }]);
    update([healthCheck(port)]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(said).toEqual([`failed: ${message}`]);
    holder.close();
    await answered(port, 200);
    expect(ports.failures()).toEqual([]);
    expect(said.slice(1)).toEqual([
      `listening: health check node port ${port} of 127.0.0.1 (Service web/front)`,
    ]);
  });

  test('update() without addresses listens on all of them', async () => {
    const port = await freePort();
    ports.update({ checks: [healthCheck(port)], addresses: null, isHealthy: true });
    await answered(port, 200);
    await answered(port, 200, { host: '127.0.0.2' });
  });

  test('[Symbol.asyncDispose]() closes everything, and no retry is left', async () => {
    const [port, taken] = [await freePort(), await freePort()];
    const holder = createServer().listen(taken, '127.0.0.1');
    await once(holder, 'listening');
    update([healthCheck(port), healthCheck(taken, 1, 'web/other')]);
    await answered(port, 200);
    await vi.waitFor(() => expect(ports.failures()).toHaveLength(1), 10_000);
    await ports[Symbol.asyncDispose]();
    holder.close();
    await once(holder, 'close');
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const closed of [port, taken]) {
      await expect(get(closed)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    }
  });
});
