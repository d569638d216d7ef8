import { addressBytes, familyOf, type IpAddress } from '../../model/address.ts';
import { parseVirtualServerKey, type VirtualServerIdentity } from '../../model/virtual-server.ts';
import type { DrainKey } from '../ledger.ts';
import type { IpvsRows, VirtualServerRow } from './rows.ts';

/** What `/proc/net/ip_vs` shows beside the wanted rows. */
export interface TableComparison {
  /** Whether every wanted row is there as wanted, but for real servers that drain. */
  readonly isAsWanted: boolean;
  /** What the table calls the virtual servers that are neither wanted nor draining: `TCP 0A600001:01BB`; sorted. */
  readonly strangers: readonly string[];
}

/**
 * Compares the wanted rows with the text of `/proc/net/ip_vs`: one cheap read of the whole table, where a dump over
 * netlink takes a request for each virtual server. The text has no thresholds, tunnels, persistence engines and
 * scheduler flags, none of which we set: who changes those alone is not seen here.
 * @param drains real servers of ours that drain, by the ledger
 * @see net/netfilter/ipvs/ip_vs_ctl.c ip_vs_info_seq_show
 */
export function compareTable(text: string, wanted: IpvsRows, drains: Iterable<DrainKey>): TableComparison {
  const table = parseTable(text);
  const draining = drainingServers(drains);
  const ticks = new Ticks();
  let isAsWanted = true;
  for (const row of wanted.virtualServers.values()) {
    const header = headerOf(row.identity);
    const blocks = table.get(header) ?? [];
    const index = blocks.findIndex((block) => isAsRow(block, row, ticks, draining.get(header)));
    if (index < 0) isAsWanted = false;
    else if (blocks.length === 1) table.delete(header);
    // The marks of both families have one header.
    else blocks.splice(index, 1);
  }
  const strangers = [...table.keys()].filter((header) => !draining.has(header)).sort();
  return { isAsWanted, strangers };
}

/** What the table calls the virtual servers of others. */
export function foreignHeaders({ virtualServers }: IpvsRows): ReadonlySet<string> {
  const foreign = [...virtualServers.values()].filter(({ owner }) => owner === 'foreign');
  return new Set(foreign.map(({ identity }) => headerOf(identity)));
}

/** One virtual server of the table, with its real servers as the table writes them. */
interface Block {
  readonly scheduler: string;
  /** Whether it is in one-packet mode, which none of ours is. */
  readonly isOnePacket: boolean;
  /** Of affinity, in ticks of the kernel's clock; null without. */
  readonly ticks: number | null;
  readonly netmask: string;
  /** `0A01FA09:192B Masq 1` */
  readonly realServers: string[];
}

const SERVER = /^(TCP|UDP|SCTP|FWM) {2}(\S+) (\S+) (ops )? ?(?:persistent (\d+) (\S+))?/;
const REAL_SERVER = /^ {2}-> (\S+) +(\S+) +(-?\d+)/;

/** By header; firewall marks of both families have the same. */
function parseTable(text: string): Map<string, Block[]> {
  const table = new Map<string, Block[]>();
  let block: Block | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('  ->')) {
      const [, endpoint, forwarding, weight] = REAL_SERVER.exec(line) ?? [];
      if (endpoint !== 'RemoteAddress:Port') block?.realServers.push(`${endpoint} ${forwarding} ${weight}`);
      continue;
    }
    const [, protocol, endpoint, scheduler = '', onePacket, ticks, netmask = ''] = SERVER.exec(line) ?? [];
    if (protocol === undefined) continue;
    block = {
      scheduler,
      isOnePacket: onePacket !== undefined,
      ticks: ticks === undefined ? null : Number(ticks),
      netmask,
      realServers: [],
    };
    const header = `${protocol} ${endpoint}`;
    const blocks = table.get(header);
    if (blocks) blocks.push(block);
    else table.set(header, [block]);
  }
  return table;
}

/** Ticks of the kernel's clock in a second, which nothing tells: learnt from the first affinity that is compared. */
class Ticks {
  #perSecond: number | undefined;

  /** Whether `ticks` are as many seconds. */
  equal(ticks: number | null, seconds: number | null): boolean {
    if (ticks === null || seconds === null) return ticks === seconds;
    this.#perSecond ??= HZ.find((hz) => ticks === seconds * hz);
    return this.#perSecond !== undefined && ticks === seconds * this.#perSecond;
  }
}

/** @see kernel/Kconfig.hz */
const HZ = [100, 250, 300, 1000, 24, 48, 128, 256, 512, 1024, 1200];

const SINGLE_ADDRESS = { IPv4: 'FFFFFFFF', IPv6: '80000000' } as const;

/** @param draining real servers that may be there although they are not wanted */
function isAsRow(
  block: Block,
  { identity, config, realServers }: VirtualServerRow,
  ticks: Ticks,
  draining: ReadonlySet<string> | undefined,
): boolean {
  const { scheduler, flags, persistenceTimeoutSeconds, netmask, persistenceEngine } = config;
  // Not to be told from this text: a whole look does.
  if (flags !== 0 || netmask !== null || persistenceEngine !== null) return false;
  if (block.scheduler !== scheduler || block.isOnePacket) return false;
  if (!ticks.equal(block.ticks, persistenceTimeoutSeconds)) return false;
  if (block.ticks !== null && block.netmask !== SINGLE_ADDRESS[familyOfIdentity(identity)]) return false;
  const expected = new Set<string>();
  for (const { config: real } of realServers.values()) {
    if (real.forwarding !== 'masquerade') return false;
    expected.add(`${endpointText(real.address, real.port)} Masq ${real.weight}`);
  }
  let found = 0;
  for (const realServer of block.realServers) {
    if (expected.has(realServer)) found++;
    else if (!draining?.has(realServer)) return false;
  }
  return found === expected.size;
}

function familyOfIdentity(identity: VirtualServerIdentity) {
  return identity.kind === 'address' ? familyOf(identity.address) : identity.family;
}

/** Real servers that drain, as the table writes them, by the header of their virtual server. */
function drainingServers(drains: Iterable<DrainKey>): ReadonlyMap<string, ReadonlySet<string>> {
  const draining = new Map<string, Set<string>>();
  for (const key of drains) {
    const [server = '', real = ''] = key.split(' -> ');
    const identity = parseVirtualServerKey(server);
    const endpoint = parseVirtualServerKey(`TCP ${real}`);
    if (!identity || endpoint?.kind !== 'address') continue;
    const header = headerOf(identity);
    const text = `${endpointText(endpoint.address, endpoint.port)} Masq 0`;
    const known = draining.get(header);
    if (known) known.add(text);
    else draining.set(header, new Set([text]));
  }
  return draining;
}

function headerOf(identity: VirtualServerIdentity): string {
  return identity.kind === 'address'
    ? `${identity.protocol} ${endpointText(identity.address, identity.port)}`
    : `FWM ${hex(identity.firewallMark, 8)}`;
}

/** `0A600001:01BB` or `[fd00:0096:0000:0000:0000:0000:0000:0007]:01BB`. */
function endpointText(address: IpAddress, port: number): string {
  const bytes = addressBytes(address);
  let text = '';
  for (const [i, byte] of bytes.entries()) {
    if (bytes.length === 16 && i > 0 && i % 2 === 0) text += ':';
    text += HEX_BYTES[byte];
  }
  return bytes.length === 4 ? `${text.toUpperCase()}:${hex(port, 4)}` : `[${text}]:${hex(port, 4)}`;
}

const HEX_BYTES = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
