import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parseIpAddress } from '../../src/model/address.ts';
import { askDaemon } from '../../src/status/local-client.ts';
import { freePort } from '../free-port.ts';
import { node, service, slice } from '../objects.ts';
import type { CliHarness } from './harness.ts';
import { A, B, QUIET, RunSetup, SERVICE } from './run-setup.ts';

let setup: RunSetup;
let cli: CliHarness;
let stop: AbortController;
let manifests: string;
beforeEach(() => {
  setup = new RunSetup();
  ({ cli, stop, manifests } = setup);
});
afterEach(() => setup[Symbol.asyncDispose]());

const run = (...flags: readonly string[]) => setup.run(...flags);
const said = (text: string) => setup.said(text);
const writes = () => [cli.ipvs.writes, cli.links.changes.length, cli.ledger.writes];

describe('run', () => {
  it('syncs, follows the files and ends with 0, leaving all as it is', async () => {
    const output = run();
    await said('synced: 8 added, 0 changed, 0 deleted (start)\n');
    cli.file('all.json', [SERVICE, slice({ endpoints: [A] })]);
    await said('synced: 0 added, 0 changed, 1 deleted (files changed)\n');
    const before = writes();
    stop.abort();
    expect(await output).toMatchObject({ exit: 0, out: '' });
    expect(writes()).toEqual(before);
  });

  it('ends what would end with it when no sync runs any more, and says what does not end', async () => {
    let isEnding = false;
    cli.endAnnouncing = async () => {
      isEnding = true;
      throw new Error('keepalived, process 7, does not end');
    };
    const output = run();
    await said('(start)');
    expect(isEnding).toBe(false);
    stop.abort();
    expect(await output).toMatchObject({ exit: 0 });
    expect(isEnding).toBe(true);
    expect(cli.err).toContain('failed: keepalived, process 7, does not end\n');
  });

  it('keeps what it has while a file cannot be read, and says so once for each change', async () => {
    void run();
    await said('(start)');
    const before = writes();
    cli.file('all.json', '{ "kind": ');
    await said('what was read before stays in force\n');
    expect(cli.err.match(/failed: .*all\.json.*; what was read before stays in force\n/g)).toHaveLength(1);
    rmSync(manifests);
    await said(`failed: Cannot read ${manifests}: no such file; what was read before stays in force\n`);
    cli.tellLinks();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(writes()).toEqual(before);
    cli.file('all.json', [SERVICE, slice({ endpoints: [B] })]);
    await said('synced: 0 added, 0 changed, 2 deleted (files changed)\n');
  });

  it('makes a new address of the host a NodePort, and unmakes a lost one, without writing when idle', async () => {
    cli.file('all.json', [SERVICE, slice({ endpoints: [A] }), node()]);
    void run();
    // The Node object's own address does not count where the host's are known.
    await said('synced: 9 added, 0 changed, 0 deleted (start)\n');
    const link = cli.links.foreignLink('eth0', null);
    cli.links.foreignAddress(link, parseIpAddress('192.0.2.10') ?? expect.unreachable(), 24);
    cli.tellLinks();
    await said('synced: 3 added, 0 changed, 0 deleted (address notice)\n');
    const before = writes();
    cli.tellLinks();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(writes()).toEqual(before);
    await cli.links.change([{ change: 'deleteLink', linkIndex: link }]);
    cli.tellLinks();
    await said('synced: 0 added, 0 changed, 2 deleted (address notice)\n');
  });

  it('says what failed once, and tries again', async () => {
    let refusals = 0;
    cli.links.faults = {
      before: (change) => {
        if (!change.startsWith('addDummy')) return undefined;
        refusals += 1;
        return refusals < 6 ? 'EOPNOTSUPP' : undefined;
      },
    };
    void run();
    await said('failed: Cannot add link svcplane0: EOPNOTSUPP');
    await said('(retry)');
    expect(cli.err.match(/failed: Cannot add link/g)).toHaveLength(1);
  });

  it('gives memory back once, when nothing is left to do for the first time', async () => {
    cli.file('all.json', [SERVICE, slice({ endpoints: [A] }), node()]);
    let isRefused = true;
    cli.links.faults = {
      before: (change) => (isRefused && change.startsWith('addDummy') ? 'EOPNOTSUPP' : undefined),
    };
    void run();
    await said('failed: Cannot add link svcplane0: EOPNOTSUPP');
    expect(cli.collections).toBe(0);
    isRefused = false;
    await said('(retry)');
    await vi.waitFor(() => expect(cli.collections).toBe(1), 10_000);
    const link = cli.links.foreignLink('eth0', null);
    cli.links.foreignAddress(link, parseIpAddress('192.0.2.10') ?? expect.unreachable(), 24);
    cli.tellLinks();
    await said('(address notice)');
    expect(cli.collections).toBe(1);
  });

  it('answers at health check node ports', async () => {
    const port = await freePort();
    const balanced = service({
      spec: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: port },
    });
    cli.file('all.json', [balanced, slice({ endpoints: [A, B] })]);
    void run();
    const status = async () => (await fetch(`http://127.0.0.1:${port}/`)).status;
    await vi.waitFor(async () => expect(await status()).toBe(200), 10_000);
    cli.file('all.json', [balanced, slice({ endpoints: [B] })]);
    await vi.waitFor(async () => expect(await status()).toBe(503), 10_000);
    stop.abort();
    await setup.ended;
    await expect(status()).rejects.toThrow();
  });

  it('tells of itself over HTTP and at its socket, and has the guard release', async () => {
    const socket = join(cli.directory, 'svcplane.sock');
    const [health, metrics] = [await freePort(), await freePort()];
    const config = cli.file(
      'config.yaml',
      `healthzBindAddress: 127.0.0.1:${health}\nmetricsBindAddress: 127.0.0.1:${metrics}\nsocket: ${socket}\n`,
    );
    void setup.runWith('--config', config);
    await said('(start)');
    const get = async (port: number, path: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      return { status: answer.status, body: await answer.text() };
    };
    expect(await get(health, '/healthz')).toMatchObject({ status: 200 });
    expect(JSON.parse((await get(health, '/readyz')).body)).toMatchObject({ ready: true });
    const { body } = await get(metrics, '/metrics');
    expect(body).toMatch(/^svcplane_syncs_total\{kind="whole",outcome="complete"\} 1$/m);
    expect(body).toMatch(/^svcplane_virtual_servers\{ip_family="IPv4"\} 1$/m);
    expect(JSON.parse((await get(metrics, '/configz')).body)).toMatchObject({
      'svcplane.io': { socket, scheduler: 'rr' },
    });
    const ask = (method: 'GET' | 'POST', path: string) =>
      askDaemon(socket, method, path, new AbortController().signal);
    expect(await ask('GET', '/status?output=text')).toMatch(/^node {7}n0\n/);
    const [desired, observed] = await Promise.all(
      ['desired', 'observed'].map(async (state) => JSON.parse(await ask('GET', `/snapshot?state=${state}`))),
    );
    expect(observed.virtualServers.map(({ address }: { address: string }) => address)).toEqual(
      desired.virtualServers.map(({ address }: { address: string }) => address),
    );
    expect(JSON.parse(await ask('GET', '/plan'))).toMatchObject({ version: 1, make: [], break: [] });
    expect(await ask('POST', '/guard/release')).toBe('guard: nothing is held back\n');
    stop.abort();
    await setup.ended;
    await expect(get(health, '/healthz')).rejects.toThrow();
  });

  it('follows its configuration, and says what has to wait for a restart', async () => {
    void run();
    await said('(start)');
    const scheduler = () => [...cli.ipvs.table()].map(({ config }) => config.scheduler);
    expect(scheduler()).toEqual(['rr']);
    cli.file('config.yaml', `${QUIET}scheduler: lc\ninterface: other0\nmasqueradeAll: true\n`);
    await said('configuration: interface counts after a restart');
    await said('configuration: in force: scheduler, masqueradeAll, audit.intervalSeconds\n');
    await said('(configuration changed)\n');
    expect(scheduler()).toEqual(['lc']);
    expect(await cli.links.link('other0')).toBeUndefined();
    cli.file('config.yaml', `${QUIET}scheduler: fastest\n`);
    await said('scheduler "fastest" is not an IPVS scheduler; what was read before stays in force\n');
    expect(scheduler()).toEqual(['lc']);
  });

  it('takes the flags of kube-proxy, and says which have no effect', async () => {
    void run('--ipvs-scheduler', 'wlc', '--iptables-sync-period', '30s');
    await said('note: kube-proxy --iptables-sync-period: without effect');
    await said('(start)');
    expect([...cli.ipvs.table()].map(({ config }) => config.scheduler)).toEqual(['wlc']);
  });

  const NOWHERE = ['--healthz-bind-address=', '--metrics-bind-address=', '--socket='];
  const inputOf = (name: string) => join(import.meta.dirname, '../kube-proxy/inputs', name);

  it.each([
    { name: 'kubeadm', args: ['--config', inputOf('kubeadm.yaml')], scheduler: 'lc' },
    { name: 'kubespray', args: ['--config', inputOf('kubespray.yaml')], scheduler: 'wrr' },
    {
      name: 'k3s',
      args: ['--cluster-cidr=10.42.0.0/16', '--conntrack-max-per-core=0', '--hostname-override=n0']
        .concat(['--kubeconfig=/var/lib/rancher/k3s/agent/kubeproxy.kubeconfig', '--proxy-mode=ipvs'])
        .concat('--ipvs-scheduler=wlc'),
      scheduler: 'wlc',
    },
  ])('serves with what $name gives kube-proxy, unchanged', async ({ args, scheduler }) => {
    void setup.runWith(...args, ...NOWHERE);
    await said('(start)');
    expect(cli.err).toContain(': without effect: ');
    expect(cli.ipvs.table().map(({ config }) => config.scheduler)).toEqual([scheduler]);
  });

  it('names fields that KubeProxyConfiguration does not have, and serves', async () => {
    const config = cli.file(
      'kube-proxy.yaml',
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nipvs: { schedular: lc }\n',
    );
    void setup.runWith('--config', config, ...NOWHERE);
    await said(`note: ${config}:3: ipvs.schedular is no field of KubeProxyConfiguration, and without effect`);
    await said('(start)');
  });

  it('is an error where it can never have worked', async () => {
    const missing = await cli.run('run', '-f', 'nowhere.yaml');
    expect(missing).toMatchObject({ exit: 1, err: 'svcplane: Cannot read nowhere.yaml: no such file\n' });
    expect(await cli.run('run', '-f', '-')).toMatchObject({ exit: 1 });
    expect(await cli.run('run')).toMatchObject({
      exit: 1,
      err: expect.stringContaining('Nothing to read'),
    });
    cli.ipvs.dump = () => Promise.reject(new Error('Cannot read the virtual servers of IPVS: EPERM'));
    expect(await run()).toMatchObject({
      exit: 1,
      err: expect.stringMatching(/^sockets: .*\nsvcplane: Cannot read the virtual servers of IPVS: EPERM\n$/),
    });
  });

  it('only tells of drift where audit.repair is false', async () => {
    const config = cli.file('config.yaml', `${QUIET}audit: { intervalSeconds: 1, repair: false }`);
    void setup.runWith('--config', config);
    await said('(start)');
    const link = await cli.links.link('svcplane0');
    await cli.links.change([{ change: 'deleteLink', linkIndex: link?.index ?? expect.unreachable() }]);
    const before = writes();
    await vi.waitFor(
      () => expect(cli.err).toMatch(/drift: 2 missing, .* left as it is \(audit.repair is false\)\n/),
      5000,
    );
    expect(writes()).toEqual(before);
  });
});
