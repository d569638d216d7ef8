import type { IpvsOptions } from '../../../src/dataplane/ipvs/index.ts';
import { reasonOf } from '../../../src/dataplane/ipvs/ops.ts';
import type { PlanOptions } from '../../../src/dataplane/ipvs/plan.ts';
import {
  type IpvsRows,
  NO_CONNECTIONS,
  type RealServerRow,
  type SysctlRow,
  type VirtualServerConfig,
  type VirtualServerRow,
} from '../../../src/dataplane/ipvs/rows.ts';
import type { Ledger } from '../../../src/dataplane/ledger.ts';
import { type IpAddress, parseIpAddress } from '../../../src/model/address.ts';
import type { DesiredState } from '../../../src/model/desired-state.ts';
import { type Port, type Protocol, parsePort } from '../../../src/model/port.ts';
import { type Scheduler, schedulerFromKernel } from '../../../src/model/scheduler.ts';
import {
  type Exposure,
  realServerKey,
  type VirtualServer,
  type VirtualServerIdentity,
  virtualServerKey,
} from '../../../src/model/virtual-server.ts';

/** Small makers of rows: `row('TCP 10.96.0.50:80', { realServers: [real('10.1.0.1:80')] })`. */

export const NOW_MS = 1_800_000_000_000;

export const OPTIONS: PlanOptions = {
  drainTimeoutSeconds: 60,
  drainDeletedServices: true,
  defaultScheduler: scheduler('rr'),
};

export const ALL_OPTIONS: IpvsOptions = { ...OPTIONS, excludeCIDRs: [], ipv6: true, strictARP: 'auto' };

export function scheduler(name: string): Scheduler {
  return schedulerFromKernel(name);
}

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (!address) throw new RangeError(`no address: ${text}`);
  return address;
}

/** @param text as keys are written: `TCP [fd00::1]:80`, `FWM4 17` */
export function identity(text: string): VirtualServerIdentity {
  const [kind = '', rest = ''] = text.split(' ');
  if (kind.startsWith('FWM')) {
    return {
      kind: 'firewallMark',
      family: kind === 'FWM4' ? 'IPv4' : 'IPv6',
      firewallMark: Number(rest),
    };
  }
  return { kind: 'address', protocol: protocolOf(kind), ...endpoint(rest) };
}

export function config(fields: Partial<VirtualServerConfig> = {}): VirtualServerConfig {
  return {
    scheduler: scheduler('rr'),
    flags: 0,
    persistenceTimeoutSeconds: null,
    netmask: null,
    persistenceEngine: null,
    ...fields,
  };
}

type RealFields = Partial<Omit<RealServerRow, 'config' | 'drain'> & RealServerRow['config']> & {
  /** It drains since then; for this long, by default as configured. */
  readonly drainStartedAtMs?: number | null;
  readonly timeoutSeconds?: number | null;
};

/** @param text `10.1.0.1:80` or `[fd00::1]:80` */
export function real(text: string, fields: RealFields = {}): RealServerRow {
  const {
    activeConnections = 0,
    inactiveConnections = 0,
    drainStartedAtMs = null,
    timeoutSeconds = null,
    reason = '',
    ...given
  } = fields;
  return {
    config: {
      ...endpoint(text),
      weight: 1,
      forwarding: 'masquerade',
      upperThreshold: 0,
      lowerThreshold: 0,
      tunnel: null,
      ...given,
    },
    ...NO_CONNECTIONS,
    activeConnections,
    inactiveConnections,
    drain: drainStartedAtMs === null ? null : { startedAtMs: drainStartedAtMs, timeoutSeconds },
    reason,
  };
}

export interface RowFields {
  readonly config?: Partial<VirtualServerConfig>;
  readonly realServers?: readonly RealServerRow[];
  readonly owner?: 'svcplane' | 'foreign';
  readonly service?: string;
  readonly exposure?: Exposure;
  /** Of a firewall mark: the frontend whose inside clients bear it. */
  readonly frontend?: string;
  /** What its Service says; by default as configured. */
  readonly drainTimeoutSeconds?: number | null;
}

/** Ours, and of Service web/front port http, unless told otherwise. */
export function row(text: string, fields: RowFields = {}): VirtualServerRow {
  const { owner = 'svcplane', service = 'web/front', exposure = 'ClusterIP', realServers = [] } = fields;
  const { drainTimeoutSeconds = null } = fields;
  const id = identity(text);
  const frontend = fields.frontend === undefined ? null : virtualServerKey(identity(fields.frontend));
  const origin =
    owner === 'svcplane' ? { service, servicePort: 'http', exposure, frontend, drainTimeoutSeconds } : null;
  return {
    key: virtualServerKey(id),
    identity: id,
    config: config(fields.config),
    realServers: new Map(realServers.map((realServer) => [realServerKey(realServer.config), realServer])),
    owner,
    origin,
    reason: origin ? reasonOf(origin) : '',
  };
}

export interface RowsFields {
  readonly sysctls?: Readonly<Record<string, SysctlRow | string>> | null;
  readonly unavailableSchedulers?: readonly string[];
  readonly staleFlows?: readonly string[];
}

/** Observed at {@link NOW_MS}; sysctls unknown unless given. */
export function rows(virtualServers: readonly VirtualServerRow[], fields: RowsFields = {}): IpvsRows {
  const { sysctls = null, unavailableSchedulers = [], staleFlows = [] } = fields;
  const sysctlRow = (given: SysctlRow | string) =>
    typeof given === 'string' ? { value: given, changed: null } : given;
  return {
    virtualServers: new Map(virtualServers.map((virtualServer) => [virtualServer.key, virtualServer])),
    sysctls: sysctls && new Map(Object.entries(sysctls).map(([name, given]) => [name, sysctlRow(given)])),
    observedAtMs: NOW_MS,
    unavailableSchedulers: new Set(unavailableSchedulers.map(scheduler)),
    staleFlows: new Set(staleFlows.map((text) => virtualServerKey(identity(text)))),
  };
}

/** What the desired state says of `row('TCP 10.96.0.50:80', …)`. */
export function virtualServer(text: string, fields: Partial<VirtualServer> = {}): VirtualServer {
  const id = identity(text);
  if (id.kind !== 'address') throw new RangeError(`no address: ${text}`);
  return {
    key: virtualServerKey(id),
    address: id.address,
    port: port(id.port),
    protocol: id.protocol,
    scheduler: scheduler('rr'),
    persistenceTimeoutSeconds: null,
    drainTimeoutSeconds: null,
    socketLoadBalancer: true,
    exposure: 'ClusterIP',
    bindAddress: true,
    otherNode: null,
    service: 'web/front',
    servicePort: 'http',
    trafficPolicy: 'Cluster',
    realServers: [],
    insideRealServers: null,
    sourceRanges: null,
    origin: 'Service web/front port http',
    ...fields,
  };
}

/** @param insideMarks by the text of the frontend's key */
export function desiredState(
  virtualServers: readonly VirtualServer[],
  insideMarks: Readonly<Record<string, number>> = {},
): DesiredState {
  return {
    node: 'n0',
    virtualServers: new Map(virtualServers.map((server) => [server.key, server])),
    insideMarks: new Map(
      Object.entries(insideMarks).map(([text, mark]) => [virtualServerKey(identity(text)), mark]),
    ),
    healthChecks: [],
    serviceCIDRs: [],
    podRanges: { cluster: [], node: [] },
    nodeAddresses: [],
    otherNodes: new Map(),
    hostAddresses: null,
    rejected: [],
  };
}

/** One endpoint of {@link virtualServer}. */
export function endpointOf(text: string, weight = 1) {
  const { address, port: number } = endpoint(text);
  return { address, port: port(number), weight, local: false, origin: 'EndpointSlice web/front-x7k2p' };
}

/** A ledger that owns these virtual servers. */
export function ledgerOf(...virtualServers: readonly VirtualServerRow[]): Ledger['virtualServers'] {
  return new Map(virtualServers.flatMap(({ key, origin }) => (origin ? [[key, origin] as const] : [])));
}

function endpoint(text: string) {
  const colon = text.lastIndexOf(':');
  return { address: ip(text.slice(0, colon).replace(/[[\]]/g, '')), port: Number(text.slice(colon + 1)) };
}

function port(value: number): Port {
  const parsed = parsePort(value);
  if (parsed === undefined) throw new RangeError(`no port: ${value}`);
  return parsed;
}

function protocolOf(name: string): Protocol {
  if (name === 'TCP' || name === 'UDP' || name === 'SCTP') return name;
  throw new RangeError(`no protocol: ${name}`);
}
