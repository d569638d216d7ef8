import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { node, service, slice } from '../objects.ts';
import { CliHarness } from './harness.ts';

const A = { address: '10.244.1.20', node: 'n0' };
const B = { address: '10.244.2.30', node: 'n1' };

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  cli = new CliHarness();
  manifests = cli.file('all.json', [service(), slice({ endpoints: [A, B] }), node()]);
});
afterEach(() => cli[Symbol.dispose]());

describe('plan', () => {
  it('shows one line per operation with its reason, then the sum, and exits 2', async () => {
    const { exit, out, err } = await cli.run('plan', '-f', manifests);
    expect(out.split('\n')).toEqual([
      '+ addVirtualServer TCP 10.96.0.50:80  scheduler rr  (Service web/front port http)',
      '+ addRealServer TCP 10.96.0.50:80 -> 10.244.1.20:8080  weight 1  (Service web/front port http, EndpointSlice web/front-1)',
      '+ addRealServer TCP 10.96.0.50:80 -> 10.244.2.30:8080  weight 1  (Service web/front port http, EndpointSlice web/front-1)',
      '+ addLink link svcplane0  type dummy, up  (addresses of Services are bound to it)',
      '+ addAddress address 10.96.0.50  dev svcplane0  (Service web/front)',
      'Plan: 5 to add, 0 to change, 0 to delete.',
      '',
    ]);
    expect({ exit, err }).toEqual({ exit: 2, err: '' });
    expect(cli.ipvs.writes + cli.links.changes.length + cli.ledger.writes).toBe(0);
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
    expect((await cli.run('plan', '-f', manifests, '--observed', 'empty')).out).toContain('Plan: 5 to add');
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
    expect(applied.out).toContain('Applied: 5 added, 0 changed, 0 deleted.');
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
    const writes = [cli.ipvs.writes, cli.links.changes.length, cli.ledger.writes];
    expect(await cli.run('apply', '-f', manifests)).toMatchObject({
      exit: 0,
      out: 'Applied: 0 added, 0 changed, 0 deleted.\n',
    });
    expect([cli.ipvs.writes, cli.links.changes.length, cli.ledger.writes]).toEqual(writes);
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
    expect(out).toMatch(/Applied: 3 added, 0 changed, 0 deleted, \d failed/);
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
    const spec = { externalIPs: ['198.51.100.7'], loadBalancerSourceRanges: ['192.0.2.0/24'] };
    const file = cli.file('open.json', [service({ spec })]);
    const { err } = await cli.run('plan', '-f', file, '--observed', 'empty');
    expect(err).toMatch(
      /^warning: externalIPs are served wherever they point \(Services: 1; CVE-2020-8554\)/m,
    );
    expect(err).toMatch(
      /^warning: loadBalancerSourceRanges are not enforced by this version \(Services: 1\)/m,
    );
    expect(
      (await cli.run('plan', '-f', file, '--observed', 'empty', '--external-ips-policy', 'deny')).err,
    ).not.toMatch(/^warning: externalIPs/m);
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
    expect(out).toContain('Verify: 1 missing, 1 altered, 1 stale, 0 foreign.');
  });
});

describe('cleanup', () => {
  it('shows, then removes, exactly what is ours', async () => {
    const eth0 = cli.links.foreignLink('eth0', null);
    expect(eth0).toBeGreaterThan(0);
    await cli.run('apply', '-f', manifests);
    const dry = await cli.run('cleanup', '--dry-run');
    expect(dry).toMatchObject({
      exit: 2,
      out: expect.stringContaining('Plan: 0 to add, 0 to change, 3 to delete.'),
    });
    expect((await cli.run('cleanup')).out).toContain('Applied: 0 added, 0 changed, 3 deleted.');
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
      '  NodePort TCP 172.16.0.5:30080 rr, policy Local, -> 10.244.1.20:8080',
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

describe('settings', () => {
  it('flag beats environment beats file beats default', async () => {
    const config = cli.file('config.yaml', 'scheduler: wrr\n');
    const scheduler = async (...argv: string[]) => {
      const { out } = await cli.run('snapshot', '--desired', '-f', manifests, '-o', 'ipvsadm-save', ...argv);
      return /-s (\w+)/.exec(out)?.[1];
    };
    expect(await scheduler()).toBe('rr');
    expect(await scheduler('--config', config)).toBe('wrr');
    cli.env = { SVCPLANE_SCHEDULER: 'lc' };
    expect(await scheduler('--config', config)).toBe('lc');
    expect(await scheduler('--config', config, '--scheduler', 'sh')).toBe('sh');
  });

  it('takes manifests from the configuration file, and the node name from NODE_NAME', async () => {
    const config = cli.file('config.yaml', `manifests: [${manifests}]\n`);
    const { out } = await cli.run('snapshot', '--config', config, '-o', 'json', '--node', 'n7');
    expect(JSON.parse(out)).toMatchObject({ node: 'n7', virtualServers: [{ address: '10.96.0.50' }] });
    cli.env = { NODE_NAME: 'n8' };
    expect(JSON.parse((await cli.run('snapshot', '--config', config, '-o', 'json')).out).node).toBe('n8');
  });

  it('the host name counts in lower case, as for the kubelet', async () => {
    cli.hostname = 'N0';
    const local = cli.file('local.json', [
      service({ spec: { internalTrafficPolicy: 'Local' } }),
      slice({ endpoints: [A, B] }),
    ]);
    const { out } = await cli.run('snapshot', '-f', local, '-o', 'json');
    expect(JSON.parse(out)).toMatchObject({
      node: 'n0',
      virtualServers: [{ realServers: [{ address: A.address }] }],
    });
  });

  it('lists come repeated or with commas', async () => {
    const nodePort = cli.file('np.json', [service({ spec: { ports: [{ port: 80, nodePort: 30080 }] } })]);
    const { out } = await cli.run(
      ...['snapshot', '-f', nodePort, '-o', 'ipvsadm-save', '--node-address', '10.0.0.1,10.0.0.2'],
      ...['--node-address', '10.0.0.3'],
    );
    expect(out.match(/-A -t 10\.0\.0\.\d:30080/g)).toHaveLength(3);
  });
});

describe('bad input is one line that names what and where, and exit 1:', () => {
  const rows: { name: string; argv: (cli: CliHarness) => string[]; error: RegExp }[] = [
    { name: 'an unknown flag', argv: () => ['plan', '--frobnicate'], error: /unknown option '--frobnicate'/ },
    { name: 'an unknown verb', argv: () => ['frobnicate'], error: /unknown command 'frobnicate'/ },
    {
      name: 'an unknown format',
      argv: () => ['snapshot', '-f', manifests, '-o', 'xml'],
      error: /--output xml is none of text, json/,
    },
    { name: 'nothing to read', argv: () => ['plan'], error: /Nothing to read: name files with -f PATH/ },
    {
      name: 'a missing file',
      argv: () => ['plan', '-f', '/nonexistent.yaml'],
      error: /nonexistent\.yaml.*ENOENT|nonexistent\.yaml: .*/,
    },
    {
      name: 'broken YAML, with its line',
      argv: (harness) => [
        'plan',
        '-f',
        harness.file('bad.yaml', 'apiVersion: v1\nkind: [Service\nmetadata: {}\n'),
      ],
      error: /bad\.yaml:[23]/,
    },
    {
      name: 'broken JSON',
      argv: (harness) => ['plan', '-f', harness.file('bad.json', '{"kind": "List",\n "items": [}')],
      error: /bad\.json:2/,
    },
    {
      name: 'a broken configuration file, with its line',
      argv: (harness) => [
        'plan',
        '-f',
        manifests,
        '--config',
        harness.file('c.yaml', 'scheduler: rr\nguard: {\n'),
      ],
      error: /Cannot parse .*c\.yaml:[23]/,
    },
    {
      name: 'an unknown key and a bad value in the configuration, both named',
      argv: (harness) => [
        'plan',
        '-f',
        manifests,
        '--config',
        harness.file('c.yaml', 'shceduler: rr\ninterface: kube-ipvs0\n'),
      ],
      error: /c\.yaml.*interface.*shceduler|c\.yaml.*shceduler.*interface/,
    },
    {
      name: 'a bad flag value',
      argv: () => ['plan', '-f', manifests, '--service-cidrs', '10.96.0.0'],
      error: /serviceCIDRs.*"10.96.0.0" is not a CIDR/,
    },
    {
      name: 'a bad scheduler',
      argv: () => ['plan', '-f', manifests, '--scheduler', 'fastest'],
      error: /"fastest" is not an IPVS scheduler/,
    },
    {
      name: 'a plan and manifests',
      argv: () => ['apply', 'plan.json', '-f', manifests],
      error: /both the plan plan.json and manifests/,
    },
    {
      name: 'an explanation of nothing known',
      argv: () => ['explain', 'svc/none', '-f', manifests],
      error: /Cannot explain default\/none/,
    },
    {
      name: 'an explanation of no Service',
      argv: () => ['explain', 'pod/none', '-f', manifests],
      error: /write svc\/NAME/,
    },
    {
      name: 'both kinds of snapshot',
      argv: () => ['snapshot', '--desired', '--observed'],
      error: /one of --desired and --observed/,
    },
    {
      name: 'a snapshot file that is none',
      argv: (harness) => ['diff', harness.file('a.json', '{"version": 1}'), harness.file('b.json', '{}')],
      error: /a\.json/,
    },
  ];
  for (const { name, argv, error } of rows) {
    it(name, async () => {
      const { exit, err } = await cli.run(...argv(cli));
      expect({ exit, lines: err.trimEnd().split('\n').length }).toEqual({ exit: 1, lines: 1 });
      expect(err).toMatch(error);
      expect(cli.ipvs.writes + cli.links.changes.length).toBe(0);
    });
  }

  it('one bad object among good ones stops none of them', async () => {
    const bad = service({ name: 'bad', spec: { ports: [{ port: 0 }] } });
    const file = cli.file('mixed.json', [bad, service(), slice({ endpoints: [A] })]);
    const { exit, err, out } = await cli.run('apply', '-f', file);
    expect(exit).toBe(0);
    expect(err).toMatch(/^rejected: Service web\/bad: /m);
    expect(out).toContain('+ addVirtualServer TCP 10.96.0.50:80');
  });

  it('text from files can forge neither lines nor colours', async () => {
    const kind = '\u001b[31mX\nsvcplane: forged';
    const file = cli.file('forged.json', [
      service(),
      { apiVersion: 'v1', kind },
      service({ metadata: { name: kind } }),
    ]);
    const { err } = await cli.run('snapshot', '--desired', '-f', file, '-o', 'ipvsadm-save');
    expect(err.trimEnd().split('\n')).toHaveLength(2);
    expect(err).not.toContain('\u001b');
  });

  it('other kinds are skipped and counted', async () => {
    const file = cli.file('kinds.json', [
      service(),
      { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'a' } },
    ]);
    expect((await cli.run('plan', '-f', file)).err).toBe(
      'skipped: 1 Deployment (kinds that svcplane does not read)\n',
    );
  });
});

describe('--help', () => {
  it('of each verb tells its exit codes', async () => {
    for (const verb of ['plan', 'apply', 'snapshot', 'diff', 'verify', 'explain', 'doctor', 'cleanup']) {
      const { exit, out } = await cli.run(verb, '--help');
      expect({ verb, exit }).toEqual({ verb, exit: 0 });
      expect(out).toContain('Exit codes: 0 ');
    }
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
    }));
    const { exit, out } = await cli.run('apply', '-f', manifests);
    expect(exit).toBe(0);
    expect(out).toContain('~ adoptVirtualServer TCP 10.96.0.50:80');
    expect(cli.ipvs.writes).toBe(before);
    expect((await cli.run('plan', '-f', manifests)).exit).toBe(0);
  });
});
