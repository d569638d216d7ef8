import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { configVerb, printedConfig } from '../../src/cli/config.ts';
import { parseConfigText } from '../../src/cli/config-document.ts';
import { type GivenOptions, resolveConfig, settingOptions } from '../../src/cli/settings.ts';
import { type Config, parseConfig } from '../../src/config.ts';
import { CliHarness } from './harness.ts';

const INPUTS = join(import.meta.dirname, '..', 'kube-proxy', 'inputs');
const FILES = ['kubeadm.yaml', 'kubespray.yaml'].map((name) => join(INPUTS, name));

function optionsOf(argv: readonly string[]): Command {
  const command = new Command('config').exitOverride().argument('<action>');
  for (const option of [...configVerb.options, ...settingOptions()]) command.addOption(option);
  return command.parse(argv, { from: 'user' });
}

/** What `svcplane config …` prints. */
function print(action: string, ...argv: string[]): Promise<string> {
  const given = optionsOf([action, ...argv]).opts<GivenOptions>();
  return printedConfig({ readText: (path) => readFile(path, 'utf8') }, given, action);
}

function load(name: string, text: string, argv: readonly string[] = []): Config {
  return resolveConfig(optionsOf(['-', ...argv]).opts<GivenOptions>(), parseConfigText(text, name)).config;
}

describe('config convert', () => {
  it.each([
    { argv: [] },
    {
      argv: [
        '--ipvs-scheduler=sh',
        '--nodeport-addresses=primary',
        '-v=5',
        '--master=https://192.0.2.1:6443',
      ],
    },
  ])('what it prints means the same as what it was given, with flags $argv', async ({ argv }) => {
    for (const file of FILES) {
      const converted = await print('convert', '-f', file, ...argv);
      expect(load('converted', converted)).toEqual(load(file, readFileSync(file, 'utf8'), argv));
    }
  });

  it('prints what differs from the defaults, after what there is to know', async () => {
    expect(
      await print('convert', '--ipvs-scheduler=lc', '--oom-score-adj=-999', '--guard-min-deletes=3'),
    ).toBe(
      [
        '# note: kube-proxy --oom-score-adj: without effect: whoever starts svcplane sets it: OOMScoreAdjust of systemd',
        'apiVersion: svcplane.io/v1alpha1',
        'kind: SvcplaneConfiguration',
        'scheduler: lc',
        'guard: { minDeletes: 3 }',
        '',
      ].join('\n'),
    );
  });

  it('finds the file in the ConfigMap of kubeadm', async () => {
    using cli = new CliHarness();
    const [file = ''] = FILES;
    const configMap = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      data: {
        'kubeconfig.conf': 'apiVersion: v1\nkind: Config\n',
        'config.conf': readFileSync(file, 'utf8'),
      },
    };
    const path = cli.file('configmap.yaml', JSON.stringify(configMap));
    expect(await print('convert', '-f', path)).toBe(await print('convert', '-f', file));
    const empty = cli.file('empty.yaml', JSON.stringify({ ...configMap, data: {} }));
    await expect(print('convert', '-f', empty)).rejects.toThrow(
      'this ConfigMap has no KubeProxyConfiguration',
    );
  });

  it('refuses another action, and more than one file', async () => {
    await expect(print('change')).rejects.toThrow('config change is none of convert, show');
    await expect(print('convert', '-f', 'a', '-f', 'b')).rejects.toThrow('config convert takes one file');
  });
});

describe('config show', () => {
  it('prints every key, as it is in force', async () => {
    const shown = await print('show', '--scheduler', 'lc', '--healthz-bind-address', '127.0.0.1');
    expect(load('shown', shown)).toEqual(
      parseConfig({ scheduler: 'lc', healthzBindAddress: '127.0.0.1:10256' }, 'test'),
    );
    for (const key of Object.keys(parseConfig({}, 'test')))
      expect(shown).toContain(`\n${key}:`.slice(key === 'apiVersion' ? 1 : 0));
  });
});
