import { describe, expect, it } from 'vitest';
import { parseConfigText } from '../src/cli/config-document.ts';
import { resolveConfig } from '../src/cli/settings.ts';

function withPools(...lines: readonly string[]) {
  const text = ['loadBalancer:', '  pools:', ...lines.map((line) => `    ${line}`)].join('\n');
  return () => resolveConfig({}, parseConfigText(text, 'config.yaml')).config.loadBalancer;
}

describe('loadBalancer.pools', () => {
  it('are CIDRs, ranges and addresses of both families, with the defaults of a careful owner', () => {
    expect(
      withPools(
        '- { name: main, addresses: [10.10.0.0/26, "fd00:10::/120", 10.11.0.5-10.11.0.9, 10.12.0.1] }',
      )(),
    ).toEqual({
      class: 'svcplane.io/load-balancer',
      default: false,
      shareAcrossNamespaces: false,
      leaseNamespace: 'kube-system',
      leaseDurationSeconds: 15,
      pools: [
        {
          name: 'main',
          addresses: [
            {
              text: '10.10.0.0/26',
              family: 'IPv4',
              first: '10.10.0.0',
              last: '10.10.0.63',
              prefixLength: 26,
            },
            {
              text: 'fd00:10::/120',
              family: 'IPv6',
              first: 'fd00:10::',
              last: 'fd00:10::ff',
              prefixLength: 120,
            },
            {
              text: '10.11.0.5-10.11.0.9',
              family: 'IPv4',
              first: '10.11.0.5',
              last: '10.11.0.9',
              prefixLength: null,
            },
            { text: '10.12.0.1', family: 'IPv4', first: '10.12.0.1', last: '10.12.0.1', prefixLength: null },
          ],
          networkAndBroadcast: false,
          automatic: true,
          namespaces: [],
          serviceSelector: { matchLabels: {}, matchExpressions: [] },
        },
      ],
    });
  });

  it('that overlap are named, both with their lines', () => {
    expect(
      withPools(
        '- name: a',
        '  addresses: [10.10.0.0/26]',
        '- name: b',
        '  addresses:',
        '    - 10.9.0.0/24',
        '    - 10.10.0.60-10.10.0.70',
      ),
    ).toThrow(
      'Cannot use config.yaml:4: loadBalancer.pools.0.addresses.0 10.10.0.0/26 of pool a overlaps 10.10.0.60-10.10.0.70 of pool b; ' +
        'config.yaml:8: loadBalancer.pools.1.addresses.1 10.10.0.60-10.10.0.70 of pool b overlaps 10.10.0.0/26 of pool a',
    );
  });

  it.each([
    [
      '- { name: a, addresses: [10.10.0.0/26, 10.10.0.1] }',
      'config.yaml:3: loadBalancer.pools.0.addresses.0 10.10.0.0/26 of pool a overlaps 10.10.0.1 of pool a',
    ],
    ['- { name: a, addresses: [10.10.0.5/26] }', '"10.10.0.5/26" is not a CIDR without host bits'],
    ['- { name: a, addresses: [10.10.0.9-10.10.0.5] }', '"10.10.0.9-10.10.0.5" is not'],
    ['- { name: a, addresses: ["10.10.0.1-fd00::1"] }', 'is not a CIDR'],
    ['- { name: a, addresses: [127.0.0.0/8] }', '127.0.0.0/8 has loopback'],
    ['- { name: a, addresses: [] }', 'must have an address'],
    ['- { name: A_B, addresses: [10.10.0.0/26] }', 'loadBalancer.pools.0.name must be lower-case'],
    ['- { name: a, addresses: [10.10.0.0/26], autoAssign: true }', 'autoAssign is not a known key'],
  ])('%s is refused', (line, message) => {
    expect(withPools(line)).toThrow(message);
  });

  it('with one name are refused', () => {
    expect(
      withPools('- { name: a, addresses: [10.10.0.0/26] }', '- { name: a, addresses: [10.11.0.0/26] }'),
    ).toThrow('config.yaml:4: loadBalancer.pools.1.name "a" is the name of another pool, too');
  });
});
