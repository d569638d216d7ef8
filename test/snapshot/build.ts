import type { IpAddress } from '../../src/model/address.ts';
import { parseIpAddress } from '../../src/model/address.ts';
import type { Snapshot, SnapshotRealServer, SnapshotVirtualServer } from '../../src/snapshot/snapshot.ts';

/** @param virtualServers in canonical order, or not */
export function snapshotOf(virtualServers: readonly SnapshotVirtualServer[]): Snapshot {
  return { version: 1, node: 'n0', addresses: [], virtualServers, rejected: [] };
}

/** A foreign TCP virtual server of scheduler rr. @param endpoint as `10.0.0.1:80` or `[fd00::1]:80` */
export function virtualServer(
  endpoint: string,
  rest: Partial<SnapshotVirtualServer> = {},
): SnapshotVirtualServer {
  return {
    ...parseEndpoint(endpoint),
    protocol: 'TCP',
    scheduler: 'rr',
    persistenceTimeoutSeconds: null,
    exposure: null,
    service: null,
    servicePort: null,
    realServers: [],
    ...rest,
  };
}

export function realServer(endpoint: string, rest: Partial<SnapshotRealServer> = {}): SnapshotRealServer {
  return { ...parseEndpoint(endpoint), weight: 1, forwarding: 'masquerade', ...rest };
}

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (!address) throw new Error(`No address: ${text}`);
  return address;
}

function parseEndpoint(text: string): { address: IpAddress; port: number } {
  const colon = text.lastIndexOf(':');
  return { address: ip(text.slice(0, colon).replaceAll(/[[\]]/g, '')), port: Number(text.slice(colon + 1)) };
}
