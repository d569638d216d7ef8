import { familyOf, type IpAddress, type IpFamily } from '../../model/address.ts';
import type { Announcement } from '../../model/announcement.ts';
import type { DesiredState } from '../../model/desired-state.ts';
import { groupOf, orderOf } from './groups.ts';
import { announcedIn, project, type VrrpOptions } from './project.ts';
import { groupOfInstance, type InstanceName, instanceName, sortedInstances } from './rows.ts';
import { addressesIn } from './text.ts';

/** What keepalived says of an instance. */
export interface InstanceState {
  readonly state: 'MASTER' | 'BACKUP' | 'FAULT';
  /** ms since the epoch */
  readonly sinceMs: number;
}

const HOLDERS = { MASTER: 'here', BACKUP: 'elsewhere', FAULT: 'barred' } as const;

/** By family, then group. */
export function announcementsOf(
  desired: DesiredState,
  options: VrrpOptions,
  states: ReadonlyMap<InstanceName, InstanceState>,
): readonly Announcement[] {
  return sortedInstances(project(desired, options).rows.instances).map(({ name, config }) => {
    const { family, group } = groupOfInstance(name);
    const known = states.get(name);
    return {
      family,
      group,
      addresses: addressesIn(config),
      holder: known ? HOLDERS[known.state] : null,
      sinceMs: known?.sinceMs ?? null,
      order: orderIn(desired, family, group),
    };
  });
}

/**
 * In words, what becomes of one address: `announced by VRRP group 15, first by n2, then n1, n3`, `at another node since
 * 2026-11-29T01:16:03.000Z`; [] for others.
 * @param states of this host's keepalived; asked for an address that is announced only
 */
export function announcementWords(
  desired: DesiredState,
  options: VrrpOptions,
  address: IpAddress,
  states: () => ReadonlyMap<InstanceName, InstanceState>,
): readonly string[] {
  const announced = announcedIn(desired, options).get(address);
  if (!announced) return [];
  const family = familyOf(address);
  const group = groupOf(address, announced.isLocal, options);
  const [first, ...others] = orderIn(desired, family, group);
  const then = others.length > 0 ? `, then ${others.join(', ')}` : '';
  const here = announced.isAble ? [] : ['not by this node, which has no endpoint for it'];
  const known = states().get(instanceName(family, group));
  return [`announced by VRRP group ${group}, first by ${first}${then}`, ...here, ...placeWords(known)];
}

const PLACES = { MASTER: 'here', BACKUP: 'at another node', FAULT: 'not here' } as const;

/** Nothing where keepalived has not said, as on another host. */
function placeWords(known: InstanceState | undefined): readonly string[] {
  if (!known) return [];
  return [`${PLACES[known.state]} since ${new Date(known.sinceMs).toISOString()}`];
}

function orderIn({ node, otherNodes }: DesiredState, family: IpFamily, group: number): readonly string[] {
  return orderOf(new Set([node, ...otherNodes.values()]), family, group);
}
