import { expect } from 'vitest';
import { parseConfig } from '../../../src/config.ts';
import type { VrrpOptions } from '../../../src/dataplane/vrrp/project.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { parsePort } from '../../../src/model/port.ts';
import type { VirtualServer } from '../../../src/model/virtual-server.ts';
import { desiredWith, ip } from '../addresses/fixtures.ts';

export const DIRECTORY = '/run/svcplane/vrrp';

/** As of a configuration file with these keys of `vrrp`. */
export function options(vrrp: object = {}): VrrpOptions {
  return parseConfig({ vrrp: { mode: 'keepalived', ...vrrp } }, 'test').vrrp;
}

/** A load balancer's address, and how many endpoints it has here where its policy is Local. */
export interface Balanced {
  readonly address: string;
  readonly service?: string;
  readonly localEndpoints?: number;
}

/** A node among three with these addresses. */
export function announcing(balanced: readonly Balanced[], change: Partial<DesiredState> = {}): DesiredState {
  const local = new Map(balanced.map(({ address, localEndpoints }) => [ip(address), localEndpoints]));
  const desired = desiredWith(
    balanced.map((each) => ({ ...each, exposure: 'LoadBalancer' as const })),
    { nodeAddresses: ['172.30.0.1'] },
  );
  const otherNodes = new Map([
    [ip('172.30.0.2'), 'n2'],
    [ip('172.30.0.3'), 'n3'],
    [ip('fd00:30::3'), 'n3'],
  ]);
  const virtualServers = new Map(
    [...desired.virtualServers].map(([key, server]) => [
      key,
      withEndpoints(server, local.get(server.address)),
    ]),
  );
  return { ...desired, node: 'n1', otherNodes, virtualServers, ...change };
}

function withEndpoints(server: VirtualServer, count: number | undefined): VirtualServer {
  if (count === undefined) return server;
  const port = parsePort(8080) ?? expect.unreachable();
  const realServers = Array.from({ length: count }, (_, i) => {
    const address = ip(`10.244.1.${10 + i}`);
    return { address, port, weight: 1, local: true, origin: 'EndpointSlice web/front-1' };
  });
  return { ...server, trafficPolicy: 'Local', realServers };
}
