import type { IpFamily } from '../../model/address.ts';
import { compareText } from '../../model/rejected.ts';

/** Name of a VRRP instance, of its files and in keepalived's log: `svcplane_4_12`, family and virtual router id. */
export type InstanceName = `svcplane_${4 | 6}_${number}`;

/** One VRRP instance: addresses that move from node to node together. */
export interface InstanceRow {
  readonly name: InstanceName;
  /** Its part of keepalived's configuration. */
  readonly config: string;
  /** Whether this node may hold its addresses; else it is in state FAULT, and another node takes them. */
  readonly isAble: boolean;
  /** The Services whose addresses it has; "" where nobody has told us, as in observed rows. */
  readonly reason: string;
}

/** What keepalived is told and does, observed or wanted. */
export interface VrrpRows {
  /** The part of the configuration that all instances share; null where there is none. */
  readonly main: string | null;
  readonly instances: ReadonlyMap<InstanceName, InstanceRow>;
  /** Whether our keepalived runs, or should. */
  readonly isRunning: boolean;
}

/** Nothing is announced. */
export const NO_ROWS: VrrpRows = { main: null, instances: new Map(), isRunning: false };

/** Equal text, equal configuration. */
export function canonical({ main, instances, isRunning }: VrrpRows): string {
  return [
    `keepalived ${isRunning ? 'running' : 'absent'}`,
    ...(main === null ? [] : [main]),
    ...sortedInstances(instances).map(
      ({ config, isAble, name }) => `${name} ${isAble ? 'able' : 'not able'}\n${config}`,
    ),
  ].join('\n');
}

/** By family, then virtual router id. */
export function sortedInstances(instances: VrrpRows['instances']): readonly InstanceRow[] {
  return [...instances.values()].sort((a, b) => {
    const [one, other] = [groupOfInstance(a.name), groupOfInstance(b.name)];
    return compareText(one.family, other.family) || one.group - other.group;
  });
}

/** The name of the instance of a group. */
export function instanceName(family: IpFamily, group: number): InstanceName {
  return `svcplane_${family === 'IPv4' ? 4 : 6}_${group}`;
}

/** The inverse of {@link instanceName}; a group is a virtual router id. */
export function groupOfInstance(name: InstanceName): { readonly family: IpFamily; readonly group: number } {
  const [, version, group] = name.split('_');
  return { family: version === '4' ? 'IPv4' : 'IPv6', group: Number(group) };
}

/** @returns undefined if it is none of ours */
export function parseInstanceName(text: string): InstanceName | undefined {
  return isInstanceName(text) ? text : undefined;
}

function isInstanceName(text: string): text is InstanceName {
  return /^svcplane_[46]_([1-9]\d{0,2})$/.test(text);
}
