import type { NftablesOptions } from '../../../src/dataplane/nftables/project.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { desiredOf } from '../../derive.ts';
import { node, service, slice } from '../../objects.ts';
import { cidrs } from './build.ts';

const POLICY_LOCAL = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', ipFamilies: ['IPv4', 'IPv6'] };

/** Both families; of everything that makes an element, one. */
export const GOLDEN_DESIRED: DesiredState = desiredOf(
  [
    {
      ...node({ addresses: ['172.16.0.5', '2001:db8::5'] }),
      spec: { podCIDRs: ['10.244.1.0/24', 'fd00:244:1::/64'] },
    },
    service({
      spec: { ...POLICY_LOCAL, clusterIP: '10.96.0.50', clusterIPs: ['10.96.0.50', 'fd00:96::50'] },
      status: { loadBalancer: { ingress: [{ ip: '203.0.113.9' }, { ip: '2001:db8:9::9' }] } },
    }),
    slice({
      endpoints: [
        { address: '10.244.1.20', node: 'n0' },
        { address: '10.244.2.20', node: 'n1' },
      ],
    }),
    slice({
      name: 'front-6',
      addressType: 'IPv6',
      endpoints: [
        { address: 'fd00:244:1::20', node: 'n0' },
        { address: 'fd00:244:2::20', node: 'n1' },
      ],
    }),
    service({
      name: 'shop',
      spec: {
        clusterIP: '10.96.0.60',
        clusterIPs: ['10.96.0.60', 'fd00:96::60'],
        ipFamilies: ['IPv4', 'IPv6'],
        externalIPs: ['198.51.100.7', '2001:db8:7::7'],
        type: 'LoadBalancer',
        loadBalancerSourceRanges: ['192.0.2.0/24', '192.0.2.128/25', '2001:db8:1::/48'],
        ports: [
          { name: 'http', port: 80, protocol: 'TCP' },
          { name: 'dns', port: 53, protocol: 'UDP' },
        ],
      },
      status: { loadBalancer: { ingress: [{ ip: '203.0.113.10' }, { ip: '2001:db8:9::10' }] } },
    }),
  ],
  {
    serviceCIDRs: ['10.96.0.0/16', 'fd00:96::/112'],
    clusterCIDRs: ['10.244.0.0/16', 'fd00:244::/32'],
  },
);

/** What changes rules; the golden of each name is a ruleset of test/golden/nftables. */
export const GOLDENS: readonly {
  readonly name: string;
  readonly options?: Partial<NftablesOptions>;
  readonly podRanges?: DesiredState['podRanges'];
}[] = [
  { name: 'default' },
  { name: 'masquerade-all', options: { masqueradeAll: true } },
  { name: 'node-cidr', options: { detectLocal: 'nodeCIDR' } },
  { name: 'interface-prefix', options: { detectLocal: 'interfacePrefix:veth' } },
  { name: 'bridge', options: { detectLocal: 'bridge:cni0' } },
  { name: 'keep-source', options: { keepSourceCIDRs: cidrs('203.0.113.0/28', '203.0.113.8/32') } },
  { name: 'unknown-pods', podRanges: { cluster: [], node: [] } },
];
