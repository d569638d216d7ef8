import { compareAddresses, familyOf, type IpAddress, type IpFamily } from '../../model/address.ts';
import { type Cidr, cidrContains } from '../../model/cidr.ts';
import type { DesiredState } from '../../model/desired-state.ts';
import { compareRejected, type Rejected } from '../../model/rejected.ts';
import type { Projection } from '../dataplane.ts';
import { type GroupOptions, groupOf, orderOf } from './groups.ts';
import {
  groupOfInstance,
  type InstanceName,
  type InstanceRow,
  instanceName,
  NO_ROWS,
  type VrrpRows,
} from './rows.ts';
import { type Instance, instanceText, mainText } from './text.ts';

export interface VrrpOptions extends GroupOptions {
  /** With `off` nothing is announced, and what was is taken back. */
  readonly mode: 'off' | 'keepalived';
  readonly interface: string;
  /** Addresses that are announced; empty: every load balancer's. */
  readonly ranges: readonly Cidr[];
  readonly advertSeconds: number;
  readonly preempt: boolean;
  readonly preemptDelaySeconds: number;
  readonly peers: 'nodes' | 'multicast';
  readonly password: string;
  /** Where keepalived's configuration is written: ours alone. */
  readonly directory: string;
}

/** One address that nodes take over from each other. */
export interface Announced {
  readonly address: IpAddress;
  readonly isLocal: boolean;
  /** Whether whoever comes to this node for it is served; with policy Local that takes an endpoint here. */
  readonly isAble: boolean;
  readonly services: ReadonlySet<string>;
}

/** The first of all nodes for a group. */
const TOP_PRIORITY = 200;
/** What a node lacks that serves only some of the addresses of a group. */
const LOWERED = 100;

/** The VRRP instances that `desired` means for this node; none where nothing is announced. */
export function project(desired: DesiredState, options: VrrpOptions): Projection<VrrpRows> {
  const groups = new Map<InstanceName, Announced[]>();
  for (const announced of announcedIn(desired, options).values()) {
    const { address, isLocal } = announced;
    const name = instanceName(familyOf(address), groupOf(address, isLocal, options));
    groups.set(name, [...(groups.get(name) ?? []), announced]);
  }
  if (groups.size === 0) return { rows: NO_ROWS, refused: [] };
  const instances = new Map(
    [...groups].map(([name, members]): [InstanceName, InstanceRow] => [
      name,
      instanceRow(name, members, desired, options),
    ]),
  );
  const refused = [...groups.values()].flatMap(sharedAtOdds).sort(compareRejected);
  return { rows: { main: mainText(desired.node, options.directory), instances, isRunning: true }, refused };
}

/** By address. Of two frontends of one address both must be served here. */
export function announcedIn(
  { virtualServers }: Pick<DesiredState, 'virtualServers'>,
  { mode, ranges }: Pick<VrrpOptions, 'mode' | 'ranges'>,
): ReadonlyMap<IpAddress, Announced> {
  const all = new Map<IpAddress, Announced>();
  if (mode === 'off') return all;
  for (const {
    address,
    exposure,
    bindAddress,
    trafficPolicy,
    realServers,
    service,
  } of virtualServers.values()) {
    if (exposure !== 'LoadBalancer' || !bindAddress) continue;
    if (ranges.length > 0 && !ranges.some((range) => cidrContains(range, address))) continue;
    const known = all.get(address);
    const isLocal = trafficPolicy === 'Local';
    all.set(address, {
      address,
      isLocal: isLocal || known?.isLocal === true,
      isAble: (!isLocal || realServers.length > 0) && known?.isAble !== false,
      services: new Set([...(known?.services ?? []), service]),
    });
  }
  return all;
}

function instanceRow(
  name: InstanceName,
  members: readonly Announced[],
  desired: DesiredState,
  options: VrrpOptions,
): InstanceRow {
  const { family, group: id } = groupOfInstance(name);
  const able = members.filter(({ isAble }) => isAble).length;
  const order = orderOf(new Set([desired.node, ...desired.otherNodes.values()]), family, id);
  const top = TOP_PRIORITY - (able > 0 && able < members.length ? LOWERED : 0);
  const instance: Instance = {
    name,
    family,
    id,
    priority: Math.max(1, top - order.indexOf(desired.node)),
    interface: options.interface,
    advertSeconds: options.advertSeconds,
    preemptDelaySeconds: options.preempt ? options.preemptDelaySeconds : null,
    unicast: options.peers === 'nodes' ? unicastOf(family, desired) : null,
    password: options.password,
    addresses: members.map(({ address }) => address).sort(compareAddresses),
  };
  const services = [...new Set(members.flatMap((member) => [...member.services]))].sort();
  return {
    name,
    config: instanceText(instance, options.directory),
    isAble: able > 0,
    reason: services.map((service) => `Service ${service}`).join(', '),
  };
}

/** To each other node's first address of the family, from the own. Without any, or without an own one: by multicast. */
function unicastOf(family: IpFamily, { nodeAddresses, otherNodes }: DesiredState): Instance['unicast'] {
  const source = nodeAddresses.find((address) => familyOf(address) === family);
  const peers = new Map<string, IpAddress>();
  for (const [address, node] of otherNodes) {
    if (familyOf(address) === family && !peers.has(node)) peers.set(node, address);
  }
  if (source === undefined || peers.size === 0) return null;
  return { source, peers: [...peers.values()].sort(compareAddresses) };
}

/** Addresses of policy Local that move together, though not all of them are served here. */
function sharedAtOdds(members: readonly Announced[]): readonly Rejected[] {
  const unable = members.filter(({ isAble }) => !isAble);
  if (unable.length === 0 || unable.length === members.length) return [];
  return unable.map(({ address, services }) => ({
    subject: `Service ${[...services].sort().join(', ')}`,
    reason:
      `${address} shares a virtual router id with ${members.length - 1} other addresses of policy Local: where this ` +
      'node holds them, it has no endpoint for this one: more ids (vrrp.firstId to vrrp.lastId) make that rarer',
  }));
}
