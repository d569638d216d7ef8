import { expect } from 'vitest';
import {
  type AddressRow,
  type AddressRows,
  emptyRows,
  type LinkRow,
  type RouteRow,
} from '../../../src/dataplane/addresses/rows.ts';
import { type IpAddress, parseIpAddress } from '../../../src/model/address.ts';
import { type Cidr, hostPrefixLength, parseCidr } from '../../../src/model/cidr.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { parsePort } from '../../../src/model/port.ts';
import { parseScheduler } from '../../../src/model/scheduler.ts';
import { type Exposure, type VirtualServer, virtualServerKey } from '../../../src/model/virtual-server.ts';

export const LINK = 'svcplane0';

export const ip = (text: string): IpAddress => parseIpAddress(text) ?? expect.unreachable(text);
export const cidr = (text: string): Cidr => parseCidr(text) ?? expect.unreachable(text);

export const ours = (address: string, origin = ''): [IpAddress, AddressRow] => [
  ip(address),
  { owner: 'svcplane', prefixLength: hostPrefixLength(ip(address)), origin },
];

export const theirs = (address: string, prefixLength?: number): [IpAddress, AddressRow] => [
  ip(address),
  { owner: 'foreign', prefixLength: prefixLength ?? hostPrefixLength(ip(address)), origin: '' },
];

export const route = (
  prefix: string,
  source: string | null,
  owner: RouteRow['owner'] = 'svcplane',
): [string, RouteRow] => [
  prefix,
  { owner, source: source === null ? null : ip(source), origin: `ServiceCIDR ${prefix}` },
];

export const UP: LinkRow = { name: LINK, exists: true, isUp: true, kind: 'dummy', ours: true };

/** Rows on a link that is up, unless they say otherwise. */
export function rowsWith(rows: Partial<AddressRows>): AddressRows {
  return { ...emptyRows(LINK), link: UP, ...rows };
}

export interface Frontend {
  readonly address: string;
  readonly service?: string;
  readonly port?: number;
  readonly exposure?: Exposure;
  readonly bindAddress?: boolean;
}

/** A desired state with these frontends and nothing else of interest. */
export function desiredWith(
  frontends: readonly Frontend[],
  ranges: { readonly serviceCIDRs?: readonly string[]; readonly nodeAddresses?: readonly string[] } = {},
): DesiredState {
  return {
    node: 'n0',
    virtualServers: new Map(frontends.map(virtualServer).map((server) => [server.key, server])),
    insideMarks: new Map(),
    healthChecks: [],
    serviceCIDRs: (ranges.serviceCIDRs ?? []).map(cidr),
    podRanges: { cluster: [], node: [] },
    nodeAddresses: (ranges.nodeAddresses ?? []).map(ip),
    otherNodes: new Map(),
    hostAddresses: null,
    rejected: [],
  };
}

function virtualServer(frontend: Frontend): VirtualServer {
  const { service = 'web/front', exposure = 'ClusterIP', bindAddress = true } = frontend;
  const address = ip(frontend.address);
  const port = parsePort(frontend.port ?? 80) ?? expect.unreachable();
  return {
    key: virtualServerKey({ kind: 'address', address, port, protocol: 'TCP' }),
    address,
    port,
    protocol: 'TCP',
    scheduler: parseScheduler('rr') ?? expect.unreachable(),
    persistenceTimeoutSeconds: null,
    drainTimeoutSeconds: null,
    socketLoadBalancer: true,
    exposure,
    bindAddress,
    service,
    otherNode: null,
    servicePort: '',
    trafficPolicy: 'Cluster',
    realServers: [],
    insideRealServers: null,
    sourceRanges: null,
    origin: `Service ${service}`,
  };
}
