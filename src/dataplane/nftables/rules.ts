import type { IpFamily } from '../../model/address.ts';
import type { Protocol } from '../../model/port.ts';
import type { SetBase } from './sets.ts';

/** What a rule reads of a packet, in its original direction. */
export type Field = 'source' | 'destination' | 'protocol' | 'port';

/** One condition of a rule; a rule applies where all hold. */
export type Match =
  /** The fields, joined, are an element of the set. */
  | { readonly match: 'member'; readonly fields: readonly Field[]; readonly of: SetBase }
  | { readonly match: 'notMember'; readonly fields: readonly Field[]; readonly of: SetBase }
  | { readonly match: 'protocol'; readonly anyOf: readonly Protocol[] }
  | { readonly match: 'connection'; readonly anyOf: readonly ('new' | 'established' | 'related')[] }
  /** The link it came in by; a trailing `*` stands for any rest of the name. */
  | { readonly match: 'incomingLink'; readonly name: string }
  | { readonly match: 'notIncomingLink'; readonly name: string }
  /** The packet has no firewall mark of ours. */
  | { readonly match: 'unmarked' }
  /** The connection is to be masqueraded. */
  | { readonly match: 'masqueradeBit' };

/** What a rule does. Only `drop`, `accept`, the rejects, `masquerade`, `keepDestination`,
 * `closedPort` and `goto` end the chain. */
export type Verdict =
  | { readonly verdict: 'accept' | 'drop' | 'reject' | 'resetTcp' | 'masquerade' }
  | { readonly verdict: 'jump' | 'goto'; readonly chain: ChainName }
  | { readonly verdict: 'setMasqueradeBit' }
  /** Gives the packet the mark that `inside-marks` has for the fields; none where it has none. */
  | { readonly verdict: 'mark'; readonly fields: readonly Field[] }
  /** A destination NAT to the destination itself, after which no other table's NAT may send the packet elsewhere. */
  | { readonly verdict: 'keepDestination' }
  /** A destination NAT to a port of this host that nobody listens on, so that its own stack refuses. */
  | { readonly verdict: 'closedPort' };

export interface Rule {
  /** Says what it is for; unique in its chain. Printed in the kernel's listing, and by `explain`. */
  readonly name: string;
  /** null for rules that look at no address. */
  readonly family: IpFamily | null;
  readonly matches: readonly Match[];
  readonly verdict: Verdict;
}

/** Where the kernel enters a chain. */
export interface ChainHook {
  readonly type: 'filter' | 'nat' | 'route';
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
  readonly priority: number;
}

export interface Chain {
  readonly name: ChainName;
  /** null for a chain that others jump to. */
  readonly hook: ChainHook | null;
  readonly rules: readonly Rule[];
}

export const CHAIN_NAMES = [
  'refuse',
  'source-ranges',
  'keep-prerouting',
  'keep-output',
  'prerouting',
  'output',
  'input',
  'closed-input',
  'closed-forward',
  'closed-output',
  'postrouting',
] as const;

export type ChainName = (typeof CHAIN_NAMES)[number];

/** How pods are told from everybody else. */
export type PodDetection =
  | { readonly by: 'sources'; readonly of: 'pods' | 'node-pods' }
  | { readonly by: 'link'; readonly name: string };

/** Whether `name` is one of a link, or the start of one with `*` behind it, and can stand in quotes in a rule. */
export function isLinkPattern(name: string): boolean {
  return /^[^\s"*/\\]{1,15}\*?$/.test(name);
}

export interface RulesetOptions {
  readonly detection: PodDetection;
  /** Families in which the sources of pods are known; elsewhere nobody but the node is masqueraded for ClusterIPs. */
  readonly knownPods: readonly IpFamily[];
  readonly masqueradeAll: boolean;
  /** Families that have frontends whose outside clients keep their source with policy Cluster. */
  readonly keepSource: readonly IpFamily[];
  /** Bit of the connection mark, 0 to 31. */
  readonly masqueradeBit: number;
  /** See DeriveOptions.firewallMarkBase. */
  readonly firewallMarkBase: number;
}
