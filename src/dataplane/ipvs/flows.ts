import { familyOf } from '../../model/address.ts';
import {
  compareIdentities,
  compareRealServers,
  parseVirtualServerKey,
  type RealServerKey,
  realServerKey,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { LedgerOrigin } from '../ledger.ts';
import type { FlowEndpoint } from './kernel.ts';
import { deleteFlows, type IpvsOp } from './ops.ts';
import { type Frontend, frontendOf, type IpvsRows, type VirtualServerRow } from './rows.ts';

/**
 * The frontend whose flows `op` makes stale; null for none. It takes an endpoint from clients that conntrack keeps
 * sending there; or it is new, and IPVS leaves alone what conntrack knows from before, on its way to nobody. TCP ends
 * by itself: IPVS resets or drops what it has no real server for, and the client gives up.
 * @param originOf what is known of a virtual server before `op`
 */
export function frontendMadeStale(
  op: IpvsOp,
  originOf: (key: VirtualServerKey) => LedgerOrigin | null | undefined,
): VirtualServerKey | null {
  if (op.op === 'addVirtualServer') return trackedFrontend(op);
  if (op.op !== 'deleteRealServer' && op.op !== 'deleteVirtualServer' && op.op !== 'adoptVirtualServer') {
    return null;
  }
  const { identity } = op;
  const origin = originOf(virtualServerKey(identity)) ?? null;
  // A mark that changes hands takes all endpoints from its former frontend, those of the next one included.
  if (op.op === 'adoptVirtualServer' && (!origin?.frontend || origin.frontend === op.origin.frontend))
    return null;
  return trackedFrontend({ identity, origin });
}

function trackedFrontend(row: Pick<VirtualServerRow, 'identity' | 'origin'>): VirtualServerKey | null {
  const frontend = frontendOf(row);
  return frontend === null || frontend.protocol === 'TCP' ? null : virtualServerKey(frontend);
}

/**
 * One deletion per frontend with stale flows: those that `ops` make, and those that an earlier run left.
 * @param ops in whose wake the deletions come
 */
export function planFlows(observed: IpvsRows, wanted: IpvsRows, ops: readonly IpvsOp[]): readonly IpvsOp[] {
  const stale = new Set<VirtualServerKey>();
  for (const key of observed.staleFlows) if (!wanted.staleFlows.has(key)) stale.add(key);
  for (const op of ops) {
    if (knowsNoFlows(observed) && op.op === 'addVirtualServer') continue;
    const key = frontendMadeStale(op, (server) => observed.virtualServers.get(server)?.origin);
    if (key !== null) stale.add(key);
    const reopened = frontendReopened(op, observed, wanted);
    if (reopened !== null) stale.add(reopened);
  }
  if (stale.size === 0) return [];
  const serving = servingRows(stale, observed, wanted);
  return [...stale]
    .flatMap((key) => frontendWithKey(key))
    .sort(([, a], [, b]) => compareIdentities(a, b))
    .map(([key, frontend]) => {
      const keep = endpointsOf(frontend, serving.get(key) ?? []);
      return deleteFlows(frontend, keep, reasonFor(key, observed, wanted));
    });
}

/** Of a recorded kernel nobody can say who was on the way to a frontend that it did not have. */
export function knowsNoFlows({ sysctls }: IpvsRows): boolean {
  return sysctls === null;
}

/**
 * The SCTP frontend that has an endpoint again after `op`: who tried meanwhile was sent to a closed port of this host,
 * for only that refuses SCTP at once, and conntrack would keep sending whoever tries again from the same port.
 */
function frontendReopened(op: IpvsOp, observed: IpvsRows, wanted: IpvsRows): VirtualServerKey | null {
  if (op.op !== 'addRealServer' && op.op !== 'setRealServer') return null;
  const key = virtualServerKey(op.identity);
  const have = observed.virtualServers.get(key);
  if (!have || [...have.realServers.values()].some(({ config }) => config.weight > 0)) return null;
  const frontend = frontendOf({
    identity: op.identity,
    origin: wanted.virtualServers.get(key)?.origin ?? null,
  });
  return frontend?.protocol === 'SCTP' ? virtualServerKey(frontend) : null;
}

/** The rows that serve the clients of each frontend in the end: its own, that for inside clients, or somebody else's. */
function servingRows(
  frontends: ReadonlySet<VirtualServerKey>,
  observed: IpvsRows,
  wanted: IpvsRows,
): ReadonlyMap<VirtualServerKey, readonly VirtualServerRow[]> {
  const foreignAt = (key: VirtualServerKey) => {
    const row = observed.virtualServers.get(key);
    return row?.owner === 'foreign' ? row : undefined;
  };
  const serving = new Map<VirtualServerKey, VirtualServerRow[]>();
  for (const key of frontends) {
    const row = foreignAt(key) ?? wanted.virtualServers.get(key);
    serving.set(key, row ? [row] : []);
  }
  for (const row of wanted.virtualServers.values()) {
    if (row.origin?.frontend) serving.get(row.origin.frontend)?.push(foreignAt(row.key) ?? row);
  }
  return serving;
}

/** In canonical order, each once. */
function endpointsOf(frontend: Frontend, rows: readonly VirtualServerRow[]): readonly FlowEndpoint[] {
  const endpoints = new Map<RealServerKey, FlowEndpoint>();
  for (const { realServers } of rows) {
    for (const { config } of realServers.values()) {
      if (familyOf(config.address) !== familyOf(frontend.address)) continue;
      // A real server of somebody else may have port 0, which takes that of the packet.
      const endpoint = { address: config.address, port: config.port === 0 ? frontend.port : config.port };
      endpoints.set(realServerKey(endpoint), endpoint);
    }
  }
  return [...endpoints.values()].sort(compareRealServers);
}

function frontendWithKey(key: VirtualServerKey): (readonly [VirtualServerKey, Frontend])[] {
  const identity = parseVirtualServerKey(key);
  return identity?.kind === 'address' ? [[key, identity]] : [];
}

function reasonFor(key: VirtualServerKey, observed: IpvsRows, wanted: IpvsRows): string {
  const want = wanted.virtualServers.get(key);
  const have = observed.virtualServers.get(key);
  if (want) return have ? `the endpoints of ${want.reason} change` : `${want.reason} is served from now on`;
  const had = have?.reason ?? '';
  return had === '' ? 'its virtual server is deleted' : `no longer a frontend of ${had}`;
}
