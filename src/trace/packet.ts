import type { IpAddress, IpFamily } from '../model/address.ts';
import type { Protocol } from '../model/port.ts';

/** What the rules found out about the source of a connection to a frontend with source ranges. */
export interface SourceRangeCheck {
  /** The element that admits the source: `203.0.113.9 . tcp . 80 . 192.0.2.0/24`; null if none does. */
  readonly element: string | null;
}

/** The first packet of a connection while it is followed, with what the kernel keeps of both. */
export interface Packet {
  readonly family: IpFamily;
  readonly protocol: Protocol;
  source: IpAddress;
  destination: IpAddress;
  port: number;
  /** The link it came in by; null on the way out, undefined if nobody said. */
  link: string | null | undefined;
  /** Firewall mark, 0 for none. */
  mark: number;
  /** The rule that had the connection marked for masquerade. */
  toMasquerade: string | null;
  /** The rule that had its source changed. */
  masquerade: string | null;
  /** Sides whose NAT is settled: from then on no nat chain for them sees the connection. */
  readonly settled: Set<'source' | 'destination'>;
  /** IPVS has sent it on, and does not look at it again. */
  balanced: boolean;
  sourceRange: SourceRangeCheck | null;
}

/** A packet that goes its own way from here. */
export function fork(packet: Packet, changes: Partial<Packet>): Packet {
  return { ...packet, settled: new Set(packet.settled), ...changes };
}
