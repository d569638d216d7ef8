import type { ServiceFacts } from '../cluster/facts.ts';
import type { IpAddress } from '../model/address.ts';
import { compareText, type Rejected } from '../model/rejected.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';

/** A virtual server together with the Service that asks for it. */
export interface Claim {
  readonly service: ServiceFacts;
  readonly virtualServer: VirtualServer;
}

/**
 * Settles who gets what several Services ask for: the oldest Service, then the first by namespace/name.
 * An externalIP that is another Service's ClusterIP is refused on every port.
 * @returns one virtual server per key, and the losers by name
 */
export function settleClaims(claims: readonly Claim[]): {
  readonly virtualServers: Map<VirtualServerKey, VirtualServer>;
  readonly rejected: readonly Rejected[];
} {
  const owners = clusterIPOwners(claims);
  const winners = new Map<VirtualServerKey, Claim>();
  const losers: Claim[] = [];
  const rejected: Rejected[] = [];
  for (const claim of claims) {
    const { key, exposure, address, service } = claim.virtualServer;
    const owner = exposure === 'ExternalIP' ? owners.get(address) : undefined;
    if (owner && owner !== claim.service) {
      rejected.push({
        subject: `Service ${service}`,
        reason: `externalIP ${address} is the ClusterIP of ${owner.namespace}/${owner.name}`,
      });
      continue;
    }
    const present = winners.get(key);
    if (!present) winners.set(key, claim);
    else {
      const wins = compareServices(claim.service, present.service) < 0;
      if (wins) winners.set(key, claim);
      losers.push(wins ? present : claim);
    }
  }
  for (const { virtualServer } of losers) {
    const winner = winners.get(virtualServer.key)?.virtualServer;
    rejected.push({
      subject: `Service ${virtualServer.service}`,
      reason: `${virtualServer.exposure} ${virtualServer.key} belongs to the older Service ${winner?.service}`,
    });
  }
  const virtualServers = new Map<VirtualServerKey, VirtualServer>();
  for (const [key, { virtualServer }] of winners) virtualServers.set(key, virtualServer);
  return { virtualServers, rejected };
}

/** The Service that has each ClusterIP; the oldest, should several say so. */
function clusterIPOwners(claims: readonly Claim[]): ReadonlyMap<IpAddress, ServiceFacts> {
  const owners = new Map<IpAddress, ServiceFacts>();
  for (const { service, virtualServer } of claims) {
    if (virtualServer.exposure !== 'ClusterIP') continue;
    const present = owners.get(virtualServer.address);
    if (!present || compareServices(service, present) < 0) owners.set(virtualServer.address, service);
  }
  return owners;
}

/** Oldest first; a Service without a creationTimestamp is the youngest; then by namespace/name. */
function compareServices(a: ServiceFacts, b: ServiceFacts): number {
  const ageA = a.createdAtMs ?? Number.POSITIVE_INFINITY;
  const ageB = b.createdAtMs ?? Number.POSITIVE_INFINITY;
  if (ageA !== ageB) return ageA < ageB ? -1 : 1;
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}
