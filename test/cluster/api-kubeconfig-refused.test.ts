import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openApiConnection } from '../../src/cluster/api-connection-client.ts';
import { type Authority, createAuthority, type Identity } from './authority.ts';
import { StandIn } from './stand-in.ts';

let authority: Authority;
let identities: readonly Identity[];
let directory: string;
let file: string;
beforeAll(() => {
  authority = createAuthority('ca');
  identities = ['first', 'second'].map((name) => authority.issue({ name }));
});
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-kubeconfig-'));
  file = join(directory, 'kubeconfig');
});
afterEach(() => rmSync(directory, { recursive: true }));

const data = (text: string) => Buffer.from(text).toString('base64');

function config(user: object, cluster: object = {}, context: object = {}): string {
  return JSON.stringify({
    clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', ...context } }],
    'current-context': 'x',
  });
}

/** What is said about the kubeconfig, or undefined if it can be used. */
async function problemOf(text: string | null): Promise<string | undefined> {
  if (text !== null) writeFileSync(file, text);
  try {
    using _ = await openApiConnection({ kubeconfig: file, env: {} });
    return undefined;
  } catch (error) {
    expect(error).toMatchObject({ name: 'ApiConfigurationError' });
    return error instanceof Error ? error.message : String(error);
  }
}

/** An executable as exec plugins are. */
function plugin(script: string): string {
  const path = join(directory, 'plugin');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

const exec = (command: string) => ({ exec: { apiVersion: 'client.authentication.k8s.io/v1', command } });

describe('a kubeconfig that can not be used', () => {
  it.each<{ name: string; text: () => string | null; says: string }>([
    { name: 'is missing', text: () => null, says: 'ENOENT' },
    { name: 'is no YAML', text: () => 'a: [1\nb: {', says: 'broken YAML in line 2' },
    { name: 'is empty', text: () => '', says: 'the input is empty' },
    { name: 'is a text', text: () => 'hello', says: 'current-context (none) is not in it' },
    {
      name: 'names no context',
      text: () => '{"current-context":"y"}',
      says: 'current-context y is not in it',
    },
    {
      name: 'names no cluster',
      text: () => config({}, {}, { cluster: 'd' }),
      says: 'cluster d is not in it',
    },
    { name: 'names no user', text: () => config({}, {}, { user: 'v' }), says: 'user v is not in it' },
    { name: 'names no server', text: () => config({}, { server: '' }), says: 'server is missing' },
    {
      name: 'has a server without a scheme',
      text: () => config({}, { server: '10.0.0.1:6443' }),
      says: 'server "10.0.0.1:6443" is no https://HOST:PORT',
    },
    {
      name: 'has a server of another scheme',
      text: () => config({}, { server: 'ftp://10.0.0.1' }),
      says: 'server "ftp://10.0.0.1" is no https://HOST:PORT',
    },
    {
      name: 'has no authority in its data',
      text: () => config({}, { 'certificate-authority-data': '%%%' }),
      says: 'certificate-authority-data: no PEM certificate',
    },
    {
      name: 'has an authority that is not base64',
      text: () => config({}, { 'certificate-authority-data': authority.ca }),
      says: 'certificate-authority-data: no PEM certificate',
    },
    {
      name: 'names no authority file',
      text: () => config({}, { 'certificate-authority': 'ca' }),
      says: 'ENOENT',
    },
    {
      name: 'names a file that is no authority',
      text: () => config({}, { 'certificate-authority': 'kubeconfig' }),
      says: 'kubeconfig: no PEM certificate',
    },
    { name: 'names no token file', text: () => config({ tokenFile: 'token' }), says: 'ENOENT' },
    {
      name: 'has no certificate in its data',
      text: () =>
        config({ 'client-certificate-data': 'x', 'client-key-data': data(identities[0]?.key ?? '') }),
      says: 'client-certificate-data: no PEM certificate',
    },
    {
      name: 'has no key in its data',
      text: () =>
        config({ 'client-certificate-data': data(identities[0]?.cert ?? ''), 'client-key-data': 'x' }),
      says: 'client-key-data: no PEM key',
    },
    {
      name: "has another certificate's key",
      text: () =>
        config({
          'client-certificate-data': data(identities[0]?.cert ?? ''),
          'client-key-data': data(identities[1]?.key ?? ''),
        }),
      says: 'key values mismatch',
    },
    {
      name: 'names a program that is not there',
      text: () => config(exec('/no/such/program')),
      says: 'exec /no/such/program: spawn /no/such/program ENOENT',
    },
    {
      name: 'names a program that fails',
      text: () => config(exec(plugin('echo "log in first" >&2; echo "then again" >&2; exit 1'))),
      says: 'log in first',
    },
    {
      name: 'names a program that prints no JSON',
      text: () => config(exec(plugin('echo hello'))),
      says: 'JSON',
    },
    {
      name: 'names a program that prints no credential',
      text: () => config(exec(plugin('echo "{}"'))),
      says: 'plugin',
    },
    { name: 'names no program', text: () => config({ exec: {} }), says: 'No command' },
  ])('is refused in one line if it $name', async ({ text, says }) => {
    const problem = await problemOf(text());
    expect(problem?.startsWith(`Cannot use kubeconfig ${file}: `)).toBe(true);
    expect(problem).toContain(says);
    expect(problem).not.toContain('\n');
  });

  it('is none because there is no user', async () => {
    expect(await problemOf(config({}, {}, { user: '' }))).toBeUndefined();
  });

  it('is none because a program is asked for the token', async () => {
    await using api = await StandIn.start();
    const command = plugin(`echo '{"status":{"token":"of a program"}}'`);
    writeFileSync(file, config(exec(command), { server: api.url }));
    using connection = await openApiConnection({ kubeconfig: file, env: {} });
    await connection.request('GET', '/version', { signal: new AbortController().signal });
    expect(api.asked[0]?.headers.authorization).toBe('Bearer of a program');
  });
});

describe('a service account that can not be used', () => {
  it('is refused in one line that says what else there is', async () => {
    const open = openApiConnection({
      env: { KUBERNETES_SERVICE_HOST: '10.96.0.1' },
      serviceAccountDirectory: directory,
    });
    await expect(open).rejects.toThrow(
      new RegExp(`^Cannot use the service account in ${directory}: ENOENT[^\n]*$`),
    );
  });

  it('is not looked for where nothing says where the API server is', async () => {
    await expect(openApiConnection({ env: {} })).rejects.toThrow(
      /^Cannot tell where the API server is: [^\n]*$/,
    );
  });
});
