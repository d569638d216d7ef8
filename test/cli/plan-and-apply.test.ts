import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { refusal } from '../fakes/socket-programs.ts';
import { FakeSocklbKernel } from '../fakes/socklb-kernel.ts';
import { node, service, slice } from '../objects.ts';
import { A, type CliHarness, loadedCli, NO_SOCKETS } from './harness.ts';

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  ({ cli, manifests } = loadedCli());
});
afterEach(() => cli[Symbol.dispose]());

describe('plan', () => {
  it('shows one line per operation with its reason, then the sum, and exits 2', async () => {
    const { exit, out, err } = await cli.run('plan', '-f', manifests);
    expect(out.split('\n')).toEqual([
      '+ addTable nft table inet svcplane  11 chains, 22 sets  (the rules that Services need)',
      '+ addElement nft cluster-ips4 10.96.0.50  (Service web/front port http)',
      '+ addElement nft hairpin4 10.244.1.20 . 10.244.1.20  (EndpointSlice web/front-1)',
      '+ addElement nft pods4 10.244.1.0/24  (clusterCIDRs or Node podCIDRs)',
      '+ addElement nft node-pods4 10.244.1.0/24  (Node podCIDRs)',
      '+ addVirtualServer TCP 10.96.0.50:80  scheduler rr  (Service web/front port http)',
      '+ addRealServer TCP 10.96.0.50:80 -> 10.244.1.20:8080  weight 1  (Service web/front port http, EndpointSlice web/front-1)',
      '+ addRealServer TCP 10.96.0.50:80 -> 10.244.2.30:8080  weight 1  (Service web/front port http, EndpointSlice web/front-1)',
      '+ addLink link svcplane0  type dummy, up  (addresses of Services are bound to it)',
      '+ addAddress address 10.96.0.50  dev svcplane0  (Service web/front)',
      'Plan: 10 to add, 0 to change, 0 to delete.',
      '',
    ]);
    expect({ exit, err }).toEqual({ exit: 2, err: '' });
    expect(cli.ipvs.writes + cli.nftables.writes + cli.links.changes.length + cli.ledger.writes).toBe(0);
  });

  it('exits 0 where nothing is to change', async () => {
    await cli.run('apply', '-f', manifests);
    const { exit, out } = await cli.run('plan', '-f', manifests);
    expect({ exit, out }).toEqual({ exit: 0, out: 'Plan: 0 to add, 0 to change, 0 to delete.\n' });
  });

  it('against a recorded kernel needs none', async () => {
    await cli.run('apply', '-f', manifests);
    const snapshot = cli.file('observed.json', (await cli.run('snapshot', '--observed', '-o', 'json')).out);
    const other = cli.file('other.json', [service(), slice({ endpoints: [A] }), node()]);
    expect((await cli.run('plan', '-f', manifests, '--observed', snapshot)).out).toMatch(
      /^Plan: 0 to add, 0 /,
    );
    expect((await cli.run('plan', '-f', other, '--observed', snapshot)).out).toMatch(
      /^- deleteRealServer TCP 10.96.0.50:80 -> 10.244.2.30:8080.*\nPlan: 0 to add, 0 to change, 1 to delete.\n$/,
    );
    expect((await cli.run('plan', '-f', manifests, '--observed', 'empty')).out).toContain('Plan: 10 to add');
  });

  it('-o json is what apply takes, once', async () => {
    const { out } = await cli.run('plan', '-f', manifests, '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      version: 1,
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      break: [],
    });
    const plan = cli.file('plan.json', out);
    const applied = await cli.run('apply', plan);
    expect(applied.out).toContain('Applied: 10 added, 0 changed, 0 deleted.');
    expect((await cli.run('plan', '-f', manifests)).exit).toBe(0);
    expect(await cli.run('apply', plan)).toMatchObject({
      exit: 1,
      err: `svcplane: Cannot apply ${plan}: the kernel has changed since it was made: plan again\n`,
    });
  });
});

describe('apply', () => {
  it('writes nothing the second time, not even the ledger', async () => {
    expect((await cli.run('apply', '-f', manifests)).exit).toBe(0);
    const writes = [cli.nftables.writes, cli.ipvs.writes, cli.links.changes.length, cli.ledger.writes];
    expect(await cli.run('apply', '-f', manifests)).toMatchObject({
      exit: 0,
      out: 'Applied: 0 added, 0 changed, 0 deleted.\n',
    });
    expect([cli.nftables.writes, cli.ipvs.writes, cli.links.changes.length, cli.ledger.writes]).toEqual(
      writes,
    );
  });

  it('makes one write for one endpoint that is gone', async () => {
    await cli.run('apply', '-f', manifests);
    const before = cli.ipvs.writes;
    const less = cli.file('less.json', [service(), slice({ endpoints: [A] }), node()]);
    expect((await cli.run('apply', '-f', less)).out).toMatch(
      /^- deleteRealServer .*\nApplied: 0 added, 0 changed, 1 deleted.\n$/,
    );
    expect(cli.ipvs.writes - before).toBe(1);
  });

  it('exits 2 and lists what the kernel refused, with the rest done', async () => {
    cli.links.hasDummy = false;
    const { exit, out, err } = await cli.run('apply', '-f', manifests);
    expect(exit).toBe(2);
    expect(err).toMatch(/^failed: Cannot add link svcplane0: EOPNOTSUPP.*dummy/m);
    expect(out).toMatch(/Applied: 8 added, 0 changed, 0 deleted, \d failed/);
  });

  it('leaves IPVS and addresses as they were where the rules were refused, and heals', async () => {
    cli.nftables.owned = true;
    const { exit, out, err } = await cli.run('apply', '-f', manifests);
    expect(exit).toBe(2);
    expect(err).toMatch(/^failed: .*nft table inet svcplane.*EPERM/m);
    expect(out).toMatch(/^Applied: 0 added, 0 changed, 0 deleted, 1 failed, 9 not attempted.$/m);
    expect([cli.ipvs.writes, cli.links.changes.length]).toEqual([0, 0]);
    cli.nftables.owned = false;
    expect((await cli.run('apply', '-f', manifests)).exit).toBe(0);
  });

  it('leaves a Service on the default where the kernel lacks its scheduler, and says so', async () => {
    cli.ipvs.missingSchedulers = new Set(['mh']);
    const annotated = service({ metadata: { annotations: { 'svcplane.io/scheduler': 'mh' } } });
    const file = cli.file('mh.json', [annotated, slice({ endpoints: [A] })]);
    const { exit, err } = await cli.run('apply', '-f', file);
    expect(err).toMatch(/rejected: Service web\/front: .*mh/);
    expect(exit).toBe(0);
    expect((await cli.run('snapshot', '--observed', '-o', 'ipvsadm-save')).out).toContain(
      '-A -t 10.96.0.50:80 -s rr\n',
    );
  });

  const brokenPlans: { name: string; text: string; error: RegExp }[] = [
    { name: 'cut off', text: '{"version": 1, "digest"', error: /Cannot read .*plan.json/ },
    {
      name: 'of another version',
      text: '{"version": 2}',
      error: /not a plan that svcplane plan -o json has written/,
    },
    {
      name: 'with an unknown operation',
      text: JSON.stringify({ version: 1, digest: '', make: [{ op: 'addEverything' }], break: [] }),
      error: /no operation is named addEverything/,
    },
    {
      name: 'with a malformed operation',
      text: JSON.stringify({ version: 1, digest: '', make: [{ op: 'addRealServer' }], break: [] }),
      error: /Cannot .*addRealServer/,
    },
  ];
  for (const { name, text, error } of brokenPlans) {
    it(`refuses a plan file ${name}, in one line`, async () => {
      const { exit, err, out } = await cli.run('apply', cli.file('plan.json', text));
      expect({ exit, out, lines: err.split('\n').length }).toEqual({ exit: 1, out: '', lines: 2 });
      expect(err).toMatch(error);
      expect(cli.ipvs.writes).toBe(0);
    });
  }
});

describe('what is served more widely than its owner may think', () => {
  it('is said on standard error', async () => {
    const spec = { externalIPs: ['198.51.100.7'] };
    const file = cli.file('open.json', [service({ spec })]);
    const { err } = await cli.run('plan', '-f', file, '--observed', 'empty');
    expect(err).toMatch(
      /^warning: externalIPs are served wherever they point \(Services: 1; CVE-2020-8554\)/m,
    );
    expect(
      (await cli.run('plan', '-f', file, '--observed', 'empty', '--external-ips-policy', 'deny')).err,
    ).not.toMatch(/^warning: externalIPs/m);
  });
});

describe('sockets that can not be balanced', () => {
  it('are noted where nobody wants more, and are no failure', async () => {
    cli.sockets = { ...NO_SOCKETS, outcome: 'lacking', reason: 'the process lacks CAP_BPF' };
    const note = 'note: sockets are left to IPVS: the process lacks CAP_BPF\n';
    expect((await cli.run('plan', '-f', manifests)).err).toContain(note);
    expect(await cli.run('apply', '-f', manifests)).toMatchObject({
      exit: 0,
      err: expect.stringContaining(note),
    });
    cli.sockets = NO_SOCKETS;
    expect((await cli.run('apply', '-f', manifests)).err).not.toContain('sockets');
  });

  it('are rejected where they are wanted, and all else is done', async () => {
    cli.socketRefusal = { reason: 'mode is on, but no bpffs', isPinned: false };
    const { exit, err } = await cli.run('apply', '-f', manifests);
    expect([exit, err]).toEqual([
      0,
      expect.stringContaining('rejected: socket load balancer: mode is on, but no bpffs\n'),
    ]);
    expect(cli.ipvs.writes).toBeGreaterThan(0);
    expect((await cli.run('plan', '-f', manifests)).exit).toBe(0);
  });

  it('are rejected where their maps can not be opened, and all else is done', async () => {
    cli.socketKernel = new FakeSocklbKernel();
    cli.socketKernel.unreadable = refusal('EACCES');
    const { exit, err } = await cli.run('apply', '-f', manifests);
    expect([exit, err]).toEqual([0, expect.stringMatching(/^rejected: socket load balancer: .*EACCES/m)]);
    expect(cli.ipvs.writes).toBeGreaterThan(0);
  });

  it('are refused where their maps can not be made, and all else is done', async () => {
    cli.socketKernel = new FakeSocklbKernel();
    cli.socketKernel.faults = () => 'EROFS';
    const { err } = await cli.run('apply', '-f', manifests);
    expect(err).toMatch(/Cannot add socket programs: EROFS: the bpffs at \/sys\/fs\/bpf is read-only/);
    expect(cli.ipvs.writes).toBeGreaterThan(0);
  });
});

describe('excluded ranges', () => {
  it('get neither a virtual server nor an address', async () => {
    const { out, err } = await cli.run(
      'plan',
      '-f',
      manifests,
      '--observed',
      'empty',
      '--exclude-cidrs',
      '10.96.0.0/16',
    );
    expect(out).toBe('Plan: 0 to add, 0 to change, 0 to delete.\n');
    expect(err).toMatch(/^rejected: Service web\/front: TCP 10.96.0.50:80: /m);
  });
});

describe('the ledger', () => {
  it('lost: what equals the wanted rows is adopted without a write to the kernel, the rest reported', async () => {
    await cli.run('apply', '-f', manifests);
    const before = cli.ipvs.writes;
    cli.ledger.update(() => ({
      virtualServers: new Map(),
      drains: new Map(),
      addresses: new Set(),
      routes: new Set(),
      links: new Set(),
      sysctls: new Map(),
      staleFlows: new Set(),
      syncDaemons: new Map(),
    }));
    const { exit, out } = await cli.run('apply', '-f', manifests);
    expect(exit).toBe(0);
    expect(out).toContain('~ adoptVirtualServer TCP 10.96.0.50:80');
    expect(cli.ipvs.writes).toBe(before);
    expect((await cli.run('plan', '-f', manifests)).exit).toBe(0);
  });
});
