import { compareAddresses } from '../model/address.ts';
import { compareRejected, compareText } from '../model/rejected.ts';
import {
  compareIdentities,
  compareRealServers,
  type VirtualServerIdentity,
  type VirtualServerKey,
  virtualServerKey,
} from '../model/virtual-server.ts';
import type {
  Snapshot,
  SnapshotAnnouncement,
  SnapshotNftables,
  SnapshotRealServer,
  SnapshotSocket,
  SnapshotSockets,
  SnapshotVirtualServer,
} from './snapshot.ts';

/**
 * The snapshot with every list in its documented order and every optional field that says no more than its
 * absence left out: two snapshots of one state become the same text. Pure; the input is not changed.
 */
export function canonicalSnapshot(snapshot: Snapshot): Snapshot {
  const { routes, nftables, sockets, announcements, connectionSync, ...rest } = snapshot;
  return {
    ...rest,
    addresses: sorted(snapshot.addresses, compareAddresses),
    ...(routes && routes.length > 0 && { routes: sorted(routes, compareText) }),
    virtualServers: sorted(snapshot.virtualServers, compareVirtualServers).map(canonicalVirtualServer),
    ...(nftables && { nftables: canonicalNftables(nftables) }),
    ...(sockets && { sockets: canonicalSockets(sockets) }),
    ...(announcements &&
      announcements.length > 0 && { announcements: sorted(announcements, compareAnnouncements) }),
    ...(connectionSync &&
      connectionSync.length > 0 && {
        connectionSync: sorted(connectionSync, (a, b) => compareText(a.role, b.role)),
      }),
    rejected: sorted(snapshot.rejected, compareRejected),
  };
}

/** What the kernel looks the virtual server up by; a mark without a family is an IPv4 one. */
export function identityOf(virtualServer: SnapshotVirtualServer): VirtualServerIdentity {
  const { address, port, protocol, firewallMark, family } = virtualServer;
  if (address !== null && port !== null && protocol !== null) {
    return { kind: 'address', address, port, protocol };
  }
  return { kind: 'firewallMark', family: family ?? 'IPv4', firewallMark: firewallMark ?? 0 };
}

/** The key of a socket balancer's frontend, which is that of the virtual server beside it. */
export function socketKeyOf({ address, port, protocol }: SnapshotSocket): VirtualServerKey {
  return virtualServerKey({ kind: 'address', address, port, protocol });
}

/** The key of a virtual server's identity, equal in the model and in every dataplane. */
export function keyOf(virtualServer: SnapshotVirtualServer): VirtualServerKey {
  return virtualServerKey(identityOf(virtualServer));
}

function canonicalNftables({ table, chains, sets, others = [] }: SnapshotNftables): SnapshotNftables {
  const byName = (a: { readonly name: string }, b: { readonly name: string }) => compareText(a.name, b.name);
  return {
    table,
    chains: sorted(chains, byName),
    sets: sorted(sets, byName)
      .filter(({ elements, declaration }) => elements.length > 0 || declaration !== undefined)
      .map((set) => ({ ...set, elements: sorted(set.elements, compareText) })),
    ...(others.length > 0 && { others: sorted(others, compareText) }),
  };
}

function canonicalSockets({ services, ...rest }: SnapshotSockets): SnapshotSockets {
  const compare = (a: SnapshotSocket, b: SnapshotSocket) =>
    compareIdentities({ kind: 'address', ...a }, { kind: 'address', ...b });
  return {
    ...rest,
    services: sorted(services, compare).map(({ affinitySeconds, realServers, ...socket }) => ({
      ...socket,
      ...(affinitySeconds && { affinitySeconds }),
      realServers: sorted(realServers, compareRealServers),
    })),
  };
}

function compareAnnouncements(a: SnapshotAnnouncement, b: SnapshotAnnouncement): number {
  return compareText(a.family, b.family) || a.group - b.group;
}

function compareVirtualServers(a: SnapshotVirtualServer, b: SnapshotVirtualServer): number {
  return compareIdentities(identityOf(a), identityOf(b));
}

function canonicalVirtualServer(virtualServer: SnapshotVirtualServer): SnapshotVirtualServer {
  const { persistenceNetmask, schedulerFlags, onePacket, persistenceEngine, ...rest } = virtualServer;
  return {
    ...rest,
    ...(narrowsNothing(persistenceNetmask) ? {} : { persistenceNetmask }),
    ...(schedulerFlags &&
      schedulerFlags.length > 0 && { schedulerFlags: sorted(schedulerFlags, compareText) }),
    ...(onePacket && { onePacket }),
    ...(persistenceEngine && { persistenceEngine }),
    realServers: sorted(virtualServer.realServers, compareRealServers).map(canonicalRealServer),
  };
}

/** Whether clients are told apart by their whole address, as without a netmask. */
function narrowsNothing(netmask: string | undefined): netmask is undefined {
  return netmask === undefined || netmask === '255.255.255.255' || netmask === '128';
}

function canonicalRealServer(realServer: SnapshotRealServer): SnapshotRealServer {
  const { upperThreshold, lowerThreshold, tunnel, ...rest } = realServer;
  if (upperThreshold === undefined && lowerThreshold === undefined && tunnel === undefined) return realServer;
  return {
    ...rest,
    ...(upperThreshold && { upperThreshold }),
    ...(lowerThreshold && { lowerThreshold }),
    ...(tunnel && realServer.forwarding === 'tunnel' && tunnel.type !== 'ipip' && { tunnel }),
  };
}

function sorted<T>(values: readonly T[], compare: (a: T, b: T) => number): readonly T[] {
  return values.toSorted(compare);
}
