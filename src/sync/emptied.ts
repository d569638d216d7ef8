import type { Served } from '../dataplane/dataplane.ts';
import type { DesiredState } from '../model/desired-state.ts';
import type { VirtualServer, VirtualServerKey } from '../model/virtual-server.ts';

/** Services by what becomes of their endpoints, as `namespace/name`; without those that are not wanted at all. */
export interface EndpointCounts {
  /** Those whose clients reach an endpoint now. */
  readonly served: ReadonlySet<string>;
  /** Those of them that would have none left. */
  readonly emptied: ReadonlySet<string>;
}

/** Pure: what the guard judges of endpoints. */
export function countEndpoints({ virtualServers }: DesiredState, now: Served): EndpointCounts {
  const served = new Set<string>();
  const kept = new Set<string>();
  for (const virtualServer of virtualServers.values()) {
    if (now.has(virtualServer.key)) served.add(virtualServer.service);
    if (hasEndpoints(virtualServer)) kept.add(virtualServer.service);
  }
  return { served, emptied: served.difference(kept) };
}

/** Pure: the Services that `before` has endpoints for, and that `after` has without any. */
export function emptiedBetween(
  before: Pick<DesiredState, 'virtualServers'>,
  after: Pick<DesiredState, 'virtualServers'>,
): ReadonlySet<string> {
  const had = new Set<string>();
  for (const virtualServer of before.virtualServers.values()) {
    if (hasEndpoints(virtualServer)) had.add(virtualServer.service);
  }
  const emptied = new Set<string>();
  for (const { service } of after.virtualServers.values()) if (had.has(service)) emptied.add(service);
  for (const virtualServer of after.virtualServers.values()) {
    if (hasEndpoints(virtualServer)) emptied.delete(virtualServer.service);
  }
  return emptied;
}

/** Pure: `desired`, with the endpoints that these Services have now. */
export function withServedEndpoints(
  desired: DesiredState,
  now: Served,
  services: ReadonlySet<string>,
): DesiredState {
  const virtualServers = new Map<VirtualServerKey, VirtualServer>();
  for (const [key, virtualServer] of desired.virtualServers) {
    const isHeld = services.has(virtualServer.service) && now.has(key);
    virtualServers.set(key, isHeld ? heldServer(virtualServer, now) : virtualServer);
  }
  return { ...desired, virtualServers };
}

function heldServer(virtualServer: VirtualServer, now: Served): VirtualServer {
  const { realServers, inside } = now.endpoints(virtualServer.key);
  return {
    ...virtualServer,
    realServers,
    insideRealServers: virtualServer.insideRealServers === null ? null : inside,
  };
}

function hasEndpoints({ realServers, insideRealServers }: VirtualServer): boolean {
  return realServers.length > 0 || (insideRealServers?.length ?? 0) > 0;
}
