import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openApiConnection } from '../../src/cluster/api-connection-client.ts';
import { ExecPlugin } from '../../src/cluster/api-exec-client.ts';
import { followKind, ScriptedApi } from './scripted-api.ts';

const PLENTY_MS = 10_000;
const WAIT = { timeout: 10_000, interval: 5 };

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'svcplane-exec-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const at = (name: string) => join(directory, name);

/** An executable as exec plugins are, which counts how often it is asked. */
function plugin(script: string): { readonly command: string; readonly asked: () => number } {
  writeFileSync(at('plugin'), `#!/bin/sh\necho asked >>${at('asked')}\n${script}\n`);
  chmodSync(at('plugin'), 0o755);
  const asked = () =>
    existsSync(at('asked')) ? readFileSync(at('asked'), 'utf8').split('\n').length - 1 : 0;
  return { command: at('plugin'), asked };
}

const answer = (status: object) => `echo '${JSON.stringify({ status })}'`;

/** The process of the script itself, so that no other is left when it is killed. */
const HANG = `echo $$ >$0.pid; exec sleep 60`;
const hangs = () => existsSync(`/proc/${readFileSync(at('plugin.pid'), 'utf8').trim()}`);

describe('ExecPlugin.credential()', () => {
  it('gives up a program that hangs, and kills it', async () => {
    const { command } = plugin(HANG);
    await expect(new ExecPlugin(500).credential({ command })).rejects.toThrow('no answer within 0.5 s');
    await vi.waitFor(() => expect(hangs()).toBe(false), WAIT);
  });

  it('does not wait for what a program has started and that holds its output open', async () => {
    const { command } = plugin(`sleep 5 & exec sleep 60`);
    const startMs = performance.now();
    await expect(new ExecPlugin(300).credential({ command })).rejects.toThrow('no answer');
    expect(performance.now() - startMs).toBeLessThan(4000);
  });

  it('kills it when disposed of', async () => {
    const { command } = plugin(HANG);
    const told = new ExecPlugin(PLENTY_MS);
    const refused = expect(told.credential({ command })).rejects.toThrow('SIGKILL');
    await vi.waitFor(() => expect(hangs()).toBe(true), WAIT);
    told[Symbol.dispose]();
    await refused;
  });

  it('asks once for all who ask meanwhile, and keeps the answer', async () => {
    const { command, asked } = plugin(answer({ token: 'one' }));
    const told = new ExecPlugin(PLENTY_MS);
    const credentials = await Promise.all([1, 2, 3].map(() => told.credential({ command })));
    expect(credentials.map(({ token }) => token)).toEqual(['one', 'one', 'one']);
    await told.credential({ command });
    expect(asked()).toBe(1);
    told.forget();
    await told.credential({ command });
    expect(asked()).toBe(2);
  });

  it.each([
    { name: 'asks again what has expired', inMs: -1000, times: 2 },
    { name: 'keeps what has not', inMs: 3_600_000, times: 1 },
  ])('$name', async ({ inMs, times }) => {
    const expirationTimestamp = new Date(Date.now() + inMs).toISOString();
    const { command, asked } = plugin(answer({ token: 'one', expirationTimestamp }));
    const told = new ExecPlugin(PLENTY_MS);
    await told.credential({ command });
    await told.credential({ command });
    expect(asked()).toBe(times);
  });

  it('passes arguments, variables and what client-go tells plugins', async () => {
    const { command } = plugin(
      `echo "$1 $COLOUR $KUBERNETES_EXEC_INFO" >${at('told')}; ${answer({ token: 'x' })}`,
    );
    const env = [{ name: 'COLOUR', value: 'blue' }];
    const apiVersion = 'client.authentication.k8s.io/v1';
    await new ExecPlugin(PLENTY_MS).credential({ apiVersion, command, args: ['first'], env });
    expect(readFileSync(at('told'), 'utf8').trim()).toBe(
      `first blue {"apiVersion":"${apiVersion}","kind":"ExecCredential","spec":{"interactive":false}}`,
    );
  });

  it('takes a certificate with its key for a credential', async () => {
    const { command } = plugin(answer({ clientCertificateData: 'c', clientKeyData: 'k' }));
    expect(await new ExecPlugin(PLENTY_MS).credential({ command })).toEqual({
      token: null,
      cert: 'c',
      key: 'k',
      expiresAtMs: null,
    });
  });
});

describe('a request whose credential plugin hangs', () => {
  const kubeconfig = (server: string, command: string) => {
    writeFileSync(
      at('kubeconfig'),
      JSON.stringify({
        clusters: [{ name: 'c', cluster: { server } }],
        users: [{ name: 'u', user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command } } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    );
    return at('kubeconfig');
  };
  /** Good once, for the connection is opened with it. */
  const hangsLater = () =>
    plugin(`if [ -e ${at('hang')} ]; then ${HANG}; fi
${answer({ token: 'one', expirationTimestamp: '2001-01-01T00:00:00Z' })}`);

  it('fails with an error that names the program, is tried again more and more slowly, and works at last', async () => {
    await using api = await ScriptedApi.start();
    const { command, asked } = hangsLater();
    const file = kubeconfig(api.server.url, command);
    using connection = await openApiConnection({ kubeconfig: file, env: {}, execTimeoutMs: 300 });
    writeFileSync(at('hang'), '');
    await using followed = followKind(connection);
    await vi.waitFor(() => expect(followed.delays.slice(0, 2)).toEqual([1, 2]), WAIT);
    expect(followed.states.at(-1)).toMatchObject({
      state: 'failing',
      error: { message: `Cannot use kubeconfig ${file}: exec ${command}: no answer within 0.3 s` },
    });
    expect(api.server.asked).toEqual([]);
    expect(asked()).toBeGreaterThanOrEqual(3);
    rmSync(at('hang'));
    await vi.waitFor(() => expect(followed.taken()).toBe(1), WAIT);
    expect(api.server.asked[0]?.headers.authorization).toBe('Bearer one');
  });

  it('ends at once when nobody waits for it any more', async () => {
    await using api = await ScriptedApi.start();
    const { command } = hangsLater();
    const options = { kubeconfig: kubeconfig(api.server.url, command), env: {} };
    using connection = await openApiConnection(options);
    writeFileSync(at('hang'), '');
    const over = new AbortController();
    const asked = connection.request('GET', '/version', { signal: over.signal });
    await vi.waitFor(() => expect(hangs()).toBe(true), WAIT);
    over.abort();
    await expect(asked).rejects.toThrow(over.signal.reason);
  });
});
