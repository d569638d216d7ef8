import { compareAddresses, type IpAddress } from '../../model/address.ts';
import { compareText } from '../../model/rejected.ts';
import {
  compareRealServers,
  formatEndpoint,
  type RealServerKey,
  type VirtualServerKey,
  virtualServerKey,
} from '../../model/virtual-server.ts';
import type { ProgramState } from './kernel.ts';
import { CONFIG_FLAG, type FrontendKey, HOST_NAMESPACE_SHIFT } from './layout.ts';
import type { Remain } from './remains.ts';

/** How a real server is chosen when a socket connects: at random by weight, or by a table that the client's network namespace is looked up in. */
export type SocketAlgorithm = 'random' | 'maglev';

/** One endpoint of a frontend. */
export interface BackendRow {
  readonly address: IpAddress;
  /** Host order. */
  readonly port: number;
  /** How many slots lead to it; 0: it takes no new connections, and keeps its UDP flows. */
  readonly weight: number;
  /** Of its element; null in wanted rows. */
  readonly id: number | null;
}

/** Where the kernel has a frontend. */
export interface ServicePlace {
  readonly id: number;
  readonly generation: number;
}

/** One frontend: sockets that connect to it are connected to one of its backends. */
export interface ServiceRow extends FrontendKey {
  readonly key: VirtualServerKey;
  readonly algorithm: SocketAlgorithm;
  /** 0 without affinity. */
  readonly affinitySeconds: number;
  /** Those with slots, and in wanted rows those of weight 0, too. None: connections are refused. */
  readonly backends: ReadonlyMap<RealServerKey, BackendRow>;
  /** null in wanted rows. */
  readonly place: ServicePlace | null;
  /** Why its elements can't be used as they are; null if they can, and in wanted rows. */
  readonly fault: string | null;
  /** What it follows from, in words: `Service web/front port http`; "" in observed rows. */
  readonly reason: string;
}

/** The switch, as lb_cfg has it. */
export interface SocketSwitch {
  /** See CONFIG_FLAG. */
  readonly flags: number;
  readonly udpFlowSeconds: number;
}

/** The socket balancer of one node, observed or wanted. All of it is ours, for its maps are ours by name. */
export interface SocklbRows {
  readonly services: ReadonlyMap<VirtualServerKey, ServiceRow>;
  readonly config: SocketSwitch;
  readonly programs: ProgramState;
  /** Elements that nothing leads to any more, by remainKey(); none in wanted rows. */
  readonly remains: ReadonlyMap<string, Remain>;
  /** The highest ids ever given; 0 in wanted rows. */
  readonly lastServiceId: number;
  readonly lastBackendId: number;
  /** When the rows were read, in ms of a clock that nobody sets: remains age by it. 0 in wanted rows. */
  readonly observedAtMs: number;
  /** Why maps or programs can't be looked at, in one line: then nothing of them is known. null if they can. */
  readonly obstacle: string | null;
}

/** No maps and no programs, as where the balancer never was. */
export const EMPTY_ROWS: SocklbRows = {
  services: new Map(),
  config: { flags: 0, udpFlowSeconds: 0 },
  programs: 'absent',
  remains: new Map(),
  lastServiceId: 0,
  lastBackendId: 0,
  observedAtMs: 0,
  obstacle: null,
};

/** How the switch is set, as configurations name it. */
export type SocketMode = 'on' | 'off' | 'hostOnly';

/** What flags mean; undefined for those no configuration gives. */
export function modeOf(flags: number): SocketMode | undefined {
  if (flags === 0) return 'on';
  if (flags % HOST_NAMESPACE_UNIT === CONFIG_FLAG.hostOnly) return 'hostOnly';
  return flags === CONFIG_FLAG.off ? 'off' : undefined;
}

/** The inverse of {@link modeOf}. @param hostNamespace which of all network namespaces is the node's; 0: the initial one */
export function flagsOf(mode: SocketMode, hostNamespace = 0): number {
  if (mode === 'hostOnly') return CONFIG_FLAG.hostOnly + hostNamespace * HOST_NAMESPACE_UNIT;
  return mode === 'on' ? 0 : CONFIG_FLAG.off;
}

/** The mode in words, and which namespace is the node's where that is told. */
export function switchText(flags: number): string {
  const hostNamespace = Math.floor(flags / HOST_NAMESPACE_UNIT);
  const mode = modeOf(flags);
  if (mode === undefined) return `flags ${flags}`;
  return hostNamespace === 0 ? mode : `${mode} of namespace ${hostNamespace}`;
}

const HOST_NAMESPACE_UNIT = 2 ** HOST_NAMESPACE_SHIFT;

/** Whether a frontend is looked up in a Maglev table, be it there or planned. */
export function hasTable(service: {
  readonly algorithm: SocketAlgorithm;
  readonly backends: { values(): IteratorObject<Pick<BackendRow, 'weight'>> };
}): boolean {
  return service.algorithm === 'maglev' && service.backends.values().some(({ weight }) => weight > 0);
}

/** How many slots backends have together. */
export function slotsIn(backends: ServiceRow['backends']): number {
  let slots = 0;
  for (const { weight } of backends.values()) slots += weight;
  return slots;
}

/** The key of a frontend, as of the virtual server it follows from. */
export function keyOf({ address, port, protocol }: FrontendKey): VirtualServerKey {
  return virtualServerKey({ kind: 'address', address, port, protocol });
}

/** In canonical order: address, numerically, then protocol, then port. */
export function sortedServices({ services }: Pick<SocklbRows, 'services'>): ServiceRow[] {
  return [...services.values()].sort(compareFrontends);
}

/** By address, numerically, then port. */
export function sortedBackends<Backend extends Pick<BackendRow, 'address' | 'port'>>(
  backends: ReadonlyMap<RealServerKey, Backend>,
): Backend[] {
  return [...backends.values()].sort(compareRealServers);
}

function compareFrontends(a: FrontendKey, b: FrontendKey): number {
  return compareAddresses(a.address, b.address) || compareText(a.protocol, b.protocol) || a.port - b.port;
}

/**
 * Stable text of the configuration in `rows`, ids and all: what is planned from one text may not be applied to another,
 * for ids must not be given twice. Remains do not count.
 */
export function canonical(rows: SocklbRows): string {
  const { config, programs, lastServiceId, lastBackendId, obstacle } = rows;
  return [
    ...(obstacle === null ? [] : [`${obstacle}\n`]),
    `programs ${programs}, flags ${config.flags}, UDP ${config.udpFlowSeconds} s, ids ${lastServiceId} ${lastBackendId}\n`,
    ...sortedServices(rows).map((row) => `${serviceText(row)} ${placeText(row)}\n`),
  ].join('');
}

/** A frontend in one line: `TCP 10.96.0.50:80 random affinity 10800 10.244.1.20:8080 weight 2`. */
export function serviceText({ key, algorithm, affinitySeconds, backends }: ServiceRow): string {
  return [
    key,
    algorithm,
    ...(affinitySeconds > 0 ? [`affinity ${affinitySeconds}`] : []),
    ...sortedBackends(backends).map(backendText),
  ].join(' ');
}

function backendText({ address, port, weight }: BackendRow): string {
  return `${formatEndpoint(address, port)}${weight === 1 ? '' : ` weight ${weight}`}`;
}

function placeText({ place, backends, fault }: ServiceRow): string {
  const ids = sortedBackends(backends).map(({ id }) => id);
  return `${place?.id}/${place?.generation} [${ids.join(' ')}]${fault === null ? '' : ` ${fault}`}`;
}
