import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ApiConnection, ApiConnectionOptions } from '../../src/cluster/api-connection.ts';
import { openApiConnection } from '../../src/cluster/api-connection-client.ts';
import { type Authority, createAuthority, type Identity } from './authority.ts';
import { json, refuse, StandIn } from './stand-in.ts';

const LOCAL = 'IP:127.0.0.1';
let authority: Authority;
let other: Authority;
let server: Identity;
let clients: readonly Identity[];
beforeAll(() => {
  authority = createAuthority('ca');
  other = createAuthority('other');
  server = authority.issue({ name: 'api', names: LOCAL });
  clients = ['first', 'second'].map((name) => authority.issue({ name }));
});

let parts: AsyncDisposableStack;
let directory: string;
let api: StandIn;
beforeEach(async () => {
  parts = new AsyncDisposableStack();
  directory = mkdtempSync(join(tmpdir(), 'svcplane-credentials-'));
  parts.defer(() => rmSync(directory, { recursive: true }));
  api = parts.use(
    await StandIn.start({ ...server, ca: authority.ca, requestCert: true, rejectUnauthorized: false }),
  );
});
afterEach(() => parts.disposeAsync());

/** As kubelet and cert-manager do: by a rename. */
function write(name: string, text: string): string {
  const file = join(directory, name);
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  return file;
}

const data = (text: string) => Buffer.from(text).toString('base64');

function kubeconfig(user: object, cluster: object = {}): string {
  return write(
    'kubeconfig',
    JSON.stringify({
      clusters: [
        {
          name: 'c',
          cluster: { server: api.url, 'certificate-authority-data': data(authority.ca), ...cluster },
        },
      ],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
}

async function open(options: Partial<ApiConnectionOptions>): Promise<ApiConnection> {
  return parts.use(await openApiConnection({ env: {}, ...options }));
}

const get = async (connection: ApiConnection) => {
  const { signal } = new AbortController();
  return (await connection.request('GET', '/version', { signal })).status;
};
const problemOf = (connection: ApiConnection) =>
  get(connection).then(String, (error: Error) => error.message);
const tokens = () => api.asked.map(({ headers }) => headers.authorization);

describe('ApiCredentials of a kubeconfig', () => {
  it.each([
    { name: 'a token', user: { token: 'abc' }, sent: 'Bearer abc' },
    { name: 'a password', user: { username: 'me', password: 'pä' }, sent: `Basic ${data('me:pä')}` },
    { name: 'nothing', user: {}, sent: undefined },
  ])('sends $name', async ({ user, sent }) => {
    expect(await get(await open({ kubeconfig: kubeconfig(user) }))).toBe(200);
    expect(tokens()).toEqual([sent]);
  });

  it('reads a tokenFile, whose path begins at the kubeconfig, and again when it was replaced', async () => {
    write('token', 'one\n');
    const connection = await open({ kubeconfig: kubeconfig({ tokenFile: 'token', token: 'not this' }) });
    await get(connection);
    write('token', 'two\n');
    await get(connection);
    expect(tokens()).toEqual(['Bearer one', 'Bearer two']);
    expect(api.connections).toBe(1);
  });

  it('reads a token again that was refused, and asks once more', async () => {
    const file = kubeconfig({ token: 'one' });
    api.answer = (asked, response) => {
      const isGood = asked.headers.authorization === 'Bearer two';
      if (!isGood) kubeconfig({ token: 'two' });
      if (isGood) json(response, 200, {});
      else refuse(response, 401, 'Unauthorized');
    };
    expect(await get(await open({ kubeconfig: file }))).toBe(200);
    expect(tokens()).toEqual(['Bearer one', 'Bearer two']);
  });

  it('asks twice, not more, where a token stays refused, and goes on when there is a good one', async () => {
    const connection = await open({ kubeconfig: kubeconfig({ token: 'one' }) });
    api.answer = (asked, response) =>
      asked.headers.authorization === 'Bearer two' ? json(response, 200, {}) : refuse(response, 401, 'no');
    expect(await get(connection)).toBe(401);
    expect(api.asked).toHaveLength(2);
    kubeconfig({ token: 'two' });
    expect(await get(connection)).toBe(200);
  });

  it('goes on with what it has read while files are gone or broken', async () => {
    write('token', 'one');
    const connection = await open({ kubeconfig: kubeconfig({ tokenFile: 'token' }) });
    rmSync(join(directory, 'token'));
    expect(await get(connection)).toBe(200);
    write('token', 'two');
    write('kubeconfig', '{');
    expect(await get(connection)).toBe(200);
    expect(tokens()).toEqual(['Bearer one', 'Bearer one']);
  });

  it('uses a rotated client certificate in a new connection', async () => {
    const put = ({ cert, key }: Identity) => {
      write('key', key);
      write('cert', cert);
    };
    put(clients[0] ?? server);
    const connection = await open({
      kubeconfig: kubeconfig({ 'client-certificate': 'cert', 'client-key': 'key' }),
    });
    await get(connection);
    await get(connection);
    put(clients[1] ?? server);
    await get(connection);
    expect(api.asked.map(({ client }) => client)).toEqual(['first', 'first', 'second']);
    expect(api.connections).toBe(2);
  });

  it('goes on with both while only one of certificate and key is rotated', async () => {
    const [first = server, second = server] = clients;
    write('key', first.key);
    write('cert', first.cert);
    const connection = await open({
      kubeconfig: kubeconfig({ 'client-certificate': 'cert', 'client-key': 'key' }),
    });
    write('cert', second.cert);
    expect(await get(connection)).toBe(200);
    write('key', second.key);
    expect(await get(connection)).toBe(200);
    expect(api.asked.map(({ client }) => client)).toEqual(['first', 'second']);
  });

  it('takes data before a file, as kubectl does', async () => {
    const [first = server] = clients;
    const user = {
      'client-certificate': 'missing',
      'client-certificate-data': data(first.cert),
      'client-key': 'missing',
      'client-key-data': data(first.key),
    };
    const connection = await open({
      kubeconfig: kubeconfig(user, { 'certificate-authority': 'missing' }),
    });
    expect(await get(connection)).toBe(200);
    expect(api.asked[0]?.client).toBe('first');
  });

  it('trusts only the authority it is told, and another from when the file says so', async () => {
    write('ca', other.ca);
    const cluster = { 'certificate-authority-data': undefined, 'certificate-authority': 'ca' };
    const connection = await open({ kubeconfig: kubeconfig({ token: 'secret' }, cluster) });
    expect(await problemOf(connection)).toContain('certificate in certificate chain');
    expect(api.asked).toEqual([]);
    write('ca', other.ca + authority.ca);
    expect(await get(connection)).toBe(200);
    write('ca', other.ca);
    expect(await problemOf(connection)).toContain('certificate in certificate chain');
  });

  it('wants the name of the server in its certificate, or tls-server-name', async () => {
    const named = authority.issue({ name: 'api', names: 'DNS:api.example' });
    await using away = await StandIn.start(named);
    const of = async (more: object) => open({ kubeconfig: kubeconfig({}, { server: away.url, ...more }) });
    expect(await problemOf(await of({}))).toMatch(/does not match certificate's altnames/);
    expect(await get(await of({ 'tls-server-name': 'api.example' }))).toBe(200);
    expect(await problemOf(await of({ 'tls-server-name': 'www.example' }))).toMatch(/altnames/);
  });

  it('verifies nothing with insecure-skip-tls-verify', async () => {
    const cluster = { 'certificate-authority-data': undefined, 'insecure-skip-tls-verify': true };
    expect(await get(await open({ kubeconfig: kubeconfig({}, cluster) }))).toBe(200);
  });

  it('goes to the server it is told to instead of that of the file', async () => {
    const file = kubeconfig({}, { server: 'https://127.0.0.1:1' });
    const connection = await open({ kubeconfig: file, server: api.url });
    expect(await get(connection)).toBe(200);
    expect(connection.server).toBe(api.url);
  });
});

describe('ApiCredentials in a cluster', () => {
  it('reads the service account and the environment, and the token again', async () => {
    write('ca.crt', authority.ca);
    write('token', 'one');
    const { hostname, port } = new URL(api.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const connection = await open({ env, serviceAccountDirectory: directory });
    await get(connection);
    write('token', 'two');
    await get(connection);
    expect(tokens()).toEqual(['Bearer one', 'Bearer two']);
  });

  it.each([
    { host: '10.96.0.1', port: '6443', server: 'https://10.96.0.1:6443' },
    { host: 'fd00::1', port: '6443', server: 'https://[fd00::1]:6443' },
    { host: '10.96.0.1', port: undefined, server: 'https://10.96.0.1' },
  ])('knows $server by the environment', async ({ host, port, server }) => {
    write('ca.crt', authority.ca);
    write('token', 'one');
    const env = { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port };
    const connection = await open({ env, serviceAccountDirectory: directory });
    expect(connection.server).toBe(server);
    const told = await open({ env, serviceAccountDirectory: directory, server: api.url });
    expect(told.server).toBe(api.url);
  });
});
