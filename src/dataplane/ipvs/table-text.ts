import { familyOf, fullIpv6Text, type IpAddress, ipv4Number } from '../../model/address.ts';
import { parseVirtualServerKey, type VirtualServerIdentity } from '../../model/virtual-server.ts';
import type { Pieces } from '../dataplane.ts';
import type { DrainKey } from '../ledger.ts';
import { LinesDigest } from './lines-digest.ts';
import type { WantedServer } from './project.ts';
import type { IpvsRows } from './rows.ts';

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
export function* compareTable(
  text: string,
  wanted: Iterable<WantedServer>,
  drains: Iterable<DrainKey>,
): Pieces<TableComparison> {
  const table = yield* parseTable(text);
  const draining = drainingServers(drains);
  const ticks = new Ticks();
  let isAsWanted = true;
  for (const server of wanted) {
    yield;
    const header = headerOf(server.identity);
    const blocks = table.get(header) ?? [];
    const isServer = (block: Block) =>
      isAsConfig(block, server, ticks) && hasRealServers(text, block, server, draining.get(header));
    const index = blocks.findIndex(isServer);
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

/** One virtual server of the table. */
interface Block {
  readonly scheduler: string;
  /** Whether it is in one-packet mode, which none of ours is. */
  readonly isOnePacket: boolean;
  /** Of affinity, in ticks of the kernel's clock; null without. */
  readonly ticks: number | null;
  readonly netmask: string;
  /** Where the lines of its real servers begin and end in the text. */
  readonly start: number;
  end: number;
}

const SERVER = /^(TCP|UDP|SCTP|FWM) {2}(\S+) (\S+) (ops )? ?(?:persistent (\d+) (\S+))?/;
const SPACE = 32;

/** By header; firewall marks of both families have the same. */
function* parseTable(text: string): Pieces<Map<string, Block[]>> {
  const table = new Map<string, Block[]>();
  let block: Block | undefined;
  for (let start = 0; start < text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline + 1;
    if (text.charCodeAt(start) !== SPACE) {
      const [, protocol, endpoint, scheduler = '', onePacket, ticks, netmask = ''] =
        SERVER.exec(text.slice(start, end)) ?? [];
      if (protocol !== undefined) {
        block = {
          scheduler,
          isOnePacket: onePacket !== undefined,
          ticks: ticks === undefined ? null : Number(ticks),
          netmask,
          start: end,
          end,
        };
        const header = `${protocol} ${endpoint}`;
        const blocks = table.get(header);
        if (blocks) blocks.push(block);
        else table.set(header, [block]);
        yield;
      }
    } else if (block) block.end = end;
    start = end;
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

function isAsConfig(block: Block, { identity, config }: WantedServer, ticks: Ticks): boolean {
  const { scheduler, flags, persistenceTimeoutSeconds, netmask, persistenceEngine } = config;
  // Not to be told from this text: a whole look does.
  if (flags !== 0 || netmask !== null || persistenceEngine !== null) return false;
  if (block.scheduler !== scheduler || block.isOnePacket) return false;
  if (!ticks.equal(block.ticks, persistenceTimeoutSeconds)) return false;
  return block.ticks === null || block.netmask === SINGLE_ADDRESS[familyOfIdentity(identity)];
}

/** @param draining real servers that may be there although they are not wanted */
function hasRealServers(
  text: string,
  { start, end }: Block,
  { realServers }: WantedServer,
  draining: ReadonlySet<string> | undefined,
): boolean {
  const found = new LinesDigest();
  for (let line = start; line < end; line = text.indexOf('\n', line) + 1) {
    if (!draining || !isDrainingOnly(text.slice(line, end), realServers, draining)) found.add(text, line);
  }
  return found.equals(digestOf(realServers));
}

const REAL_SERVER = /^ {2}-> (\S+) +(\S+) +(-?\d+)/;

function isDrainingOnly(
  line: string,
  wanted: WantedServer['realServers'],
  draining: ReadonlySet<string>,
): boolean {
  const [, endpoint, forwarding, weight] = REAL_SERVER.exec(line) ?? [];
  const realServer = `${endpoint} ${forwarding} ${weight}`;
  return draining.has(realServer) && !realServerTexts(wanted).includes(realServer);
}

/** As the table writes them. */
function realServerTexts(realServers: WantedServer['realServers']): readonly string[] {
  return realServers.map(({ address, port, weight }) => `${endpointText(address, port)} Masq ${weight}`);
}

const digests = new WeakMap<WantedServer['realServers'], LinesDigest>();

function digestOf(realServers: WantedServer['realServers']): LinesDigest {
  const known = digests.get(realServers);
  if (known) return known;
  const digest = new LinesDigest();
  for (const realServer of realServerTexts(realServers)) digest.add(`  -> ${realServer} `, 0);
  digests.set(realServers, digest);
  return digest;
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
  if (familyOf(address) === 'IPv4') return `${hex(ipv4Number(address), 8)}:${hex(port, 4)}`;
  return `[${fullIpv6Text(address)}]:${hex(port, 4)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
