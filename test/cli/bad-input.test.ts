import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { service, slice } from '../objects.ts';
import { A, type CliHarness, loadedCli } from './harness.ts';

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  ({ cli, manifests } = loadedCli());
});
afterEach(() => cli[Symbol.dispose]());

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

describe('an error while another one is on its way', () => {
  it('is told with it, both in one line, the first one first', async () => {
    const both = new SuppressedError(new Error('cannot close B'), new Error('cannot open A'));
    vi.spyOn(cli.links, 'links').mockRejectedValue(both);
    expect(await cli.run('verify', '-f', manifests)).toMatchObject({
      exit: 1,
      err: 'svcplane: cannot open A; then cannot close B\n',
    });
  });
});
