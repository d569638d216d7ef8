import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { kubeProxyOptions } from '../../src/cli/kube-proxy-options.ts';
import { SETTINGS } from '../../src/cli/setting-table.ts';
import {
  type GivenOptions,
  type ResolvedConfig,
  resolveConfig,
  settingOptions,
} from '../../src/cli/settings.ts';
import { FIELDS } from '../../src/kube-proxy/fields.ts';
import { FLAGS, nameOfFlag } from '../../src/kube-proxy/flags.ts';
import { formatCidr } from '../../src/model/cidr.ts';

/** What a verb that takes both kinds of flags makes of a command line. */
function resolve(...argv: string[]): ResolvedConfig {
  const command = new Command().exitOverride();
  for (const option of [...kubeProxyOptions(), ...settingOptions()]) command.addOption(option);
  command.parse(argv, { from: 'user' });
  return resolveConfig(command.opts<GivenOptions>(), undefined);
}

/** Names of the flags and fields that were named as without effect. */
const silent = ({ notes }: ResolvedConfig) =>
  notes.map((note) => /^kube-proxy (\S+): without effect: ./.exec(note)?.[1] ?? note);

describe('command lines of installers', () => {
  it("k3s's and RKE2's are taken", () => {
    const resolved = resolve(
      '--cluster-cidr=10.42.0.0/16',
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-close-wait=0s',
      '--conntrack-tcp-timeout-established=0s',
      '--healthz-bind-address=127.0.0.1',
      '--hostname-override=server-0',
      '--kubeconfig=/var/lib/rancher/k3s/agent/kubeproxy.kubeconfig',
      '--proxy-mode=ipvs',
      '--ipvs-scheduler=lc',
      '--ipvs-strict-arp',
      '--masquerade-all=true',
    );
    expect(resolved.config).toMatchObject({
      nodeName: 'server-0',
      kubeconfig: '/var/lib/rancher/k3s/agent/kubeproxy.kubeconfig',
      healthzBindAddress: '127.0.0.1:10256',
      scheduler: 'lc',
      strictARP: true,
      masqueradeAll: true,
    });
    expect(resolved.config.clusterCIDRs.map(formatCidr)).toEqual(['10.42.0.0/16']);
    expect(silent(resolved)).toEqual([
      '--conntrack-max-per-core',
      '--conntrack-tcp-timeout-established',
      '--conntrack-tcp-timeout-close-wait',
    ]);
  });

  it("kops's are taken", () => {
    const resolved = resolve(
      '--cluster-cidr=100.96.0.0/11',
      '--conntrack-max-per-core=131072',
      '--hostname-override=i-0123',
      '--kubeconfig=/var/lib/kube-proxy/kubeconfig',
      '--master=https://127.0.0.1',
      '--oom-score-adj=-998',
      '--v=2',
      '--proxy-mode=ipvs',
      '--ipvs-exclude-cidrs=192.0.2.0/24,198.51.100.0/24',
      '--feature-gates=A=true,B=false',
    );
    expect(resolved.config).toMatchObject({ nodeName: 'i-0123', apiServer: 'https://127.0.0.1' });
    expect(resolved.config.excludeCIDRs.map(formatCidr)).toEqual(['192.0.2.0/24', '198.51.100.0/24']);
    expect(silent(resolved)).toEqual([
      '--oom-score-adj',
      '--conntrack-max-per-core',
      '--feature-gates',
      '--v',
    ]);
  });
});

describe('flags', () => {
  it('that are of svcplane, too, are among its own', () => {
    const own = FLAGS.filter(({ effect }) => effect.kind === 'own').map(nameOfFlag);
    const ours = settingOptions().map(({ long }) => long);
    expect(own.filter((name) => !ours.includes(name))).toEqual([]);
    expect(kubeProxyOptions().filter(({ long }) => ours.includes(long))).toEqual([]);
  });

  it('that are fields or keys name ones that exist', () => {
    const paths = FIELDS.map(({ path }) => path);
    const keys = SETTINGS.map(({ key }) => key);
    const lost = FLAGS.filter(
      ({ effect }) =>
        (effect.kind === 'field' && !paths.includes(effect.path)) ||
        (effect.kind === 'key' && !keys.includes(effect.key)),
    );
    expect(lost).toEqual([]);
  });

  const named = FLAGS.filter(({ effect }) => effect.kind === 'none');
  it.each(named)('$flags is named as without effect', (flag) => {
    const name = nameOfFlag(flag);
    expect(silent(resolve(`${name}=1`))).toEqual([name]);
  });

  it.each([
    ['-v=5', 'debug'],
    ['--v=4', 'debug'],
    ['-v', 'debug'],
  ])('verbosity %s is log.level %s', (flag, level) => {
    expect(resolve(...(flag === '-v' ? ['-v', '6'] : [flag])).config.log.level).toBe(level);
  });

  it.each([
    ['--ipvs-strict-arp=False', false],
    ['--ipvs-strict-arp=1', true],
    ['--ipvs-strict-arp', true],
  ])('%s is strictARP %s', (flag, strictArp) => {
    expect(resolve(flag).config.strictARP).toBe(strictArp);
  });

  it('beside those of svcplane that mean the same, the latter count', () => {
    expect(resolve('--ipvs-scheduler=wrr', '--scheduler', 'lc').config.scheduler).toBe('lc');
  });

  it('with a value of another type are refused by name', () => {
    expect(() => resolve('--ipvs-tcp-timeout=5', '--ipvs-strict-arp=maybe')).toThrow(
      'Cannot use the command line and environment: --ipvs-strict-arp is "maybe", expected true or false; ' +
        '--ipvs-tcp-timeout is "5", expected a duration such as 1h30m or 15s',
    );
  });
});
