import type { AddressRows } from '../dataplane/addresses/rows.ts';
import type { IpvsRows } from '../dataplane/ipvs/rows.ts';
import type { NftablesRows } from '../dataplane/nftables/rows.ts';
import type { ChainHook } from '../dataplane/nftables/rules.ts';
import type { MarkOptions } from '../dataplane/nftables/text.ts';
import { familyOf, type IpAddress } from '../model/address.ts';
import { specialAddress } from '../model/cidr.ts';
import { type Protocol, parsePort, parseProtocol } from '../model/port.ts';
import {
  formatEndpoint,
  type RealServerKey,
  realServerKey,
  type VirtualServerKey,
} from '../model/virtual-server.ts';
import { chainWalker, type WalkChain } from './chains.ts';
import { NAT, type Station, stationsOf } from './hooks.ts';
import { localAddresses, type WhyLocal } from './local-addresses.ts';
import { fork, type Packet } from './packet.ts';
import { type Schedule, type ScheduledRealServer, scheduler } from './virtual-servers.ts';

/** What decides about connections on a node; wanted rows, for those have the rules. */
export interface TraceRows {
  readonly nftables: NftablesRows;
  readonly ipvs: IpvsRows;
  readonly addresses: AddressRows;
  /** The node's own addresses, without ours. The first of a family is what it masquerades with. */
  readonly nodeAddresses: readonly IpAddress[];
  readonly markOptions: MarkOptions;
}

/** A connection that somebody is about to open. */
export interface Connection {
  readonly source: IpAddress;
  /** Of the same family. */
  readonly destination: IpAddress;
  readonly protocol: Protocol;
  /** 1 to 65535, host order. */
  readonly port: number;
  /** A process of this host opens it, not one of a pod with a network of its own. */
  readonly fromHost: boolean;
  /** The link by which it reaches the host from outside or from a pod; unknown, no rule takes it for a pod's. */
  readonly incomingLink?: string | undefined;
}

/** A real server that the scheduler may choose for the connection. */
export interface Candidate {
  readonly key: RealServerKey;
  readonly address: IpAddress;
  /** Where the packet goes to, which is not always the real server's own port: see ScheduledRealServer. */
  readonly port: number;
  readonly weight: number;
  /** The rule because of which the real server sees an address of this node instead of the client's; null: it sees the client's. */
  readonly masquerade: string | null;
  /** The rule that takes the packet from there; null if it arrives. */
  readonly stoppedBy: string | null;
}

/** What happens to a connection. */
export interface Trace {
  /**
   * balanced: IPVS sends it to one of the candidates. refused: the client is told so at once. dropped: it hears nothing.
   * passed: it leaves for the next hop, this node having nothing to do with it. delivered: to a process of this host.
   */
  readonly verdict: 'balanced' | 'refused' | 'dropped' | 'passed' | 'delivered';
  /** What refused or dropped it: the name of a rule, or `IPVS: no real server`; else null. */
  readonly by: string | null;
  /** The virtual server that took it; null if it met none. */
  readonly virtualServer: VirtualServerKey | null;
  /** By address, then port. */
  readonly candidates: readonly Candidate[];
  /** Real servers of weight 0: they keep the connections they have. */
  readonly draining: readonly RealServerKey[];
  /** Its firewall mark; null without. */
  readonly mark: number | null;
  /** Whether the source lies in the source ranges of the frontend; none: it has none. */
  readonly sourceRange: 'none' | 'inside' | 'outside';
  /** The element of the source ranges that admits it: `203.0.113.9 . tcp . 80 . 192.0.2.0/24`. */
  readonly admittedBy: string | null;
  /** What happened, a sentence each, in order. */
  readonly steps: readonly string[];
}

type Hook = ChainHook['hook'];

type End = Pick<Trace, 'verdict' | 'by'> & Partial<Pick<Trace, 'virtualServer' | 'candidates' | 'draining'>>;

type Tell = (step: string) => void;

/** Follows one connection; see {@link prepareTrace} for many. */
export function trace(rows: TraceRows, connection: Connection): Trace {
  return prepareTrace(rows)(connection);
}

/**
 * Follows the first packet of connections through the hooks of netfilter, in the kernel's own order.
 * @throws RangeError while tracing: a connection that can't be, or rows that say too little
 */
export function prepareTrace(rows: TraceRows): (connection: Connection) => Trace {
  const path = new Path(rows);
  return (connection) => {
    const packet = firstPacket(connection);
    const steps: string[] = [];
    const tell: Tell = (step) => void steps.push(step);
    const end = connection.fromHost ? path.send(packet, tell) : path.receive(packet, tell);
    return {
      virtualServer: null,
      candidates: [],
      draining: [],
      ...end,
      mark: packet.mark === 0 ? null : packet.mark,
      sourceRange: packet.sourceRange === null ? 'none' : packet.sourceRange.element ? 'inside' : 'outside',
      admittedBy: packet.sourceRange?.element ?? null,
      steps,
    };
  };
}

function firstPacket({ source, destination, protocol, port, fromHost, incomingLink }: Connection): Packet {
  const family = familyOf(destination);
  const cannot = `Cannot trace ${protocol} ${source} -> ${formatEndpoint(destination, port)}`;
  if (familyOf(source) !== family) throw new RangeError(`${cannot}: the addresses are not of one family`);
  if (parsePort(port) === undefined) throw new RangeError(`${cannot}: ports are 1 to 65535`);
  if (parseProtocol(protocol) === undefined) throw new RangeError(`${cannot}: protocol is TCP, UDP or SCTP`);
  const link = fromHost ? null : incomingLink;
  const untouched = { mark: 0, toMasquerade: null, masquerade: null, balanced: false, sourceRange: null };
  return { family, protocol, source, destination, port, link, ...untouched, settled: new Set() };
}

/** The way of a packet through one node. Methods change the packet they are given, and nothing else. */
class Path {
  readonly #stations: ReadonlyMap<Hook, readonly Station[]>;
  readonly #walk: WalkChain;
  readonly #schedule: Schedule;
  readonly #whyLocal: WhyLocal;
  readonly #nodeAddresses: readonly IpAddress[];

  constructor({ nftables, ipvs, addresses, nodeAddresses, markOptions }: TraceRows) {
    this.#stations = stationsOf(nftables);
    this.#walk = chainWalker(nftables, markOptions);
    this.#schedule = scheduler(ipvs);
    this.#whyLocal = localAddresses(addresses, nodeAddresses);
    this.#nodeAddresses = nodeAddresses;
  }

  /** From outside, or from a pod. */
  receive(packet: Packet, tell: Tell): End {
    if (specialAddress(packet.destination) === 'loopback') {
      const by = 'routing: loopback addresses are not reached from outside';
      tell(by);
      return { verdict: 'dropped', by };
    }
    const ended = this.#pass('prerouting', packet, tell);
    if (ended) return ended;
    if (this.#route(packet, tell)) return this.#deliver(packet, tell);
    return this.#pass('forward', packet, tell) ?? this.#leave(packet, tell);
  }

  /** From a process of this host. What it sends to the host itself comes in again through the loopback link. */
  send(packet: Packet, tell: Tell): End {
    const local = this.#route(packet, tell);
    const ended = this.#pass('output', packet, tell);
    if (ended) return ended;
    return local ? this.#loopBack(packet, tell) : this.#leave(packet, tell);
  }

  #route({ destination }: Packet, tell: Tell): boolean {
    const reason = this.#whyLocal(destination);
    tell(`routing: ${destination} is ${reason ?? 'not local'}`);
    return reason !== undefined;
  }

  #deliver(packet: Packet, tell: Tell): End {
    return this.#pass('input', packet, tell) ?? { verdict: 'delivered', by: null };
  }

  #leave(packet: Packet, tell: Tell): End {
    return this.#pass('postrouting', packet, tell) ?? { verdict: 'passed', by: null };
  }

  #loopBack(packet: Packet, tell: Tell): End {
    const ended = this.#pass('postrouting', packet, tell);
    if (ended) return ended;
    packet.link = 'lo';
    return this.#pass('prerouting', packet, tell) ?? this.#deliver(packet, tell);
  }

  /** @param after the priority at which the packet is already */
  #pass(hook: Hook, packet: Packet, tell: Tell, after = Number.NEGATIVE_INFINITY): End | undefined {
    for (const station of this.#stations.get(hook) ?? []) {
      if (station.priority <= after) continue;
      const ended =
        station.kind === 'ipvs'
          ? this.#balance(hook, station.priority, packet, tell)
          : this.#passChain(station, packet, tell);
      if (ended) return ended;
    }
    if (hook !== 'forward') packet.settled.add(NAT[hook].side);
    return undefined;
  }

  #passChain(station: Station & { readonly kind: 'chain' }, packet: Packet, tell: Tell): End | undefined {
    const { side, name } = station;
    if (side !== null && packet.settled.has(side)) return undefined;
    const ended = this.#walk(name, packet, tell);
    if (side !== null && ended) packet.settled.add(side);
    if (packet.masquerade !== null) {
      packet.source = this.#nodeAddresses.find((own) => familyOf(own) === packet.family) ?? packet.source;
    }
    return ended === undefined || ended.end === 'accepted' ? undefined : { verdict: ended.end, by: ended.by };
  }

  #balance(hook: Hook, priority: number, packet: Packet, tell: Tell): End | undefined {
    if (packet.balanced) return undefined;
    // NAT of the destination comes before IPVS, in either hook.
    packet.settled.add('destination');
    const scheduling = this.#schedule(packet);
    if (!scheduling) return void tell(`IPVS in ${hook}: no virtual server for it`);
    const { row, realServers } = scheduling;
    const servers = [...row.realServers.values()].map(({ config }) => config);
    const met = {
      virtualServer: row.key,
      draining: servers.filter(({ weight }) => weight === 0).map(realServerKey),
    };
    const why = row.reason === '' ? '' : `  (${row.reason})`;
    if ('refusal' in scheduling) {
      tell(`IPVS in ${hook}: ${row.key} refuses it with an ICMP error: ${scheduling.refusal}${why}`);
      return { ...met, verdict: 'refused', by: scheduling.refusal };
    }
    tell(`IPVS in ${hook}: ${row.key} takes it${why}`);
    const candidates = realServers.map((realServer) =>
      this.#follow(realServer, hook, priority, packet, tell),
    );
    return { ...met, verdict: 'balanced', by: null, candidates };
  }

  /** The rest of the way, to one real server. @see net/netfilter/ipvs/ip_vs_xmit.c ip_vs_nat_send_or_cont() */
  #follow(
    { row, port }: ScheduledRealServer,
    hook: Hook,
    priority: number,
    packet: Packet,
    tell: Tell,
  ): Candidate {
    const { address, weight, forwarding } = row.config;
    const key = realServerKey(row.config);
    if (forwarding !== 'masquerade') {
      throw new RangeError(`Cannot trace: real server ${key} is forwarded to by ${forwarding}`);
    }
    const target = formatEndpoint(address, port);
    const own = fork(packet, { destination: address, port, balanced: true });
    const tellOwn: Tell = (step) => tell(`-> ${target}: ${step}`);
    const ended =
      this.#whyLocal(address) === undefined
        ? // IPVS sends it as if this host did: through all of output.
          (this.#pass('output', own, tellOwn) ?? this.#pass('postrouting', own, tellOwn))
        : (this.#pass(hook, own, tellOwn, priority) ??
          (hook === 'output' ? this.#loopBack(own, tellOwn) : undefined));
    return { key, address, port, weight, masquerade: own.masquerade, stoppedBy: ended?.by ?? null };
  }
}
