import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { node, service, slice } from '../objects.ts';
import { A, B, type CliHarness, loadedCli } from './harness.ts';

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  ({ cli, manifests } = loadedCli());
});
afterEach(() => cli[Symbol.dispose]());

describe('verify', () => {
  it('classifies drift, and does not count what is foreign', async () => {
    await cli.run('apply', '-f', manifests);
    expect(await cli.run('verify', '-f', manifests)).toMatchObject({
      exit: 0,
      out: 'Verify: 0 missing, 0 altered, 0 stale, 0 foreign.\n',
    });
    const other = cli.file('other.json', [
      service({ spec: { sessionAffinity: 'ClientIP' } }),
      slice({ endpoints: [A, { address: '10.244.1.99' }] }),
      node(),
    ]);
    const { exit, out } = await cli.run('verify', '-f', other);
    expect(exit).toBe(2);
    expect(out).toMatch(/^missing TCP 10.96.0.50:80 -> 10.244.1.99:8080/m);
    expect(out).toMatch(/^altered TCP 10.96.0.50:80 {2}.*10800/m);
    expect(out).toMatch(/^stale {3}TCP 10.96.0.50:80 -> 10.244.2.30:8080/m);
    expect(out).toContain('Verify: 2 missing, 1 altered, 1 stale, 0 foreign.');
  });
});

describe('cleanup', () => {
  it('says what it can not reach, and that it is not done', async () => {
    const reason = "programs of an earlier svcplane are pinned and can't be reached: EPERM";
    cli.socketRefusal = { reason, isPinned: true };
    expect(await cli.run('cleanup')).toMatchObject({
      exit: 2,
      err: expect.stringContaining(`failed: socket load balancer: ${reason}\n`),
    });
    cli.socketRefusal = { reason, isPinned: false };
    expect(await cli.run('cleanup')).toMatchObject({ exit: 0, err: expect.not.stringContaining('failed') });
  });

  it('shows, then removes, exactly what is ours', async () => {
    const eth0 = cli.links.foreignLink('eth0', null);
    expect(eth0).toBeGreaterThan(0);
    await cli.run('apply', '-f', manifests);
    const dry = await cli.run('cleanup', '--dry-run');
    expect(dry).toMatchObject({
      exit: 2,
      out: expect.stringContaining('Plan: 0 to add, 0 to change, 4 to delete.'),
    });
    expect((await cli.run('cleanup')).out).toContain('Applied: 0 added, 0 changed, 4 deleted.');
    expect((await cli.run('snapshot', '--observed', '-o', 'ipvsadm-save')).out).toBe('');
    expect((await cli.links.links()).map(({ name }) => name)).toEqual(['lo', 'eth0']);
    expect(await cli.run('cleanup', '--dry-run')).toMatchObject({ exit: 0 });
  });
});

describe('diff', () => {
  it('of a snapshot with itself is empty; of two, exits 2 and names the rows', async () => {
    const a = cli.file('a.json', (await cli.run('snapshot', '--desired', '-f', manifests, '-o', 'json')).out);
    const other = cli.file('other.json', [service(), slice({ endpoints: [A] }), node()]);
    const b = cli.file('b.json', (await cli.run('snapshot', '--desired', '-f', other, '-o', 'json')).out);
    expect((await cli.run('diff', a, a)).exit).toBe(0);
    const { exit, out } = await cli.run('diff', a, b);
    expect(exit).toBe(2);
    expect(out).toContain('10.244.2.30:8080');
  });
});

describe('explain', () => {
  it('says which endpoints were left out and why', async () => {
    const objects = [
      service({
        spec: {
          type: 'NodePort',
          externalTrafficPolicy: 'Local',
          ports: [{ name: 'http', port: 80, nodePort: 30080 }],
        },
      }),
      slice({ endpoints: [A, B, { address: '10.244.1.21', node: 'n0', ready: false }] }),
      node(),
    ];
    const file = cli.file('explain.json', objects);
    const { exit, out } = await cli.run('explain', 'svc/front', '-n', 'web', '-f', file);
    expect(exit).toBe(0);
    expect(out.split('\n')).toEqual([
      'Service web/front on node n0',
      '',
      'port http 80/TCP',
      '  ClusterIP TCP 10.96.0.50:80 rr, policy Cluster, -> 10.244.1.20:8080 10.244.2.30:8080',
      '  NodePort TCP 172.16.0.5:30080 rr, policy Local, -> 10.244.1.20:8080, inside clients -> 10.244.1.20:8080 10.244.2.30:8080',
      '  IPv4 endpoints (no topology hints in force):',
      '    10.244.1.20:8080 local: ready, used for policy Cluster and policy Local  (EndpointSlice web/front-1)',
      '    10.244.2.30:8080 n1: ready, used for policy Cluster  (EndpointSlice web/front-1)',
      '    10.244.1.21:8080 local: not ready, left out: it is not ready  (EndpointSlice web/front-1)',
      '',
    ]);
  });

  it('says why a Service has nothing on the node', async () => {
    const file = cli.file('headless.json', [service({ spec: { clusterIP: 'None' } })]);
    const { out } = await cli.run('explain', 'svc/front', '-n', 'web', '-f', file);
    expect(out).toContain('rejected: Service web/front: headless (clusterIP None)');
  });
});
