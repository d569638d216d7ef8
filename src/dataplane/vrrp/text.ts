import { compareAddresses, type IpAddress, type IpFamily, parseIpAddress } from '../../model/address.ts';
import { hostPrefixLength } from '../../model/cidr.ts';
import { markerOf } from './groups.ts';
import type { InstanceName } from './rows.ts';

/** Files of the directory that is ours, by name. */
export const MAIN_FILE = 'keepalived.conf';
export const instanceFile = (name: InstanceName): string => `${name}.conf`;
/** Is there while keepalived does what the other files say. */
export const LOADED_FILE = 'loaded';
/** Holds a number: 0, or 1 where this node may not hold the addresses. */
export const trackFile = (name: InstanceName): string => `${name}.track`;

export interface Instance {
  readonly name: InstanceName;
  readonly family: IpFamily;
  readonly id: number;
  /** 1 to 254. */
  readonly priority: number;
  readonly interface: string;
  readonly advertSeconds: number;
  /** null where a node that comes back leaves addresses where they are. */
  readonly preemptDelaySeconds: number | null;
  /** Own address and those of all others; null for adverts by multicast. */
  readonly unicast: { readonly source: IpAddress; readonly peers: readonly IpAddress[] } | null;
  /** "" for none. Only VRRP version 2, of IPv4, has it. */
  readonly password: string;
  /** Sorted. */
  readonly addresses: readonly IpAddress[];
}

/**
 * What all instances share.
 * @param directory ours
 * @see keepalived.conf(5)
 */
export function mainText(node: string, directory: string): string {
  return [
    'global_defs {',
    `  router_id ${node}`,
    // Where a switch or host has missed the first.
    '  vrrp_garp_master_refresh 60',
    '}',
    `include ${directory}/svcplane_*.conf`,
    '',
  ].join('\n');
}

/**
 * One instance, with the file by which it is told whether this node may hold it. What it advertises is a marker, the
 * same on all nodes and at any time: keepalived drops adverts that name other addresses than its own, so that two
 * nodes, one of which learns of a new Service a moment later, would both hold all.
 * @see keepalived.conf(5)
 */
export function instanceText(instance: Instance, directory: string): string {
  const { name, family, id, priority, advertSeconds, preemptDelaySeconds, password } = instance;
  const hasPassword = password !== '' && family === 'IPv4';
  const preemption = preemptDelaySeconds === null ? ['nopreempt'] : delayed(preemptDelaySeconds);
  return [
    ...block(`vrrp_track_file ${name}`, [`file ${directory}/${trackFile(name)}`, 'weight 0']),
    ...block(`vrrp_instance ${name}`, [
      'state BACKUP',
      `interface ${instance.interface}`,
      `virtual_router_id ${id}`,
      `priority ${priority}`,
      `version ${hasPassword ? 2 : 3}`,
      `advert_int ${advertSeconds}`,
      ...preemption,
      ...(hasPassword ? block('authentication', ['auth_type PASS', `auth_pass ${password}`]) : []),
      ...(instance.unicast ? unicastLines(instance.unicast) : []),
      ...block('track_file', [name]),
      ...block('virtual_ipaddress', [`${markerOf(family, id)}/${family === 'IPv4' ? 32 : 128}`]),
      ...block('virtual_ipaddress_excluded', instance.addresses.map(addressLine)),
    ]),
    '',
  ].join('\n');
}

const EXCLUDED = /(virtual_ipaddress_excluded \{\n)([^}]*)( {2}\})/;

/** The addresses that an instance's text has. */
export function addressesIn(config: string): readonly string[] {
  const lines = EXCLUDED.exec(config)?.[2]?.split('\n') ?? [];
  return lines.flatMap((line) => line.trim().split('/', 1)).filter((address) => address !== '');
}

/** An instance's text with these addresses instead of its own. */
export function withAddresses(config: string, texts: readonly string[]): string {
  const addresses = texts.flatMap((text) => parseIpAddress(text) ?? []);
  const lines = addresses.sort(compareAddresses).map(addressLine);
  return config.replace(EXCLUDED, (_, begin: string, __, end: string) => {
    return `${begin}${lines.map((line) => `    ${line}\n`).join('')}${end}`;
  });
}

function addressLine(address: IpAddress): string {
  return `${address}/${hostPrefixLength(address)}`;
}

function delayed(seconds: number): readonly string[] {
  return seconds === 0 ? [] : [`preempt_delay ${seconds}`];
}

function unicastLines({ source, peers }: NonNullable<Instance['unicast']>): readonly string[] {
  return [`unicast_src_ip ${source}`, ...block('unicast_peer', peers)];
}

function block(name: string, lines: readonly string[]): readonly string[] {
  return [`${name} {`, ...lines.map((line) => `  ${line}`), '}'];
}
