import { type AttributesOf, attributeCodec } from './attributes.ts';
import { littleEndian, NetlinkDecodeError } from './bytes.ts';
import { decodeGenlAttributes, type GenlRequest } from './genl.ts';
import type { NetlinkMessage } from './message.ts';
import {
  type destinationSchema,
  IPVS_COMMAND,
  IPVS_GENL_VERSION,
  ipvsInfoSchema,
  ipvsSchema,
  SERVICE_FLAG,
  type serviceSchema,
} from './uapi/ipvs.ts';

/** AF_INET and AF_INET6, the same on every Linux. */
export const ADDRESS_FAMILY = { ipv4: 2, ipv6: 10 } as const;

/** Which virtual service: by address, or by the mark that a packet bears. */
export type ServiceIdentity =
  | {
      /** AF_*. */
      readonly family: number;
      /** IPPROTO_*: 6 TCP, 17 UDP, 132 SCTP. */
      readonly protocol: number;
      /** 4 or 16 bytes, network byte order. */
      readonly address: Uint8Array;
      /** Host byte order; 0 is every port of a persistent service. */
      readonly port: number;
    }
  | { readonly family: number; readonly fwmark: number };

/** What SET_SERVICE can change while connections live. */
export interface ServiceParameters {
  /** `rr`, `wrr`, … at most 15 characters. */
  readonly scheduler: string;
  /** SERVICE_FLAG bits. `hashed` is the kernel's own and is never reported. */
  readonly flags: number;
  /** How long a client keeps its real server; counts only with the flag `persistent`. */
  readonly timeoutSeconds: number;
  /** Granularity of persistence. IPv4: a mask, 0xffffffff for one address. IPv6: a prefix length, 128 for one. */
  readonly netmask: number;
  /** `sip`, the one that exists. */
  readonly persistenceEngine?: string | undefined;
}

/** Which real server of a service. */
export interface DestinationIdentity {
  /** AF_*; with tunnels it may differ from the service's. */
  readonly family: number;
  /** 4 or 16 bytes, network byte order. */
  readonly address: Uint8Array;
  /** Host byte order. */
  readonly port: number;
}

/** What SET_DEST can change while connections live. */
export interface DestinationParameters {
  /** FORWARDING_METHOD. */
  readonly forwardingMethod: number;
  /** 0 takes no new connections. */
  readonly weight: number;
  /** Connections from which the server counts as overloaded; 0 is never. */
  readonly upperThreshold: number;
  /** Connections below which it is no longer overloaded; 0 means three quarters of the upper one. */
  readonly lowerThreshold: number;
  /** TUNNEL_TYPE; counts only for the forwarding method tunnel. */
  readonly tunnelType?: number | undefined;
  /** Host byte order; GUE only. */
  readonly tunnelPort?: number | undefined;
  /** TUNNEL_FLAG. */
  readonly tunnelFlags?: number | undefined;
}

/** A virtual service as the kernel reports it. */
export type Service = ServiceIdentity & ServiceParameters;

/** A real server as the kernel reports it. */
export interface Destination extends DestinationIdentity, DestinationParameters {
  readonly activeConnections: number;
  readonly inactiveConnections: number;
  readonly persistentConnections: number;
}

type IpvsRequest = GenlRequest<typeof ipvsSchema>;

/** IPVS_CMD_ATTR_*, both ways. */
export const ipvsCodec = attributeCodec(ipvsSchema);
const infoCodec = attributeCodec(ipvsInfoSchema);
const ALL_FLAGS = 0xffff_ffff;

/** Refused with EEXIST if it exists, ENOENT if the kernel has no such scheduler. */
export function newService(identity: ServiceIdentity, parameters: ServiceParameters): IpvsRequest {
  return request(IPVS_COMMAND.newService, { service: fullService(identity, parameters) });
}

/** Refused with ESRCH if it does not exist. Connections live on. */
export function setService(identity: ServiceIdentity, parameters: ServiceParameters): IpvsRequest {
  return request(IPVS_COMMAND.setService, { service: fullService(identity, parameters) });
}

/** Refused with ESRCH if it does not exist. Takes its destinations with it. */
export function deleteService(identity: ServiceIdentity): IpvsRequest {
  return request(IPVS_COMMAND.deleteService, { service: serviceAttributes(identity) });
}

/** Refused with EEXIST if it exists, ESRCH if the service does not, EINVAL where loopback is down (no local route). */
export function newDestination(
  service: ServiceIdentity,
  destination: DestinationIdentity,
  parameters: DestinationParameters,
): IpvsRequest {
  return request(IPVS_COMMAND.newDestination, {
    service: serviceAttributes(service),
    destination: fullDestination(destination, parameters),
  });
}

/** Refused with ENOENT if it does not exist, ESRCH if the service does not. Connections live on. */
export function setDestination(
  service: ServiceIdentity,
  destination: DestinationIdentity,
  parameters: DestinationParameters,
): IpvsRequest {
  return request(IPVS_COMMAND.setDestination, {
    service: serviceAttributes(service),
    destination: fullDestination(destination, parameters),
  });
}

/** Refused with ENOENT if it does not exist, ESRCH if the service does not. */
export function deleteDestination(service: ServiceIdentity, destination: DestinationIdentity): IpvsRequest {
  return request(IPVS_COMMAND.deleteDestination, {
    service: serviceAttributes(service),
    destination: destinationAttributes(destination),
  });
}

/** All services with `dump`; read the rows with `decodeService`. */
export function getServices(): IpvsRequest {
  return request(IPVS_COMMAND.getService, {});
}

/** One service with `query`; ESRCH if it does not exist. */
export function getService(identity: ServiceIdentity): IpvsRequest {
  return request(IPVS_COMMAND.getService, { service: serviceAttributes(identity) });
}

/** The destinations of one service with `dump`. A service that does not exist has none: the kernel does not say so. */
export function getDestinations(service: ServiceIdentity): IpvsRequest {
  return request(IPVS_COMMAND.getDestination, { service: serviceAttributes(service) });
}

/** The version and table size with `query`; read the reply with `decodeInfo`. */
export function getInfo(): IpvsRequest {
  return request(IPVS_COMMAND.getInfo, {});
}

/** Reads a reply to `getServices` or `getService`. @throws NetlinkDecodeError */
export function decodeService(message: NetlinkMessage): Service {
  const { service } = decodeGenlAttributes(message, ipvsCodec);
  if (service?.family === undefined || service.scheduler === undefined || service.flags === undefined) {
    throw new NetlinkDecodeError('a service lacks family, scheduler or flags', message.payloadStart);
  }
  return {
    ...identityOf(service, service.family, message),
    scheduler: service.scheduler,
    flags: stripHashedFlag(service.flags.flags),
    timeoutSeconds: service.timeoutSeconds ?? 0,
    netmask: netmaskWord(service.family, service.netmask ?? 0),
    ...(service.persistenceEngine === undefined ? {} : { persistenceEngine: service.persistenceEngine }),
  };
}

/**
 * Reads a row of `getDestinations`.
 * @param serviceFamily what counts for kernels before 3.18, which do not report a family of their own
 * @throws NetlinkDecodeError
 */
export function decodeDestination(message: NetlinkMessage, serviceFamily: number): Destination {
  const { destination } = decodeGenlAttributes(message, ipvsCodec);
  if (destination?.address === undefined || destination.port === undefined) {
    throw new NetlinkDecodeError('a destination lacks address or port', message.payloadStart);
  }
  const family = destination.family ?? serviceFamily;
  return {
    family,
    address: addressOf(family, destination.address),
    port: destination.port,
    forwardingMethod: destination.forwardingMethod ?? 0,
    weight: destination.weight ?? 0,
    upperThreshold: destination.upperThreshold ?? 0,
    lowerThreshold: destination.lowerThreshold ?? 0,
    tunnelType: destination.tunnelType,
    tunnelPort: destination.tunnelPort,
    tunnelFlags: destination.tunnelFlags,
    activeConnections: destination.activeConnections ?? 0,
    inactiveConnections: destination.inactiveConnections ?? 0,
    persistentConnections: destination.persistentConnections ?? 0,
  };
}

/** Reads the reply to `getInfo`: version as 0xMMmmpp, size of the connection table in buckets. */
export function decodeInfo(message: NetlinkMessage): {
  readonly version: number;
  readonly connectionTableSize: number;
} {
  const { version, connectionTableSize } = decodeGenlAttributes(message, infoCodec);
  if (version === undefined || connectionTableSize === undefined) {
    throw new NetlinkDecodeError('the info lacks version or table size', message.payloadStart);
  }
  return { version, connectionTableSize };
}

/** The kernel sets IP_VS_SVC_F_HASHED on every service that it returns: it says nothing about what was asked for. */
export function stripHashedFlag(flags: number): number {
  return (flags & ~SERVICE_FLAG.hashed) >>> 0;
}

function request(command: number, attributes: AttributesOf<typeof ipvsSchema>): IpvsRequest {
  return { command, version: IPVS_GENL_VERSION, codec: ipvsCodec, attributes };
}

/** Picks the fields one by one: a caller may pass a whole `Service`, and a key must carry nothing else. */
function serviceAttributes(identity: ServiceIdentity): AttributesOf<typeof serviceSchema> {
  if ('fwmark' in identity) return { family: identity.family, fwmark: identity.fwmark };
  const { family, protocol, address, port } = identity;
  return { family, protocol, address, port };
}

function fullService(
  identity: ServiceIdentity,
  parameters: ServiceParameters,
): AttributesOf<typeof serviceSchema> {
  return {
    ...serviceAttributes(identity),
    scheduler: parameters.scheduler,
    persistenceEngine: parameters.persistenceEngine,
    // The kernel keeps the bits outside the mask as they are; we always mean all of them.
    flags: { flags: parameters.flags, mask: ALL_FLAGS },
    timeoutSeconds: parameters.timeoutSeconds,
    netmask: netmaskWord(identity.family, parameters.netmask),
  };
}

function destinationAttributes(identity: DestinationIdentity): AttributesOf<typeof destinationSchema> {
  return { family: identity.family, address: identity.address, port: identity.port };
}

function fullDestination(
  identity: DestinationIdentity,
  parameters: DestinationParameters,
): AttributesOf<typeof destinationSchema> {
  return {
    ...destinationAttributes(identity),
    forwardingMethod: parameters.forwardingMethod,
    weight: parameters.weight,
    tunnelType: parameters.tunnelType,
    tunnelPort: parameters.tunnelPort,
    tunnelFlags: parameters.tunnelFlags,
    upperThreshold: parameters.upperThreshold,
    lowerThreshold: parameters.lowerThreshold,
  };
}

function identityOf(
  service: AttributesOf<typeof serviceSchema>,
  family: number,
  message: NetlinkMessage,
): ServiceIdentity {
  if (service.fwmark !== undefined) return { family, fwmark: service.fwmark };
  if (service.protocol === undefined || service.address === undefined || service.port === undefined) {
    throw new NetlinkDecodeError('a service has neither mark nor address', message.payloadStart);
  }
  return {
    family,
    protocol: service.protocol,
    address: addressOf(family, service.address),
    port: service.port,
  };
}

function addressOf(family: number, address16: Uint8Array): Uint8Array {
  return address16.slice(0, family === ADDRESS_FAMILY.ipv4 ? 4 : 16);
}

/** Its own inverse. IPv4's mask is in network byte order where IPv6's prefix length is in the host's. */
function netmaskWord(family: number, netmask: number): number {
  if (family !== ADDRESS_FAMILY.ipv4 || !littleEndian) return netmask;
  return (
    (((netmask & 0xff) << 24) | ((netmask & 0xff00) << 8) | ((netmask >>> 8) & 0xff00) | (netmask >>> 24)) >>>
    0
  );
}
