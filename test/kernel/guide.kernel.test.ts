import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseScenario } from '../scenarios/scenario-file.ts';
import { createNamespace, describeWithIpvs, type NetworkNamespace, run } from './probe.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const NETWORK = join(ROOT, 'scripts/demo-files/network.sh');
const GUIDE = join(ROOT, 'examples/guide');
const FOREIGN = ['-A -t 192.0.2.9:443 -s wlc', '-a -t 192.0.2.9:443 -r 192.0.2.10:443 -g -w 3'];

/** What the scenario of the same manifests expects, here of a real kernel. */
const EXPECTED = parseScenario(readFileSync(join(ROOT, 'test/scenarios/cases/guide/whole.txt'), 'utf8'))
  .steps[0]?.expected;

function whyNoServers(): string | undefined {
  const { error } = spawnSync('busybox', ['true']);
  return error && `cannot run busybox, which serves HTTP: ${error.message}`;
}

const skipReason = whyNoServers();
const servers = skipReason === undefined ? {} : { skip: true, meta: { skipReason } };

describeWithIpvs('guide', () => {
  describe('on a node with pods', servers, () => {
    const state = mkdtempSync(join(tmpdir(), 'svcplane-guide-'));
    let node: NetworkNamespace;

    /** The command line on the node. */
    const svcplane = (...args: readonly string[]): string =>
      node.run([join(ROOT, 'scripts/svcplane'), ...args, '--node', 'n0', '--state-directory', state]);
    const ipvsadm = (): readonly string[] => node.run(['ipvsadm', '-Sn']).trim().split('\n').sort();
    /** Who answers `count` requests, sorted. */
    const answers = (from: string, url: string, count: number): readonly string[] => {
      const namespace = from === 'node' ? node.name : from;
      const urls = Array.from({ length: count }, () => url);
      const curl = ['curl', '--silent', '--show-error', '--max-time', '20', ...urls];
      return run(['ip', 'netns', 'exec', namespace, ...curl])
        .trim()
        .split('\n')
        .sort();
    };

    beforeAll(() => {
      node = createNamespace('n0');
      run([NETWORK, 'up', node.name]);
      node.run(['ipvsadm', '--restore'], `${FOREIGN.join('\n')}\n`);
      svcplane('apply', '-f', GUIDE);
    });

    afterAll(() => {
      run([NETWORK, 'down']);
      node[Symbol.dispose]();
    });

    it('apply gives the virtual servers that the scenario expects, beside the foreign one', () => {
      expect(ipvsadm()).toEqual(EXPECTED?.filter((line) => /^-[Aa] /.test(line)).sort());
    });

    it('apply binds the addresses that the scenario expects, and no address of the node', () => {
      const shown = node.run(['ip', '-brief', '-4', 'address', 'show', 'svcplane0']);
      const bound = [...shown.matchAll(/(\S+)\/32/g)].map(([, address]) => `address ${address}`);
      expect(bound.sort()).toEqual(EXPECTED?.filter((line) => line.startsWith('address ')).sort());
    });

    it.each([
      {
        name: '1 ClusterIP',
        url: 'http://10.96.0.10/',
        from: ['node', 'client'],
        who: ['web-1', 'web-2', 'web-3'],
      },
      { name: '2 targetPort by number', url: 'http://10.96.0.20/', from: ['client'], who: ['myapp-1'] },
      {
        name: '2 targetPort by name',
        url: 'http://10.96.0.21/',
        from: ['client'],
        who: ['nginx-1', 'nginx-2'],
      },
      {
        name: '3 NodePort',
        url: 'http://172.30.0.30:30080/',
        from: ['outside', 'client', 'node'],
        who: ['shop-1', 'shop-2'],
      },
      {
        name: '4 externalIP of the node',
        url: 'http://172.30.0.30/',
        from: ['outside', 'client'],
        who: ['shop-1', 'shop-2'],
      },
      {
        name: '5 LoadBalancer',
        url: 'http://10.10.0.5/',
        from: ['outside', 'client', 'node'],
        who: ['shop-1', 'shop-2'],
      },
      {
        name: '6 server outside',
        url: 'http://10.96.0.60/',
        from: ['node', 'client'],
        who: ['outside-server'],
      },
      { name: '9 kubernetes', url: 'http://10.96.0.1:443/', from: ['node', 'client'], who: ['api-server'] },
      { name: '10 other namespace', url: 'http://10.96.0.100/', from: ['client'], who: ['api-1'] },
    ])('case $name answers from $from', ({ url, from, who }) => {
      for (const client of from) expect(answers(client, url, who.length), client).toEqual(who);
    });

    it('case 8 affinity: a client stays with its pod', () => {
      for (const client of ['outside', 'client']) {
        const who = answers(client, 'http://10.96.0.80/', 4);
        expect(who[0]).toMatch(/^shop-[12]$/);
        expect(new Set(who).size).toBe(1);
      }
    });

    it('a second apply changes nothing', () => {
      expect(svcplane('apply', '-f', GUIDE)).toBe('Applied: 0 added, 0 changed, 0 deleted.\n');
    });

    it('one endpoint replaced is one real server added and one drained, then deleted', async () => {
      const manifests = join(state, 'manifests');
      cpSync(GUIDE, manifests, { recursive: true });
      cpSync(join(ROOT, 'examples/endpoint-replaced'), manifests, { recursive: true });
      const apply = () =>
        svcplane('apply', '-f', manifests)
          .trim()
          .split('\n')
          .map((line) => line.split('  ')[0]);
      // Each has a connection that is in TIME_WAIT.
      expect(answers('client', 'http://10.96.0.10/', 3)).toEqual(['web-1', 'web-2', 'web-3']);
      expect(apply()).toEqual([
        '+ addElement nft hairpin4 10.244.1.23 . 10.244.1.23',
        '+ addRealServer TCP 10.96.0.10:80 -> 10.244.1.23:8080',
        '~ drainRealServer TCP 10.96.0.10:80 -> 10.244.1.21:8080',
        '- deleteElement nft hairpin4 10.244.1.21 . 10.244.1.21',
        'Applied: 2 added, 1 changed, 1 deleted.',
      ]);
      await sleep(3000);
      expect(apply()).toEqual([
        '- deleteRealServer TCP 10.96.0.10:80 -> 10.244.1.21:8080',
        'Applied: 0 added, 0 changed, 1 deleted.',
      ]);
      expect(answers('client', 'http://10.96.0.10/', 3)).toEqual(['web-1', 'web-3', 'web-4']);
    });

    it('cleanup removes all that is ours, gives the sysctls their values back, and leaves the foreign one', () => {
      svcplane('cleanup');
      expect(ipvsadm()).toEqual(FOREIGN);
      expect(node.run(['ip', '-brief', 'link'])).not.toContain('svcplane0');
      expect(node.run(['sysctl', '-n', 'net.ipv4.ip_forward', 'net.ipv4.vs.conntrack'])).toBe('0\n0\n');
    });
  });
});
