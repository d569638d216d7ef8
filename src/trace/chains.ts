import type { NftablesRows } from '../dataplane/nftables/rows.ts';
import type { Field, Match, Rule, Verdict } from '../dataplane/nftables/rules.ts';
import { type SetBase, setName } from '../dataplane/nftables/sets.ts';
import type { MarkOptions } from '../dataplane/nftables/text.ts';
import { unreachable } from '../model/brand.ts';
import { FIREWALL_MARK_BITS } from '../model/firewall-mark.ts';
import { type Element, elementFinder, type FindElement } from './elements.ts';
import type { Packet } from './packet.ts';

/** How a chain ended before its last rule. */
export interface ChainEnd {
  readonly end: 'accepted' | 'dropped' | 'refused';
  /** The rule that decided. */
  readonly by: string;
}

/** Leads a packet through a chain, which may change it. @returns undefined if no rule had the last word */
export type WalkChain = (chain: string, packet: Packet, tell: (step: string) => void) => ChainEnd | undefined;

/**
 * A {@link WalkChain} over the rules of `nftables`.
 * @throws RangeError while walking: a chain that is missing, or observed rows, which have no rules
 */
export function chainWalker(nftables: NftablesRows, marks: MarkOptions): WalkChain {
  const find = elementFinder(nftables.sets);
  const walk: WalkChain = (chain, packet, tell) => {
    const rows = nftables.chains.get(chain)?.rules;
    if (!rows) throw new RangeError(`Cannot trace: the table has no chain ${chain}`);
    for (const { name, rule } of rows) {
      if (!rule)
        throw new RangeError(`Cannot trace: what rule "${name}" of chain ${chain} does is not known`);
      const evidence = evidenceFor(rule, packet, find, marks);
      if (!evidence) continue;
      const { verdict } = rule;
      const step = `chain ${chain}: rule "${name}" ${actionText(verdict, packet, evidence)}${reasonsText(evidence)}`;
      if ('chain' in verdict) {
        // A chain in which nothing happened is not worth a word.
        const told: string[] = [];
        const ended = walk(verdict.chain, packet, (each) => told.push(each));
        if (told.length > 0) [step, ...told].forEach(tell);
        // Who goes does not come back: it was the going that decided.
        if (verdict.verdict === 'goto') return ended && { ...ended, by: name };
        if (ended) return ended;
        continue;
      }
      tell(step);
      const ended = take(rule, verdict, packet, evidence);
      if (ended) return ended;
    }
    return undefined;
  };
  return walk;
}

/** Carries out a verdict that stays in its chain. */
function take(
  { name, matches }: Rule,
  verdict: Exclude<Verdict, { readonly chain: unknown }>,
  packet: Packet,
  evidence: readonly Element[],
): ChainEnd | undefined {
  switch (verdict.verdict) {
    case 'accept':
    case 'keepDestination':
      return { end: 'accepted', by: name };
    case 'drop':
      return { end: 'dropped', by: name };
    case 'reject':
    case 'resetTcp':
    case 'closedPort':
      return { end: 'refused', by: name };
    case 'masquerade': {
      const asked = matches.some(({ match }) => match === 'masqueradeBit') ? packet.toMasquerade : null;
      packet.masquerade = asked ?? name;
      return { end: 'accepted', by: name };
    }
    case 'setMasqueradeBit':
      packet.toMasquerade ??= name;
      return undefined;
    case 'mark':
      packet.mark = markOf(evidence);
      return undefined;
    default:
      return unreachable(verdict);
  }
}

/** The elements that make the rule apply, none if it looks at no set; undefined if it does not apply. */
function evidenceFor(
  rule: Rule,
  packet: Packet,
  find: FindElement,
  marks: MarkOptions,
): readonly Element[] | undefined {
  if (rule.family !== null && rule.family !== packet.family) return undefined;
  const evidence: Element[] = [];
  const lookUp = (of: SetBase, fields: readonly Field[]): Element | undefined => {
    if (rule.family === null) throw new RangeError(`Cannot trace: rule "${rule.name}" has no address family`);
    return find(setName(of, rule.family), keyOf(fields, packet));
  };
  for (const match of rule.matches) {
    if (match.match === 'member' || match.match === 'notMember') {
      const element = lookUp(match.of, match.fields);
      if (match.of === 'allowed') packet.sourceRange = { element: element?.text ?? null };
      if ((element !== undefined) !== (match.match === 'member')) return undefined;
      if (element) evidence.push(element);
    } else if (!holds(match, packet, marks)) return undefined;
  }
  if (rule.verdict.verdict !== 'mark') return evidence;
  // A map that has nothing for a packet ends the rule.
  const given = lookUp('inside-marks', rule.verdict.fields);
  return given && [...evidence, given];
}

function holds(
  match: Exclude<Match, { readonly of: unknown }>,
  packet: Packet,
  { firewallMarkBase }: MarkOptions,
): boolean {
  switch (match.match) {
    case 'protocol':
      return match.anyOf.includes(packet.protocol);
    case 'connection':
      return match.anyOf.includes('new');
    case 'incomingLink':
      return isLink(packet.link, match.name);
    case 'notIncomingLink':
      return !isLink(packet.link, match.name);
    case 'unmarked':
      return Math.floor(packet.mark / 2 ** FIREWALL_MARK_BITS) !== firewallMarkBase / 2 ** FIREWALL_MARK_BITS;
    case 'masqueradeBit':
      return packet.toMasquerade !== null;
    default:
      return unreachable(match);
  }
}

function isLink(link: string | null | undefined, name: string): boolean {
  return name.endsWith('*') ? (link ?? '').startsWith(name.slice(0, -1)) : link === name;
}

function keyOf(fields: readonly Field[], packet: Packet): readonly string[] {
  return fields.map((field) => {
    switch (field) {
      case 'source':
      case 'destination':
        return packet[field];
      case 'protocol':
        return packet.protocol.toLowerCase();
      case 'port':
        return String(packet.port);
      default:
        return unreachable(field);
    }
  });
}

/** The last element is the one that the map gave the mark for. */
function markOf(evidence: readonly Element[]): number {
  const mark = evidence.at(-1)?.row.mark ?? null;
  if (mark === null) throw new RangeError(`Cannot trace: element ${evidence.at(-1)?.text} has no mark`);
  return mark;
}

function actionText(verdict: Verdict, { toMasquerade }: Packet, evidence: readonly Element[]): string {
  switch (verdict.verdict) {
    case 'accept':
      return 'accepts it';
    case 'drop':
      return 'drops it';
    case 'reject':
      return 'refuses it with an ICMP error';
    case 'resetTcp':
      return 'refuses it with a TCP reset';
    case 'closedPort':
      return 'sends it to a port of this host that nobody listens on, which refuses it';
    case 'masquerade':
      return 'gives it an address of this node as source';
    case 'setMasqueradeBit':
      return toMasquerade === null
        ? 'marks the connection for masquerade'
        : 'marks the connection for masquerade, too';
    case 'mark':
      return `gives it mark 0x${markOf(evidence).toString(16).padStart(8, '0')}`;
    case 'keepDestination':
      return 'keeps its destination, so that no other NAT changes it';
    case 'jump':
    case 'goto':
      return `hands it to chain ${verdict.chain}`;
    default:
      return unreachable(verdict);
  }
}

function reasonsText(evidence: readonly Element[]): string {
  const reasons = new Set(evidence.map(({ row }) => row.reason).filter((reason) => reason !== ''));
  return reasons.size === 0 ? '' : `  (${[...reasons].join(', ')})`;
}
