import fc from 'fast-check';
import type { NftablesOptions } from '../../../src/dataplane/nftables/project.ts';
import { familyOf } from '../../../src/model/address.ts';
import type { Cidr } from '../../../src/model/cidr.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import type { VirtualServer } from '../../../src/model/virtual-server.ts';
import { desiredOf } from '../../derive.ts';
import { objectsCase } from '../../properties/arbitrary-objects.ts';
import { cidrs, OPTIONS } from './build.ts';

/** What odd objects of a cluster mean, with pods and ranges that overlap each other and the node. */
export const desiredStates: fc.Arbitrary<DesiredState> = fc
  .record({
    objects: objectsCase.map(({ objects }) => objects.map((object) => ({ ...object }))),
    serviceCIDRs: ranges('10.96.0.0/16', '10.96.0.0/24', '10.97.0.1/32', '0.0.0.0/0', 'fd00:10:96::/112'),
    cluster: ranges('10.244.0.0/16', '10.0.0.0/8', '10.244.1.0/24', 'fd00:10:244::/48', '::/0'),
    sources: ranges('10.0.0.0/8', '192.0.2.0/24', '192.0.2.128/25', '0.0.0.0/0', '2001:db8::/32', '::/0'),
    node: ranges('10.244.1.0/24', 'fd00:10:244:1::/64'),
  })
  .map(({ objects, serviceCIDRs, cluster, node, sources }) => {
    const desired = desiredOf(objects);
    return {
      ...desired,
      virtualServers: new Map(
        [...desired.virtualServers].map(([key, server]) => [key, withSources(server, cidrs(...sources))]),
      ),
      serviceCIDRs: cidrs(...serviceCIDRs),
      podRanges: { cluster: cidrs(...cluster), node: cidrs(...node) },
    };
  });

/** Other source ranges where there may be some, for the pools of objects have few. */
function withSources(server: VirtualServer, sources: readonly Cidr[]): VirtualServer {
  if (server.exposure !== 'LoadBalancer' || sources.length === 0) return server;
  return { ...server, sourceRanges: sources.filter(({ family }) => family === familyOf(server.address)) };
}

function ranges(...texts: readonly string[]): fc.Arbitrary<string[]> {
  return fc.subarray([...texts]);
}

/** Every way to tell pods, and settings that change rules. */
export const nftablesOptions: fc.Arbitrary<NftablesOptions> = fc.record({
  table: fc.constant(OPTIONS.table),
  masqueradeAll: fc.boolean(),
  masqueradeBit: fc.constantFrom(27, 31, 0),
  firewallMarkBase: fc.constantFrom(0x53000000, 0xff000000),
  detectLocal: fc.constantFrom(
    'clusterCIDR',
    'clusterCIDR',
    'nodeCIDR',
    'interfacePrefix:veth',
    'bridge:cni0',
  ),
  excludeCIDRs: fc.constantFrom([], [], cidrs('10.97.0.0/16')),
  keepSourceCIDRs: fc.constantFrom([], [], cidrs('203.0.113.0/24')),
});
