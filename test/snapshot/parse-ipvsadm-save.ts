import { parseSnapshot } from '../../src/snapshot/parse.ts';
import type { Snapshot } from '../../src/snapshot/snapshot.ts';

/**
 * Reads what `ipvsadm -S -n` prints, as a snapshot without thresholds, which it does not print.
 * @throws Error on an option that ipvsadm is not known to print
 */
export function parseIpvsadmSave(text: string): Snapshot {
  const rows = new Map<string, Record<string, unknown> & { realServers: unknown[] }>();
  for (const line of text.split('\n').filter(Boolean)) {
    const words = line.split(' ');
    const verb = words.shift();
    const { service, key } = takeService(words);
    if (verb === '-A') rows.set(key, { ...service, ...takeVirtualServer(words), realServers: [] });
    else rows.get(key)?.realServers.push(takeRealServer(words));
    if (words.length > 0) throw new Error(`Cannot read ${JSON.stringify(words)} in ${line}`);
  }
  const snapshot = { version: 1, node: '', addresses: [], virtualServers: [...rows.values()], rejected: [] };
  return parseSnapshot(JSON.stringify(snapshot), 'ipvsadm-save');
}

const PROTOCOLS = new Map([
  ['-t', 'TCP'],
  ['-u', 'UDP'],
  ['--sctp-service', 'SCTP'],
]);

function takeService(words: string[]): { service: Record<string, unknown>; key: string } {
  const option = words.shift() ?? '';
  const value = words.shift() ?? '';
  const protocol = PROTOCOLS.get(option);
  if (protocol) return { service: { ...endpoint(value), protocol }, key: `${option} ${value}` };
  const family = takeFlag(words, '-6') ? 'IPv6' : 'IPv4';
  const mark = { firewallMark: Number(value) >>> 0, family, address: null, port: null, protocol: null };
  return { service: mark, key: `${value} ${family}` };
}

function takeVirtualServer(words: string[]): Record<string, unknown> {
  const timeout = takeValue(words, '-p');
  const netmask = takeValue(words, '-M');
  const engine = takeValue(words, '--pe');
  const flags = takeValue(words, '-b');
  return {
    scheduler: takeValue(words, '-s'),
    persistenceTimeoutSeconds: timeout === undefined ? null : Number(timeout),
    ...(netmask && { persistenceNetmask: netmask }),
    ...(engine && { persistenceEngine: engine }),
    ...(takeFlag(words, '-o') && { onePacket: true }),
    ...(flags !== undefined && { schedulerFlags: flags.split(',').map(flagOf) }),
    exposure: null,
    service: null,
    servicePort: null,
  };
}

/** sh and mh have no name for flag-3: set alone, it is printed as an empty word. */
function flagOf(name: string): string {
  if (name.endsWith('-fallback')) return 'flag-1';
  if (name.endsWith('-port')) return 'flag-2';
  return name === '' ? 'flag-3' : name;
}

const FORWARDING = { '-m': 'masquerade', '-g': 'direct', '-i': 'tunnel' } as const;
const CHECKSUMS = { '--tun-nocsum': 'none', '--tun-csum': 'csum', '--tun-remcsum': 'remcsum' } as const;

function takeRealServer(words: string[]): Record<string, unknown> {
  const place = endpoint(takeValue(words, '-r') ?? '');
  const weight = Number(takeValue(words, '-w'));
  const type = takeValue(words, '--tun-type');
  const port = Number(takeValue(words, '--tun-port') ?? 0);
  const forwarding = Object.entries(FORWARDING).find(([option]) => takeFlag(words, option))?.[1];
  const checksum = Object.entries(CHECKSUMS).find(([option]) => takeFlag(words, option))?.[1] ?? 'none';
  return { ...place, weight, forwarding, ...(type && { tunnel: { type, port, checksum } }) };
}

function endpoint(text: string): { address: string; port: number } {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon).replaceAll(/[[\]]/g, ''), port: Number(text.slice(colon + 1)) };
}

function takeFlag(words: string[], option: string): boolean {
  const index = words.indexOf(option);
  if (index < 0) return false;
  words.splice(index, 1);
  return true;
}

function takeValue(words: string[], option: string): string | undefined {
  const index = words.indexOf(option);
  return index < 0 ? undefined : words.splice(index, 2)[1];
}
