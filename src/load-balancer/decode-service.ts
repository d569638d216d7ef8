import {
  asObject,
  entryIn,
  listIn,
  namespacedName,
  objectIn,
  type RawObject,
  shown,
  textIn,
} from '../cluster/object-fields.ts';
import { familyOf, type IpAddress, type IpFamily, parseIpAddress } from '../model/address.ts';
import { parsePort, parseProtocol } from '../model/port.ts';
import type { AddressCondition, IngressFacts, LoadBalancerFacts } from './facts.ts';

/** Addresses that a Service asks for, separated by commas: at most one of each family. */
export const ADDRESSES_ANNOTATION = 'svcplane.io/load-balancer-ips';
/** Services with the same key may have one address, on different ports. */
export const SHARING_ANNOTATION = 'svcplane.io/load-balancer-sharing-key';
/** Type of our condition in the status of a Service. */
export const ADDRESS_CONDITION = 'svcplane.io/LoadBalancerAddress';

/**
 * Reads what matters of a core/v1 Service. Nothing is rejected: what can't be understood of a request is said in the
 * facts, and what can't be understood of others is nobody's address.
 * @returns undefined without a name
 */
export function decodeLoadBalancer(object: RawObject): LoadBalancerFacts | undefined {
  const identity = namespacedName(object);
  if (!identity) return undefined;
  const spec = objectIn(object, 'spec');
  const metadata = objectIn(object, 'metadata');
  const status = objectIn(object, 'status');
  const createdAtMs = Date.parse(textIn(metadata, 'creationTimestamp') ?? '');
  const labels = Object.entries(objectIn(metadata, 'labels')).map(([key, value]) => [key, String(value)]);
  return {
    ...identity,
    labels: Object.fromEntries(labels),
    createdAtMs: Number.isNaN(createdAtMs) ? null : createdAtMs,
    isLoadBalancer: spec.type === 'LoadBalancer',
    isDeleting: textIn(metadata, 'deletionTimestamp') !== undefined,
    loadBalancerClass: textIn(spec, 'loadBalancerClass') ?? null,
    families: familiesOf(spec),
    needsAllFamilies: spec.ipFamilyPolicy === 'RequireDualStack',
    ports: listIn(spec, 'ports').flatMap((each) => portOf(asObject(each) ?? {}) ?? []),
    endpointsKey: endpointsKeyOf(spec),
    ...requestOf(object, spec),
    sharingKey: entryIn(object, 'annotations', SHARING_ANNOTATION) || null,
    externalIPs: listIn(spec, 'externalIPs').flatMap((text) => parseIpAddress(text) ?? []),
    ingress: listIn(objectIn(status, 'loadBalancer'), 'ingress').map((each) =>
      ingressOf(asObject(each) ?? {}),
    ),
    condition: conditionIn(listIn(status, 'conditions')),
  };
}

/** An API server fills them in; where it is older, the ClusterIP tells. */
function familiesOf(spec: RawObject): readonly IpFamily[] {
  const listed = listIn(spec, 'ipFamilies').flatMap((each) =>
    each === 'IPv4' || each === 'IPv6' ? each : [],
  );
  if (listed.length > 0) return [...new Set(listed)];
  const clusterIP = parseIpAddress(spec.clusterIP);
  return [clusterIP ? familyOf(clusterIP) : 'IPv4'];
}

function portOf(raw: RawObject): LoadBalancerFacts['ports'][number] | undefined {
  const [port, protocol] = [parsePort(raw.port), parseProtocol(raw.protocol || 'TCP')];
  return port && protocol ? { port, protocol } : undefined;
}

function endpointsKeyOf(spec: RawObject): string {
  if (spec.externalTrafficPolicy !== 'Local') return 'Cluster';
  const selector = Object.entries(objectIn(spec, 'selector')).sort(([a], [b]) => (a < b ? -1 : 1));
  return `Local ${JSON.stringify(selector)}`;
}

/** The annotation, and without it the field, which has room for one address only. */
function requestOf(
  object: RawObject,
  spec: RawObject,
): Pick<LoadBalancerFacts, 'requested' | 'invalidRequest'> {
  const annotation = entryIn(object, 'annotations', ADDRESSES_ANNOTATION);
  const text = annotation ?? textIn(spec, 'loadBalancerIP') ?? '';
  const field = annotation === undefined ? 'spec.loadBalancerIP' : `annotation ${ADDRESSES_ANNOTATION}`;
  const requested: IpAddress[] = [];
  for (const part of text.split(',').map((each) => each.trim())) {
    if (part === '') continue;
    const address = parseIpAddress(part);
    if (!address)
      return { requested: [], invalidRequest: `${field} has ${shown(part)}, which is no address` };
    if (requested.some((other) => familyOf(other) === familyOf(address))) {
      const invalidRequest = `${field} has more than one ${familyOf(address)} address`;
      return { requested: [], invalidRequest };
    }
    requested.push(address);
  }
  return { requested, invalidRequest: null };
}

function ingressOf({ ip, hostname, ipMode }: RawObject): IngressFacts {
  const address = hostname ? null : (parseIpAddress(ip) ?? null);
  return { address, ipMode: typeof ipMode === 'string' ? ipMode : 'VIP' };
}

function conditionIn(conditions: readonly unknown[]): AddressCondition | null {
  const found = conditions.map((each) => asObject(each) ?? {}).find(({ type }) => type === ADDRESS_CONDITION);
  if (!found) return null;
  return {
    status: found.status === 'True' ? 'True' : 'False',
    reason: textIn(found, 'reason') ?? '',
    message: textIn(found, 'message') ?? '',
  };
}
