import { createHash } from 'node:crypto';
import type { IpFamily } from '../../model/address.ts';
import { unreachable } from '../../model/brand.ts';
import { FIREWALL_MARK_BITS } from '../../model/firewall-mark.ts';
import type { ChainHook, Field, Match, Rule, RulesetOptions, Verdict } from './rules.ts';
import { type KeyPart, type SetDeclaration, type SetName, setName } from './sets.ts';

/** tcpmux, which no Linux distribution runs; 0 can't be asked for. */
const CLOSED_PORT = 1;

/** The bits of the marks a ruleset uses. */
export type MarkOptions = Pick<RulesetOptions, 'masqueradeBit' | 'firewallMarkBase'>;

/** A rule in the language of nft(8), without its comment. */
export function ruleText(rule: Rule, marks: MarkOptions): string {
  const parts = rule.matches.map((match) => matchText(match, rule.family, marks));
  return [...parts, verdictText(rule.verdict, rule.family, marks)].join(' ');
}

/** What two rules of one text share: 8 hexadecimal digits. */
export function ruleDigest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

/** The comment that a rule of ours carries in the kernel. @see parseRuleComment */
export function ruleComment({ name, digest }: { readonly name: string; readonly digest: string }): string {
  return `${name} #${digest}`;
}

/** Name and digest from a rule's comment; undefined if it is none of ours. */
export function parseRuleComment(comment: unknown): { name: string; digest: string } | undefined {
  const [, name, digest] = /^(.+) #([0-9a-f]{8})$/.exec(typeof comment === 'string' ? comment : '') ?? [];
  return name !== undefined && digest !== undefined ? { name, digest } : undefined;
}

/** `type filter hook input priority 150`; "" for a chain that others jump to. */
export function hookText(hook: ChainHook | null): string {
  return hook === null ? '' : `type ${hook.type} hook ${hook.hook} priority ${hook.priority}`;
}

/** `type ipv4_addr . inet_proto . inet_service : mark flags interval` */
export function declarationText({ key, value, family }: SetDeclaration & { family: IpFamily }): string {
  const types = key.map((part) => keyType(part, family)).join(' . ');
  return `type ${types}${value === null ? '' : ` : ${value}`}${isInterval(key) ? ' flags interval' : ''}`;
}

/** Whether keys of the set are looked up by range. */
export function isInterval(key: readonly KeyPart[]): boolean {
  return key.includes('range');
}

function keyType(part: KeyPart, family: IpFamily): string {
  if (part === 'protocol') return 'inet_proto';
  if (part === 'port') return 'inet_service';
  return family === 'IPv4' ? 'ipv4_addr' : 'ipv6_addr';
}

function matchText(match: Match, family: IpFamily | null, marks: MarkOptions): string {
  switch (match.match) {
    case 'member':
      return `${fieldsText(match.fields, family, match.of === 'allowed')} @${setOf(match.of, family)}`;
    case 'notMember':
      return `${fieldsText(match.fields, family, match.of === 'allowed')} != @${setOf(match.of, family)}`;
    case 'protocol': {
      const names = match.anyOf.map((protocol) => protocol.toLowerCase());
      return `meta l4proto ${names.length === 1 ? names.join('') : `{ ${names.join(', ')} }`}`;
    }
    case 'connection':
      return `ct state ${match.anyOf.join(',')}`;
    case 'incomingLink':
      return `iifname "${match.name}"`;
    case 'notIncomingLink':
      return `iifname != "${match.name}"`;
    case 'unmarked':
      return `meta mark & ${hex(markMask())} != ${hex(marks.firewallMarkBase)}`;
    case 'masqueradeBit':
      return `ct mark & ${bitText(marks)} != 0`;
    default:
      return unreachable(match);
  }
}

function verdictText(verdict: Verdict, family: IpFamily | null, marks: MarkOptions): string {
  switch (verdict.verdict) {
    case 'accept':
    case 'drop':
    case 'reject':
      return verdict.verdict;
    case 'resetTcp':
      return 'reject with tcp reset';
    case 'masquerade':
      // Random ports: two clients that collide on one would otherwise wait for each other's connection to end.
      return 'masquerade fully-random';
    case 'jump':
    case 'goto':
      return `${verdict.verdict} ${verdict.chain}`;
    case 'setMasqueradeBit':
      return `ct mark set ct mark | ${bitText(marks)}`;
    case 'mark':
      return `meta mark set ${fieldsText(verdict.fields, family, false)} map @${setOf('inside-marks', family)}`;
    case 'closedPort':
      return `redirect to :${CLOSED_PORT}`;
    case 'keepDestination':
      return family === 'IPv4' ? 'dnat ip to ip daddr' : 'dnat ip6 to ip6 daddr';
    default:
      return unreachable(verdict);
  }
}

/**
 * @param interval whether they are looked up by range: there nft 1.0.6 adds a conversion to `meta l4proto` that
 *   Linux 7.2 refuses
 */
function fieldsText(fields: readonly Field[], family: IpFamily | null, interval: boolean): string {
  const ip = ipOf(family);
  const texts = {
    source: `${ip} saddr`,
    destination: `${ip} daddr`,
    protocol: interval ? (ip === 'ip' ? 'ip protocol' : 'ip6 nexthdr') : 'meta l4proto',
    port: 'th dport',
  } as const satisfies Record<Field, string>;
  return fields.map((field) => texts[field]).join(' . ');
}

function setOf(of: Parameters<typeof setName>[0], family: IpFamily | null): SetName {
  if (family === null) throw new RangeError(`Cannot look up set ${of}: the rule has no address family`);
  return setName(of, family);
}

function ipOf(family: IpFamily | null): 'ip' | 'ip6' {
  return family === 'IPv6' ? 'ip6' : 'ip';
}

function markMask(): number {
  return 2 ** 32 - 2 ** FIREWALL_MARK_BITS;
}

function bitText({ masqueradeBit }: MarkOptions): string {
  return hex(2 ** masqueradeBit);
}

/** `0x53000001` */
export function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
