import { type Ability, ability, type Finding, ok } from './finding.ts';

/** What of this host keepalived can use. */
export interface AnnouncingReport {
  /** `vrrp.program`. */
  readonly program: string;
  readonly keepalived:
    | { readonly outcome: 'supported'; readonly version: string }
    | Exclude<Ability, { outcome: 'supported' }>;
  readonly netRaw: Ability;
  readonly link: { readonly name: string; readonly state: 'up' | 'down' | 'absent' };
}

/** What is missing is an error: nothing else announces addresses where keepalived is to. Pure. */
export function announcingFindings(report: AnnouncingReport | null): readonly Finding[] {
  if (report === null) return [];
  const { program, keepalived, netRaw, link } = report;
  const version = keepalived.outcome === 'supported' ? `, version ${keepalived.version}` : '';
  return [
    ability(
      keepalived,
      `announcing: ${program}${version}`,
      'apt-get install keepalived, or set vrrp.program',
    ),
    ability(netRaw, 'announcing: CAP_NET_RAW', 'run as root, or grant the capability to the container'),
    linkFinding(link),
  ];
}

function linkFinding({ name, state }: AnnouncingReport['link']): Finding {
  const what = `announcing: link ${name}`;
  switch (state) {
    case 'up':
      return ok(what);
    case 'down':
      return { level: 'warning', what: `${what} is down`, fix: `ip link set ${name} up` };
    case 'absent':
      return {
        level: 'error',
        what: `${what} is not there`,
        fix: 'set vrrp.interface to a link of this node; ip -brief link shows which there are',
      };
    default:
      return state satisfies never;
  }
}
