import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfigText } from '../../src/cli/config-document.ts';
import { resolveConfig } from '../../src/cli/settings.ts';
import { ConfigError } from '../../src/config.ts';
import { service, slice } from '../objects.ts';
import { A, B, type CliHarness, loadedCli } from './harness.ts';

let cli: CliHarness;
let manifests: string;
beforeEach(() => {
  ({ cli, manifests } = loadedCli());
});
afterEach(() => cli[Symbol.dispose]());

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

describe('resolveConfig()', () => {
  const file = (text: string) => parseConfigText(text, 'f.yaml');

  it('names everything that is wrong at once: of the file with its line, and of flags', () => {
    const text = 'schedular: rr\nserviceCIDRs:\n- 10.0.0.0/8\n- x\nguard: { maxDeleteShare: 2 }\n';
    expect(() => resolveConfig({ interface: 'a b' }, file(text))).toThrow(
      new ConfigError(
        'Cannot use f.yaml:1: schedular is not a known key: did you mean scheduler?; ' +
          'f.yaml:4: serviceCIDRs.1 "x" is not a CIDR, such as 10.96.0.0/16; ' +
          'f.yaml:5: guard.maxDeleteShare is 2, expected at most 1; the command line and environment: ' +
          'interface must be a link name of 1 to 15 characters without blanks, / or :',
      ),
    );
  });

  it('lays a key of a group over the file, not the group', () => {
    const { config } = resolveConfig({ 'guard.minDeletes': '3' }, file('guard: { holdSeconds: 7 }'));
    expect(config.guard).toEqual({ maxDeleteShare: 0.5, minDeletes: 3, holdSeconds: 7 });
  });

  it("takes booleans in kube-proxy's spelling, and shares", () => {
    const given = { masqueradeAll: 'True', events: 'false', 'guard.maxDeleteShare': '0.25' };
    const { config } = resolveConfig(given, undefined);
    expect(config).toMatchObject({ masqueradeAll: true, events: false, guard: { maxDeleteShare: 0.25 } });
  });

  it("kube-proxy's file gives way to kube-proxy's flags, and those to ours", () => {
    const kubeProxy = file(
      'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nipvs: { scheduler: lc }\n',
    );
    expect(resolveConfig({}, kubeProxy).config.scheduler).toBe('lc');
    const flag = { '--ipvs-scheduler': 'sh' };
    const { config, notes } = resolveConfig(flag, kubeProxy);
    expect(config.scheduler).toBe('sh');
    expect(notes).toEqual([
      'kube-proxy --ipvs-scheduler: beats --config here, where kube-proxy would ignore it',
    ]);
    expect(resolveConfig({ ...flag, scheduler: 'wlc' }, kubeProxy).config.scheduler).toBe('wlc');
  });

  it("kube-proxy's flags beat a file of ours", () => {
    const { config } = resolveConfig({ '--ipvs-scheduler': 'sh' }, file('scheduler: lc'));
    expect(config.scheduler).toBe('sh');
  });

  it('says where in a file of kube-proxy a value is that is of no use', () => {
    const text = 'kind: KubeProxyConfiguration\nipvs:\n  scheduler: fast\n  tcpTimeout: 5\nmode: 7\n';
    expect(() => resolveConfig({ '--ipvs-exclude-cidrs': 'x' }, file(text))).toThrow(
      new ConfigError(
        'Cannot use f.yaml:3: ipvs.scheduler "fast" is not an IPVS scheduler; ' +
          'f.yaml:4: ipvs.tcpTimeout is 5, expected a duration such as 1h30m or 15s; f.yaml:5: mode is 7, expected text; ' +
          'the command line and environment: --ipvs-exclude-cidrs "x" is not a CIDR, such as 10.96.0.0/16',
      ),
    );
  });

  it.each(['--cleanup', '--init-only'])('refuses %s, which is not to serve', (flag) => {
    expect(() => resolveConfig({ [flag]: true }, undefined)).toThrow(`Cannot run with ${flag}: `);
    expect(resolveConfig({ [flag]: 'false' }, undefined).notes).toEqual([]);
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
