import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ApiConnection } from '../../src/cluster/api-connection.ts';
import { openApiConnection } from '../../src/cluster/api-connection-client.ts';
import { type Authority, createAuthority, type Identity } from './authority.ts';
import { json, refuse, StandIn } from './stand-in.ts';

let authority: Authority;
let configured: Identity;
let inSlice: Identity;
let kubelet: Identity;
beforeAll(() => {
  authority = createAuthority('ca');
  configured = authority.issue({ name: 'api', names: 'IP:127.0.0.1' });
  inSlice = authority.issue({ name: 'api', names: 'IP:192.0.2.1,DNS:kubernetes.default.svc' });
  // Of the same authority, and for the right address, but not the API server.
  kubelet = authority.issue({ name: 'kubelet', names: 'IP:127.0.0.3,DNS:node-1' });
});

let parts: AsyncDisposableStack;
let directory: string;
beforeEach(() => {
  parts = new AsyncDisposableStack();
  directory = mkdtempSync(join(tmpdir(), 'svcplane-connection-'));
  parts.defer(() => rmSync(directory, { recursive: true }));
});
afterEach(() => parts.disposeAsync());

const { signal } = new AbortController();
const start = async (...args: Parameters<typeof StandIn.start>) => parts.use(await StandIn.start(...args));

async function connect(server: string, cluster: object = {}, answerTimeoutMs = 5000): Promise<ApiConnection> {
  const kubeconfig = join(directory, 'kubeconfig');
  const ca = Buffer.from(authority.ca).toString('base64');
  const text = JSON.stringify({
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': ca, ...cluster } }],
    users: [{ name: 'u', user: { token: 'secret' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  });
  writeFileSync(kubeconfig, text);
  return parts.use(await openApiConnection({ kubeconfig, env: {}, answerTimeoutMs }));
}

const get = (connection: ApiConnection) => connection.request('GET', '/version', { signal });
const refusedBy = (connection: ApiConnection) =>
  get(connection).then(
    () => 'answered',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );

/** An address at which nobody listens. */
async function nobody(host = '127.0.0.1'): Promise<string> {
  await using gone = await StandIn.start(undefined, host);
  return gone.address;
}

describe('openApiConnection() request', () => {
  it('sends method, path, query, headers and body, and gives the answer as a value', async () => {
    const api = await start(configured);
    const connection = await connect(`${api.url}/prefix/`);
    api.answer = (_, response) => refuse(response, 429, 'busy', { 'Retry-After': '3' });
    const answer = await connection.request('PATCH', '/api/v1/x', {
      query: { fieldSelector: 'a=b c' },
      body: { a: 1 },
      contentType: 'application/merge-patch+json',
      signal,
    });
    expect(answer).toMatchObject({ status: 429, body: { message: 'busy' }, retryAfterMs: 3000 });
    expect(api.asked).toMatchObject([
      {
        method: 'PATCH',
        path: '/prefix/api/v1/x',
        query: { fieldSelector: 'a=b c' },
        body: '{"a":1}',
        headers: {
          'content-type': 'application/merge-patch+json',
          accept: 'application/json',
          'user-agent': 'svcplane',
        },
      },
    ]);
  });

  it('asks again over a new connection if the server has closed the kept one', async () => {
    const api = await start(configured);
    const connection = await connect(api.url);
    await get(connection);
    let cuts = 1;
    api.answer = (_, response) => (cuts-- > 0 ? response.destroy() : json(response, 200, {}));
    expect((await get(connection)).status).toBe(200);
    expect(api.asked).toHaveLength(3);
  });

  it('does not write twice for that', async () => {
    const api = await start(configured);
    const connection = await connect(api.url);
    await get(connection);
    api.answer = (_, response) => response.destroy();
    const post = connection.request('POST', '/events', { body: {}, signal });
    await expect(post).rejects.toMatchObject({ name: 'ApiError', code: 'ECONNRESET' });
    expect(api.asked).toHaveLength(2);
  });

  it('gives up an answer that keeps silent in the middle', async () => {
    const api = await start(configured);
    const connection = await connect(api.url, {}, 100);
    api.answer = (_, response) => void response.writeHead(200).write('{');
    await expect(get(connection)).rejects.toMatchObject({
      code: 'ETIMEDOUT',
      message: `Cannot GET ${api.url}/version: nothing has come within 0.1 s`,
    });
  });

  it('ends with the reason of the signal', async () => {
    const api = await start(configured);
    const connection = await connect(api.url);
    const over = new AbortController();
    api.answer = () => over.abort(new Error('enough'));
    await expect(connection.request('GET', '/', { signal: over.signal })).rejects.toThrow('enough');
    await expect(connection.request('GET', '/', { signal: over.signal })).rejects.toThrow('enough');
    expect(api.asked).toHaveLength(1);
  });

  it('says what failed and on what', async () => {
    const address = await nobody();
    expect(await refusedBy(await connect(`https://${address}`))).toBe(
      `Cannot GET https://${address}/version: connect ECONNREFUSED ${address}`,
    );
  });
});

describe('useFallbacks()', () => {
  it('goes to another address, which has the name of all API servers, and stays there', async () => {
    const fallback = await start(inSlice, '127.0.0.2');
    const server = `https://${await nobody()}`;
    const connection = await connect(server);
    connection.useFallbacks([fallback.address]);
    expect(await refusedBy(connection)).toContain('ECONNREFUSED');
    expect((await get(connection)).status).toBe(200);
    expect(connection.server).toBe(fallback.url);
    connection.useFallbacks([await nobody('127.0.0.4'), fallback.address]);
    expect((await get(connection)).status).toBe(200);
    expect(fallback.asked.every(({ headers }) => headers.host === new URL(server).host)).toBe(true);
  });

  it('comes back to the configured server, in turn', async () => {
    const api = await start(configured);
    const connection = await connect(api.url);
    const gone = await nobody('127.0.0.2');
    connection.useFallbacks([gone]);
    api.answer = (_, response) => response.destroy();
    await refusedBy(connection);
    expect(connection.server).toBe(`https://${gone}`);
    api.answer = (_, response) => json(response, 200, {});
    await refusedBy(connection);
    expect((await get(connection)).status).toBe(200);
    expect(connection.server).toBe(api.url);
  });

  it('tells no token to one whose certificate is for its address, but not for the API server', async () => {
    const impostor = await start(kubelet, '127.0.0.3');
    const connection = await connect(`https://${await nobody()}`);
    connection.useFallbacks([impostor.address]);
    await refusedBy(connection);
    expect(await refusedBy(connection)).toContain('altnames');
    expect(impostor.asked).toEqual([]);
  });

  it('tells none to one that speaks no TLS', async () => {
    const plain = await start(undefined, '127.0.0.3');
    const connection = await connect(`https://${await nobody()}`);
    connection.useFallbacks([plain.address]);
    await refusedBy(connection);
    expect(await refusedBy(connection)).toContain('Cannot GET');
    expect(plain.asked).toEqual([]);
  });

  it.each([
    { name: 'is reached without TLS', scheme: 'http', cluster: {} },
    {
      name: 'is not verified',
      scheme: 'https',
      cluster: { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true },
    },
  ])('changes nothing where the configured server $name', async ({ scheme, cluster }) => {
    const server = `${scheme}://${await nobody()}`;
    const fallback = await start(scheme === 'http' ? undefined : kubelet, '127.0.0.3');
    const connection = await connect(server, cluster);
    connection.useFallbacks([fallback.address]);
    for (let time = 0; time < 3; time++) expect(await refusedBy(connection)).toContain('ECONNREFUSED');
    expect(fallback.asked).toEqual([]);
  });

  it('does not follow a kubeconfig that gives up TLS', async () => {
    const fallback = await start(inSlice, '127.0.0.2');
    const plain = await start(undefined, '127.0.0.3');
    const connection = await connect(`https://${await nobody()}`);
    connection.useFallbacks([fallback.address, plain.address]);
    await connect(`http://${await nobody()}`);
    for (let time = 0; time < 4; time++) expect(await refusedBy(connection)).toContain('Cannot GET');
    expect(plain.asked).toEqual([]);
  });
});
