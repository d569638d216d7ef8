import { compareText } from '../../model/rejected.ts';
import { realServerKey } from '../../model/virtual-server.ts';
import {
  flagNames,
  type IpvsRows,
  type RealServerConfig,
  sortedRealServers,
  sortedVirtualServers,
  type VirtualServerConfig,
} from './rows.ts';

/** What is shown of a configuration, by name; what has its default is left out. */
export type Fields = ReadonlyMap<string, string>;

export function configFields(config: VirtualServerConfig): Fields {
  const fields = new Map<string, string>([['scheduler', config.scheduler]]);
  if (config.persistenceTimeoutSeconds !== null) {
    fields.set('persistent', `${config.persistenceTimeoutSeconds} s`);
  }
  if (config.netmask !== null) fields.set('netmask', config.netmask);
  if (config.persistenceEngine !== null) fields.set('persistence engine', config.persistenceEngine);
  if (config.flags !== 0) fields.set('flags', flagNames(config.flags).join(' '));
  return fields;
}

export function realServerFields(config: RealServerConfig): Fields {
  const { upperThreshold, lowerThreshold, tunnel } = config;
  const fields = new Map<string, string>([['weight', `${config.weight}`]]);
  if (config.forwarding !== 'masquerade') fields.set('forwarding', config.forwarding);
  if (upperThreshold !== 0) fields.set('upper threshold', `${upperThreshold}`);
  if (lowerThreshold !== 0) fields.set('lower threshold', `${lowerThreshold}`);
  if (tunnel) fields.set('tunnel', `${tunnel.type} port ${tunnel.port} ${tunnel.checksum}`);
  return fields;
}

/** `scheduler rr, persistent 10800 s` */
export function describe(fields: Fields): string {
  return Array.from(fields, ([name, value]) => `${name} ${value}`).join(', ');
}

/** `scheduler rr → wrr, persistent none → 10800 s`: the fields that differ. */
export function describeChange(before: Fields, after: Fields): string {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => before.get(name) !== after.get(name))
    .map((name) => `${name} ${before.get(name) ?? 'none'} → ${after.get(name) ?? 'none'}`)
    .join(', ');
}

/** `1 real server`, `2 real servers` */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/**
 * Stable text of all configuration, ours and foreign, without counters or times: the kernel has moved exactly if
 * this text has.
 */
export function canonicalText(rows: IpvsRows): string {
  const lines: string[] = [];
  for (const row of sortedVirtualServers(rows)) {
    lines.push(`${row.key} ${row.owner}, ${describe(configFields(row.config))}`);
    for (const { config } of sortedRealServers(row)) {
      lines.push(`  -> ${realServerKey(config)} ${describe(realServerFields(config))}`);
    }
  }
  const sysctls = [...(rows.sysctls ?? [])].sort(([a], [b]) => compareText(a, b));
  for (const [name, { value }] of sysctls) lines.push(`${name} = ${value}`);
  return lines.map((line) => `${line}\n`).join('');
}
