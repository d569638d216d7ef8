import { compareAddresses, familyOf, type IpAddress, type IpFamily, parseIpAddress } from './address.ts';
import type { Brand } from './brand.ts';
import type { Cidr } from './cidr.ts';
import { type Port, type Protocol, parseProtocol } from './port.ts';
import { compareText } from './rejected.ts';
import type { Scheduler } from './scheduler.ts';

/** Identity of a virtual server: `TCP 10.96.0.50:80`, `TCP [fd00::1]:80` or `FWM4 17`. */
export type VirtualServerKey = Brand<string, 'VirtualServerKey'>;

/** Identity of a real server within its virtual server: `10.244.1.20:8080` or `[fd00::20]:8080`. */
export type RealServerKey = Brand<string, 'RealServerKey'>;

export type Exposure = 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancer';

/** What IPVS looks a packet up by: address, protocol and port, or a firewall mark within a family. */
export type VirtualServerIdentity =
  | {
      readonly kind: 'address';
      readonly address: IpAddress;
      /** 0, which no Service has, is every port of the address (persistent virtual servers of others). */
      readonly port: number;
      readonly protocol: Protocol;
    }
  | { readonly kind: 'firewallMark'; readonly family: IpFamily; readonly firewallMark: number };

/** One endpoint a virtual server sends to. */
export interface RealServer {
  readonly address: IpAddress;
  readonly port: Port;
  /** 0 takes no new connections. */
  readonly weight: number;
  /** Whether it runs on this node. */
  readonly local: boolean;
  /** The object that names it, for reasons: `EndpointSlice web/front-x7k2p`. */
  readonly origin: string;
}

/** One frontend of a Service port on this node, with the endpoints its clients reach. */
export interface VirtualServer {
  readonly key: VirtualServerKey;
  readonly address: IpAddress;
  readonly port: Port;
  readonly protocol: Protocol;
  readonly scheduler: Scheduler;
  /** Client affinity in seconds; null without. */
  readonly persistenceTimeoutSeconds: number | null;
  /** How long an endpoint that is gone may keep its connections; null for the configured default. */
  readonly drainTimeoutSeconds: number | null;
  /** Whether sockets may be connected to its endpoints directly; else all goes through IPVS. */
  readonly socketLoadBalancer: boolean;
  readonly exposure: Exposure;
  /** Whether the address must be made local by us; false for NodePorts and addresses another link has. */
  readonly bindAddress: boolean;
  /** The other node whose own address this is, so that packets to it go there; null for all other addresses. */
  readonly otherNode: string | null;
  /** `namespace/name` */
  readonly service: string;
  /** Name of the Service port, "" if unnamed. */
  readonly servicePort: string;
  /** Traffic policy of this frontend: internal for a ClusterIP, external otherwise. */
  readonly trafficPolicy: 'Cluster' | 'Local';
  /** Sorted by address, then port; no duplicates. */
  readonly realServers: readonly RealServer[];
  /** What clients inside the cluster reach, where policy Local gives outside clients less; else null. */
  readonly insideRealServers: readonly RealServer[] | null;
  /** Sources that may reach this frontend; null for all. */
  readonly sourceRanges: readonly Cidr[] | null;
  /** What it follows from, for reasons: `Service web/front port http`. */
  readonly origin: string;
}

/** The key of an identity. Identity only: two rows of one key may differ in everything else. */
export function virtualServerKey(identity: VirtualServerIdentity): VirtualServerKey {
  const text =
    identity.kind === 'address'
      ? `${identity.protocol} ${formatEndpoint(identity.address, identity.port)}`
      : `FWM${identity.family === 'IPv4' ? 4 : 6} ${identity.firewallMark}`;
  return text as VirtualServerKey;
}

/** The identity that {@link virtualServerKey} made `key` from; undefined if it is none of its keys. */
export function parseVirtualServerKey(key: string): VirtualServerIdentity | undefined {
  const [, version, mark] = /^FWM([46]) (\d+)$/.exec(key) ?? [];
  if (mark !== undefined) {
    return { kind: 'firewallMark', family: version === '4' ? 'IPv4' : 'IPv6', firewallMark: Number(mark) };
  }
  const [, name, bracketed, plain, port] = /^(\w+) (?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(key) ?? [];
  const protocol = parseProtocol(name);
  const address = parseIpAddress(bracketed ?? plain);
  return protocol && address && { kind: 'address', address, port: Number(port), protocol };
}

/** The key of a real server. */
export function realServerKey(realServer: {
  readonly address: IpAddress;
  readonly port: number;
}): RealServerKey {
  return formatEndpoint(realServer.address, realServer.port) as RealServerKey;
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function formatEndpoint(address: IpAddress, port: number): string {
  return familyOf(address) === 'IPv4' ? `${address}:${port}` : `[${address}]:${port}`;
}

/** Firewall marks after addresses; addresses numerically, then protocol name, then port. */
export function compareIdentities(a: VirtualServerIdentity, b: VirtualServerIdentity): number {
  if (a.kind === 'firewallMark' || b.kind === 'firewallMark') {
    if (a.kind !== b.kind) return a.kind === 'firewallMark' ? 1 : -1;
    if (a.kind === 'firewallMark' && b.kind === 'firewallMark') {
      return compareText(a.family, b.family) || a.firewallMark - b.firewallMark;
    }
    return 0;
  }
  return compareAddresses(a.address, b.address) || compareText(a.protocol, b.protocol) || a.port - b.port;
}

/** By address, numerically, then port. */
export function compareRealServers(
  a: { readonly address: IpAddress; readonly port: number },
  b: { readonly address: IpAddress; readonly port: number },
): number {
  return compareAddresses(a.address, b.address) || a.port - b.port;
}
