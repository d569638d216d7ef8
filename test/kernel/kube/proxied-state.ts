import { foreignState } from '../foreign-setup.ts';
import type { LabNode } from '../traffic/topology.ts';

/** What others have on the node. */
export interface Others {
  readonly tables: readonly string[];
  readonly rules: readonly string[];
  readonly rows: readonly string[];
}

/** How many connections each virtual server and real server has ever had: one that is made anew begins at 0. */
export function connectionCounts(node: LabNode): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  let server = '';
  for (const line of node.run(['ipvsadm', '-Ln', '--stats', '--exact']).split('\n')) {
    const [, kind = '', key = '', count = '0'] = /^ *(TCP|FWM|->) +(\S+(?: IPv6)?) +(\d+)/.exec(line) ?? [];
    if (kind === '' || key === 'RemoteAddress:Port') continue;
    if (kind !== '->') server = `${kind} ${key}`;
    counts.set(kind === '->' ? `${server} -> ${key}` : server, Number(count));
  }
  return counts;
}

/** The whole IPVS table, as `ipvsadm -Sn` prints it, sorted. */
export function rowsOf(node: LabNode): readonly string[] {
  return node.run(['ipvsadm', '-Sn']).split('\n').filter(Boolean).sort();
}

/** The same without the firewall marks of svcplane. */
export function rowsOfAddresses(node: LabNode): readonly string[] {
  return rowsOf(node).filter((line) => !/^-[Aa] -f 1[34]\d{8}/.test(line));
}

/** By name. */
export function linksOf(node: LabNode): readonly string[] {
  return JSON.parse(node.run(['ip', '-j', 'link'])).map(({ ifname }: { ifname: string }) => ifname);
}

/** Bound to a link, without what the kernel itself gives it. */
export function addressesOn(node: LabNode, link: string): readonly string[] {
  const [shown] = JSON.parse(node.run(['ip', '-j', 'address', 'show', link]));
  const found: readonly { local: string }[] = shown.addr_info;
  return found.map(({ local }) => local).filter((local) => !local.startsWith('fe80:'));
}

/** All that svcplane or kube-proxy may change, while kube-proxy's link is there. */
export function everythingOf(node: LabNode) {
  return {
    rows: rowsOf(node),
    links: linksOf(node),
    bound: addressesOn(node, 'kube-ipvs0'),
    rules: node.run(['nft', '-s', 'list', 'ruleset']),
    sets: node.run(['ipset', 'save']).split('\n').sort(),
  };
}

/** What others have, whoever serves Services. */
export function othersOf(node: LabNode): Others {
  const { tables, iptables } = foreignState(node, () => false);
  return {
    tables: tables.filter((table) => /^table (inet foreign|ip6? hostports) /.test(table)),
    rules: iptables.filter((line) => line.startsWith('-A') && !line.includes('KUBE-')),
    rows: rowsOf(node).filter((line) => / (192\.0\.2\.8\d|\[2001:db8:2::8\d\]):|-f 1[78]\b/.test(line)),
  };
}
