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

/** What is shown of a configuration; what has its default is left out. */
export type Fields = readonly Field[];

export interface Field {
  readonly name: string;
  readonly value: string;
}

export function configFields(config: VirtualServerConfig): Fields {
  const fields: Field[] = [{ name: 'scheduler', value: config.scheduler }];
  if (config.persistenceTimeoutSeconds !== null) {
    fields.push({ name: 'persistent', value: `${config.persistenceTimeoutSeconds} s` });
  }
  if (config.netmask !== null) fields.push({ name: 'netmask', value: config.netmask });
  if (config.persistenceEngine !== null) {
    fields.push({ name: 'persistence engine', value: config.persistenceEngine });
  }
  if (config.flags !== 0) fields.push({ name: 'flags', value: flagNames(config.flags).join(' ') });
  return fields;
}

export function realServerFields(config: RealServerConfig): Fields {
  const { upperThreshold, lowerThreshold, tunnel } = config;
  const fields: Field[] = [{ name: 'weight', value: `${config.weight}` }];
  if (config.forwarding !== 'masquerade') fields.push({ name: 'forwarding', value: config.forwarding });
  if (upperThreshold !== 0) fields.push({ name: 'upper threshold', value: `${upperThreshold}` });
  if (lowerThreshold !== 0) fields.push({ name: 'lower threshold', value: `${lowerThreshold}` });
  if (tunnel) {
    fields.push({ name: 'tunnel', value: `${tunnel.type} port ${tunnel.port} ${tunnel.checksum}` });
  }
  return fields;
}

/** `scheduler rr, persistent 10800 s` */
export function describe(fields: Fields): string {
  let text = '';
  for (const { name, value } of fields) text += `${text === '' ? '' : ', '}${name} ${value}`;
  return text;
}

/** `scheduler rr → wrr, persistent none → 10800 s`: the fields that differ. */
export function describeChange(before: Fields, after: Fields): string {
  const valueIn = (fields: Fields, name: string) =>
    fields.find((field) => field.name === name)?.value ?? 'none';
  return [...new Set([...before, ...after].map(({ name }) => name))]
    .map((name) => ({ name, had: valueIn(before, name), has: valueIn(after, name) }))
    .filter(({ had, has }) => had !== has)
    .map(({ name, had, has }) => `${name} ${had} → ${has}`)
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
