import { addressBytes, addressFromBytes, familyOf, type IpFamily } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import type { Protocol } from '../../model/port.ts';
import { schedulerFromKernel } from '../../model/scheduler.ts';
import type { VirtualServerIdentity } from '../../model/virtual-server.ts';
import type { GenlRequest } from '../../netlink/genl.ts';
import * as messages from '../../netlink/ipvs-messages.ts';
import { FORWARDING_METHOD, SERVICE_FLAG, TUNNEL_FLAG, TUNNEL_TYPE } from '../../netlink/uapi/ipvs.ts';
import type { Forwarding, Tunnel } from '../../snapshot/snapshot.ts';
import type { KernelRealServer, KernelRequest } from './kernel.ts';
import type { RealServerConfig, VirtualServerConfig } from './rows.ts';

/** Between our words and numbers of the IPVS messages; addresses there are bytes, enumerations integers. */

/** @see include/uapi/linux/in.h IPPROTO_* */
export const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const satisfies Record<Protocol, number>;

const FORWARDINGS = {
  masquerade: FORWARDING_METHOD.masquerade,
  local: FORWARDING_METHOD.local,
  tunnel: FORWARDING_METHOD.tunnel,
  direct: FORWARDING_METHOD.directRoute,
  bypass: FORWARDING_METHOD.bypass,
} as const satisfies Record<Forwarding, number>;

const CHECKSUMS = {
  none: TUNNEL_FLAG.noChecksum,
  csum: TUNNEL_FLAG.checksum,
  remcsum: TUNNEL_FLAG.remoteChecksum,
} as const satisfies Record<Tunnel['checksum'], number>;

const IPV4_SINGLE_ADDRESS = 0xffff_ffff;
const IPV6_SINGLE_ADDRESS = 128;

/** The message that makes `request`. */
export function encodeRequest(request: KernelRequest): GenlRequest {
  const service = encodeIdentity(request.identity);
  switch (request.command) {
    case 'newService':
      return messages.newService(service, encodeConfig(request.identity, request.config));
    case 'setService':
      return messages.setService(service, encodeConfig(request.identity, request.config));
    case 'delService':
      return messages.deleteService(service);
    case 'newDest':
      return messages.newDestination(service, ...encodeRealServer(request.realServer));
    case 'setDest':
      return messages.setDestination(service, ...encodeRealServer(request.realServer));
    case 'delDest':
      return messages.deleteDestination(service, encodeRealServer(request.realServer)[0]);
    default:
      return unreachable(request);
  }
}

/** @returns undefined for a protocol that IPVS does not balance, which no Service can have */
export function decodeIdentity(service: messages.ServiceIdentity): VirtualServerIdentity | undefined {
  if ('fwmark' in service) {
    return { kind: 'firewallMark', family: familyFromWire(service.family), firewallMark: service.fwmark };
  }
  const protocol = nameOf(PROTOCOLS, service.protocol);
  if (protocol === undefined) return undefined;
  return { kind: 'address', address: addressFromBytes(service.address), port: service.port, protocol };
}

/** The configuration in a dumped service; what counts for persistent ones only is null for the others. */
export function decodeConfig(service: messages.Service): VirtualServerConfig {
  const persistent = (service.flags & SERVICE_FLAG.persistent) !== 0;
  return {
    scheduler: schedulerFromKernel(service.scheduler),
    flags: service.flags & ~SERVICE_FLAG.persistent,
    persistenceTimeoutSeconds: persistent ? service.timeoutSeconds : null,
    netmask: persistent ? decodeNetmask(service) : null,
    persistenceEngine: service.persistenceEngine ?? null,
  };
}

/** One dumped destination. */
export function decodeRealServer(destination: messages.Destination): KernelRealServer {
  const { port, weight, upperThreshold, lowerThreshold } = destination;
  const { activeConnections, inactiveConnections, persistentConnections } = destination;
  const forwarding = nameOf(FORWARDINGS, destination.forwardingMethod) ?? 'masquerade';
  const config: RealServerConfig = {
    address: addressFromBytes(destination.address),
    port,
    weight,
    forwarding,
    upperThreshold,
    lowerThreshold,
    tunnel: forwarding === 'tunnel' ? decodeTunnel(destination) : null,
  };
  return { config, activeConnections, inactiveConnections, persistentConnections };
}

/** How a request names a virtual server. */
export function encodeIdentity(identity: VirtualServerIdentity): messages.ServiceIdentity {
  if (identity.kind === 'firewallMark') {
    return { family: familyToWire(identity.family), fwmark: identity.firewallMark };
  }
  const { address, port, protocol } = identity;
  return {
    family: familyToWire(familyOf(address)),
    protocol: PROTOCOLS[protocol],
    address: addressBytes(address),
    port,
  };
}

function encodeConfig(
  identity: VirtualServerIdentity,
  config: VirtualServerConfig,
): messages.ServiceParameters {
  const persistent = config.persistenceTimeoutSeconds !== null;
  const family = identity.kind === 'address' ? familyOf(identity.address) : identity.family;
  return {
    scheduler: config.scheduler,
    flags: config.flags | (persistent ? SERVICE_FLAG.persistent : 0),
    timeoutSeconds: config.persistenceTimeoutSeconds ?? 0,
    netmask: encodeNetmask(family, config.netmask),
    ...(config.persistenceEngine !== null && { persistenceEngine: config.persistenceEngine }),
  };
}

function encodeRealServer(
  config: RealServerConfig,
): [messages.DestinationIdentity, messages.DestinationParameters] {
  const { address, port, weight, upperThreshold, lowerThreshold, tunnel } = config;
  const identity = { family: familyToWire(familyOf(address)), address: addressBytes(address), port };
  return [
    identity,
    {
      forwardingMethod: FORWARDINGS[config.forwarding],
      weight,
      upperThreshold,
      lowerThreshold,
      ...(tunnel && {
        tunnelType: TUNNEL_TYPE[tunnel.type],
        tunnelPort: tunnel.port,
        tunnelFlags: CHECKSUMS[tunnel.checksum],
      }),
    },
  ];
}

/** null for plain IP in IP, which has nothing to say; kernels before 5.2 know no other. */
function decodeTunnel(destination: messages.Destination): Tunnel | null {
  const type = nameOf(TUNNEL_TYPE, destination.tunnelType) ?? 'ipip';
  if (type === 'ipip') return null;
  return {
    type,
    port: destination.tunnelPort ?? 0,
    checksum: nameOf(CHECKSUMS, destination.tunnelFlags) ?? 'none',
  };
}

/** A mask as text for IPv4, a prefix length for IPv6; null where each client address counts by itself. */
function decodeNetmask({ family, netmask }: messages.Service): string | null {
  if (familyFromWire(family) === 'IPv6') return netmask === IPV6_SINGLE_ADDRESS ? null : `${netmask}`;
  if (netmask === IPV4_SINGLE_ADDRESS) return null;
  return addressFromBytes(Uint8Array.of(netmask >>> 24, netmask >>> 16, netmask >>> 8, netmask));
}

function encodeNetmask(family: IpFamily, netmask: string | null): number {
  if (family === 'IPv6') return netmask === null ? IPV6_SINGLE_ADDRESS : Number(netmask);
  if (netmask === null) return IPV4_SINGLE_ADDRESS;
  return netmask.split('.').reduce((word, octet) => ((word << 8) | Number(octet)) >>> 0, 0);
}

/** AF_*. */
export function familyToWire(family: IpFamily): number {
  return family === 'IPv4' ? messages.ADDRESS_FAMILY.ipv4 : messages.ADDRESS_FAMILY.ipv6;
}

function familyFromWire(family: number): IpFamily {
  return family === messages.ADDRESS_FAMILY.ipv4 ? 'IPv4' : 'IPv6';
}

function nameOf<Name extends string>(
  numbers: Readonly<Record<Name, number>>,
  wanted: number | undefined,
): Name | undefined {
  for (const name in numbers) if (numbers[name] === wanted) return name;
  return undefined;
}
