import { once } from 'node:events';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type EndpointShape, service, slice } from '../objects.ts';
import { startDaemon, until } from './daemon.ts';
import { createHost, type Host, UNHURRIED } from './host.ts';
import { CommandError, describeWithIpvs, UNLESS_LEFT_OUT } from './probe.ts';

const PORT = 32000;
const SERVICE = service({
  spec: {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: PORT,
    ports: [{ name: 'http', port: 80, nodePort: 30080 }],
  },
});
/** Where it stays, the guard lets the other one go. */
const OTHER = service({ name: 'more', spec: { clusterIP: '10.96.0.51' } });
const LOCAL: EndpointShape = { address: '10.244.1.20', node: 'n0' };
const REMOTE: EndpointShape = { address: '10.244.2.30', node: 'n1' };

function putManifests(host: Host, endpoints: readonly EndpointShape[], items = [SERVICE]): string {
  const list = { kind: 'List', apiVersion: 'v1', items: [...items, slice({ endpoints })] };
  const path = join(host.directory, 'all.json');
  renameSync(host.file('.new', JSON.stringify(list)), path);
  return path;
}

function createNode(): Host {
  const host = createHost('health');
  host.run(['ip', 'link', 'add', 'eth0', 'type', 'dummy']);
  host.run(['ip', 'link', 'set', 'eth0', 'up']);
  for (const address of ['192.0.2.10/24', '198.51.100.10/24']) {
    host.run(['ip', 'address', 'add', address, 'dev', 'eth0']);
  }
  return host;
}

/** Status, headers and body, as curl gets them; "" if nobody answers. */
function ask(host: Host, address = '192.0.2.10', ...options: string[]): string {
  const url = `http://${address}:${PORT}/healthz`;
  try {
    return host.run(['curl', '-s', '-i', '--max-time', '20', ...options, url]).replaceAll('\r', '');
  } catch (error) {
    // curl exits with 7 where nobody listens, which it cannot tell in any other way.
    if (error instanceof CommandError && error.status === 7) return '';
    throw error;
  }
}

const answers = (host: Host, status: number, address?: string): Promise<void> =>
  until(() => ask(host, address).startsWith(`HTTP/1.1 ${status} `));

describeWithIpvs('health check node ports of svcplane run', () => {
  describe('answer', { ...UNHURRIED, ...UNLESS_LEFT_OUT }, () => {
    it('200 with a ready endpoint here, 503 without, on every address of both families', async () => {
      using host = createNode();
      const daemon = await startDaemon(host, putManifests(host, [LOCAL, REMOTE], [SERVICE, OTHER]));
      await answers(host, 200);
      for (const address of ['198.51.100.10', '[::1]']) expect(ask(host, address)).toMatch(/^HTTP\/1.1 200 /);
      const [head = '', body] = ask(host).split('\n\n');
      const headers = head.split('\n').filter((line) => /^(X-|Content-Type)/.test(line));
      expect(headers.sort()).toEqual([
        'Content-Type: application/json',
        'X-Content-Type-Options: nosniff',
        'X-Load-Balancing-Endpoint-Weight: 1',
      ]);
      expect(body).toBe(
        '{"service":{"namespace":"web","name":"front"},"localEndpoints":1,"serviceProxyHealthy":true}',
      );
      expect(ask(host, undefined, '--head')).toMatch(/^HTTP\/1.1 200 /);
      const leaving = { ...LOCAL, ready: false, serving: true, terminating: true };
      putManifests(host, [leaving, REMOTE], [SERVICE, OTHER]);
      await answers(host, 503);
      expect(ask(host)).toContain('"localEndpoints":0,"serviceProxyHealthy":true');
      putManifests(host, [], [OTHER]);
      await until(() => ask(host) === '');
      await daemon.stop();
    });

    it('as before while the guard holds what is gone from the API', async () => {
      using host = createNode();
      const daemon = await startDaemon(host, putManifests(host, [LOCAL]));
      await answers(host, 200);
      putManifests(host, [], []);
      await until(() => daemon.said().includes('guard: held: '));
      expect(ask(host)).toMatch(/^HTTP\/1.1 200 /);
      await daemon.stop();
    });

    it('only on the addresses of NodePorts, where those are configured', async () => {
      using host = createNode();
      const config = 'audit: { intervalSeconds: 0 }\nnodePortAddresses: [198.51.100.0/24]\n';
      const daemon = await startDaemon(host, putManifests(host, [LOCAL]), config);
      await answers(host, 200, '198.51.100.10');
      expect(ask(host, '192.0.2.10')).toBe('');
      host.run(['ip', 'address', 'add', '198.51.100.11/24', 'dev', 'eth0']);
      await answers(host, 200, '198.51.100.11');
      await daemon.stop();
    });

    it('503 while the dataplane is not what it should be, and 200 after', async () => {
      using host = createNode();
      const daemon = await startDaemon(host, putManifests(host, [LOCAL]));
      await answers(host, 200);
      // The next operation on it fails: there is no directory for the ledger any more.
      const state = join(host.directory, 'state');
      renameSync(state, `${state}.away`);
      host.file('state', '');
      putManifests(host, [LOCAL, REMOTE], [SERVICE, OTHER]);
      await answers(host, 503);
      expect(ask(host)).toContain('"localEndpoints":1,"serviceProxyHealthy":false');
      await until(() => daemon.said().includes('failed: Cannot write the ledger'));
      host.run(['rm', state]);
      renameSync(`${state}.away`, state);
      await answers(host, 200);
      await daemon.stop();
    });

    it('as soon as a port that was taken is free, which was said before', async () => {
      using host = createNode();
      const holder = host.namespace.start([
        process.execPath,
        '--eval',
        `require('node:net').createServer().listen(${PORT}, () => console.log('up'));`,
      ]);
      if (holder.stdout) await once(holder.stdout, 'data');
      const daemon = await startDaemon(host, putManifests(host, [LOCAL]));
      const failure = `failed: Cannot listen: health check node port ${PORT} (Service web/front): EADDRINUSE`;
      await until(() => daemon.said().includes(failure));
      holder.kill('SIGKILL');
      await answers(host, 200);
      const success = `listening: health check node port ${PORT} (Service web/front)\n`;
      await until(() => daemon.said().includes(success));
      expect(daemon.said().split(failure)).toHaveLength(2);
      await daemon.stop();
    });

    it('others while one client is slow, which is cut off', async () => {
      using host = createNode();
      const daemon = await startDaemon(host, putManifests(host, [LOCAL]));
      await answers(host, 200);
      const slow = host.namespace.start([
        'bash',
        '-c',
        `exec 3<>/dev/tcp/192.0.2.10/${PORT}; printf 'GET / HTTP/1.1\\r\\nHost:' >&3; cat <&3 >/dev/null; echo cut`,
      ]);
      const cut = slow.stdout && once(slow.stdout, 'data');
      expect(ask(host)).toMatch(/^HTTP\/1.1 200 /);
      expect(String((await cut)?.[0])).toBe('cut\n');
      await daemon.stop();
    });
  });
});
