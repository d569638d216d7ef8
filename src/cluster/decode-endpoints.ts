import { familyOf, type IpFamily, parseIpAddress } from '../model/address.ts';
import { parsePort, parseProtocol } from '../model/port.ts';
import type { EndpointFacts, EndpointPortFacts, EndpointSliceFacts } from './facts.ts';
import {
  asObject,
  entryIn,
  isPossibleName,
  listIn,
  namespacedName,
  objectIn,
  type RawObject,
  type Reject,
  refused,
  shown,
  textIn,
} from './object-fields.ts';

const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const TRIGGER_TIME_ANNOTATION = 'endpoints.kubernetes.io/last-change-trigger-time';

/**
 * Reads a discovery.k8s.io/v1 EndpointSlice.
 * @param reject receives one reason for each part that can't be used; the other parts are still read
 * @returns null if nothing of it belongs to a Service with a virtual address
 */
export function decodeEndpointSlice(object: RawObject, reject: Reject): EndpointSliceFacts | null {
  const identity = namespacedName(object);
  if (!identity) return refused(reject, 'has no metadata.name');
  if (isHeadlessSlice(object)) return null;
  const service = serviceOfSlice(object);
  if (!service) return refused(reject, `has no label ${SERVICE_NAME_LABEL}: it belongs to no Service`);
  const family = object.addressType;
  if (family === 'FQDN') return refused(reject, 'addressType FQDN: names are the business of DNS');
  if (family !== 'IPv4' && family !== 'IPv6') {
    return refused(reject, `addressType ${shown(family)} is none of IPv4, IPv6`);
  }
  return {
    origin: `EndpointSlice ${identity.key}`,
    service,
    family,
    ports: listIn(object, 'ports').flatMap((port) => decodeSlicePort(port, reject) ?? []),
    endpoints: listIn(object, 'endpoints').flatMap(
      (endpoint) => decodeEndpoint(endpoint, family, reject) ?? [],
    ),
  };
}

/** Whether the watch's label selector would never show this EndpointSlice; in a file it is as invisible. */
export function isHeadlessSlice(object: RawObject): boolean {
  return entryIn(object, 'labels', HEADLESS_LABEL) !== undefined;
}

/**
 * When what made the controller write this EndpointSlice has happened, in milliseconds since the epoch; null where it
 * does not say.
 */
export function decodeTriggerTime(object: RawObject): number | null {
  const ms = Date.parse(entryIn(object, 'annotations', TRIGGER_TIME_ANNOTATION) ?? '');
  return Number.isNaN(ms) ? null : ms;
}

/** `namespace/name` of the Service an EndpointSlice names, whatever else is in it. */
export function serviceOfSlice(object: RawObject): string | undefined {
  const name = entryIn(object, 'labels', SERVICE_NAME_LABEL);
  return name ? `${namespacedName(object)?.namespace ?? 'default'}/${name}` : undefined;
}

/**
 * Reads a core/v1 Endpoints as the API server's mirroring controller would: one slice per subset and family.
 * @returns empty if there is no address in it
 */
export function decodeEndpoints(object: RawObject, reject: Reject): readonly EndpointSliceFacts[] {
  const identity = namespacedName(object);
  if (!identity) {
    reject('has no metadata.name');
    return [];
  }
  const header = { origin: `Endpoints ${identity.key}`, service: identity.key };
  return listIn(object, 'subsets').flatMap((value) => {
    const subset = asObject(value) ?? {};
    const ports = listIn(subset, 'ports').flatMap((port) => decodeSubsetPort(port, reject) ?? []);
    const endpoints = [
      ...listIn(subset, 'addresses').flatMap((address) => decodeSubsetAddress(address, true, reject) ?? []),
      ...listIn(subset, 'notReadyAddresses').flatMap(
        (address) => decodeSubsetAddress(address, false, reject) ?? [],
      ),
    ];
    return (['IPv4', 'IPv6'] as const).flatMap((family) => {
      const ofFamily = endpoints.filter((endpoint) => familyOf(endpoint.address) === family);
      return ofFamily.length === 0 ? [] : [{ ...header, family, ports, endpoints: ofFamily }];
    });
  });
}

function decodeSlicePort(value: unknown, reject: Reject): EndpointPortFacts | undefined {
  const raw = asObject(value) ?? {};
  if (typeof raw.name !== 'string') {
    reject(`port ${shown(raw.port)} has no name: write name: "" for an unnamed Service port`);
    return undefined;
  }
  return decodePortNumber(raw, raw.name, reject);
}

function decodeSubsetPort(value: unknown, reject: Reject): EndpointPortFacts | undefined {
  const raw = asObject(value) ?? {};
  return decodePortNumber(raw, textIn(raw, 'name') ?? '', reject);
}

function decodePortNumber(raw: RawObject, name: string, reject: Reject): EndpointPortFacts | undefined {
  if (!isPossibleName(name)) {
    reject(`port name ${shown(name)} is no name of a port`);
    return undefined;
  }
  const label = name === '' ? 'port' : `port ${name}`;
  const port = parsePort(raw.port);
  const protocol = parseProtocol(raw.protocol || 'TCP');
  if (!port) reject(`${label}: ${shown(raw.port)} is not a number from 1 to 65535`);
  if (!protocol) reject(`${label}: protocol ${shown(raw.protocol)} is none of TCP, UDP, SCTP`);
  return port && protocol ? { name, protocol, port } : undefined;
}

function decodeEndpoint(value: unknown, family: IpFamily, reject: Reject): EndpointFacts | undefined {
  const raw = asObject(value) ?? {};
  const text = listIn(raw, 'addresses')[0];
  const address = parseIpAddress(text);
  if (!address) {
    reject(`endpoint address ${shown(text)} is not an IP address`);
    return undefined;
  }
  if (familyOf(address) !== family) {
    reject(`endpoint address ${address} is not of the slice's addressType ${family}`);
    return undefined;
  }
  const { ready, serving, terminating } = objectIn(raw, 'conditions');
  const hints = objectIn(raw, 'hints');
  return {
    address,
    ready: ready !== false,
    serving: serving !== false,
    terminating: terminating === true,
    nodeName: textIn(raw, 'nodeName') ?? null,
    nodeHints: decodeHints(hints, 'forNodes'),
    zoneHints: decodeHints(hints, 'forZones'),
  };
}

function decodeHints(hints: RawObject, field: 'forNodes' | 'forZones'): readonly string[] | null {
  const names = listIn(hints, field).flatMap((hint) => textIn(asObject(hint) ?? {}, 'name') ?? []);
  return names.length > 0 ? names : null;
}

function decodeSubsetAddress(value: unknown, ready: boolean, reject: Reject): EndpointFacts | undefined {
  const raw = asObject(value) ?? {};
  const address = parseIpAddress(raw.ip);
  if (!address) {
    reject(`address ${shown(raw.ip)} is not an IP address`);
    return undefined;
  }
  const nodeName = textIn(raw, 'nodeName') ?? null;
  return { address, ready, serving: ready, terminating: false, nodeName, nodeHints: null, zoneHints: null };
}
