import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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

describe('--help', () => {
  it('of each verb tells its exit codes', async () => {
    for (const verb of ['plan', 'apply', 'snapshot', 'diff', 'verify', 'explain', 'doctor', 'cleanup']) {
      const { exit, out } = await cli.run(verb, '--help');
      expect({ verb, exit }).toEqual({ verb, exit: 0 });
      expect(out).toContain('Exit codes: 0 ');
    }
  });
});
