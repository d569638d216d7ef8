import { spawnSync } from 'node:child_process';
import { SYSCTL_NAMES } from '../../src/dataplane/ipvs/sysctls.ts';
import { TARGET_PORT } from './test-services.ts';
import { addressPair, FAMILIES } from './traffic/dual-stack.ts';
import type { Pod } from './traffic/lab-plan.ts';
import type { LabNode } from './traffic/topology.ts';

/** The port of the node that another program's rules send to a pod. */
export const HOST_PORT = 8081;
/** The port of the node that another program's rules close. */
export const CLOSED_PORT = 9999;
/** The port of others' virtual servers. */
export const FOREIGN_PORT = 80;
/** Others' addresses on the node: of one virtual server, of one by firewall mark, and of none. */
export const FOREIGN = {
  virtualServer: addressPair('192.0.2.80', '2001:db8:2::80'),
  marked: addressPair('192.0.2.81', '2001:db8:2::81'),
  plain: addressPair('192.0.2.82', '2001:db8:2::82'),
};
/** What the outside host must send to the node for them. */
export const FOREIGN_ROUTES: readonly string[] = ['192.0.2.0/24', '2001:db8:2::/64'];

const FOREIGN_MARKS = { IPv4: 17, IPv6: 18 } as const;
const TABLE_FAMILY = { IPv4: 'ip', IPv6: 'ip6' } as const;

/** Puts on a node what CNI plugins, keepalived and administrators put there; `pod` serves all of it. */
export function makeForeign(node: LabNode, pod: Pod): void {
  node.run(
    ['ip', '-batch', '-'],
    [
      'link add foreign0 type dummy',
      ...Object.values(FOREIGN).flatMap(({ IPv4, IPv6 }) => [
        `address add ${IPv4}/32 dev foreign0`,
        `address add ${IPv6}/128 dev foreign0 nodad`,
      ]),
      'link set foreign0 up\n',
    ].join('\n'),
  );
  node.run(['ipvsadm', '-R'], virtualServers(pod));
  node.run(['nft', '-f', '-'], rules(pod));
}

function virtualServers(pod: Pod): string {
  return FAMILIES.map((family) => {
    const shown = (address: string) => (family === 'IPv4' ? address : `[${address}]`);
    const virtualServer = `-t ${shown(FOREIGN.virtualServer[family])}:${FOREIGN_PORT}`;
    const marked = `-f ${FOREIGN_MARKS[family]}${family === 'IPv4' ? '' : ' -6'}`;
    const realServer = `-r ${shown(pod.addresses[family])}:${TARGET_PORT} -m -w 1`;
    return [virtualServer, marked].map((key) => `-A ${key} -s wlc\n-a ${key} ${realServer}\n`).join('');
  }).join('');
}

function rules(pod: Pod): string {
  const hostPorts = FAMILIES.map((family) => {
    const ip = TABLE_FAMILY[family];
    const address = pod.addresses[family];
    const target = family === 'IPv4' ? address : `[${address}]`;
    return `
table ${ip} hostports {
  chain hostports { tcp dport ${HOST_PORT} dnat to ${target}:${TARGET_PORT}; }
  chain prerouting {
    type nat hook prerouting priority dstnat;
    fib daddr type local jump hostports
  }
  chain output {
    type nat hook output priority -100;
    fib daddr type local jump hostports
  }
  chain masquerading {
    type nat hook postrouting priority srcnat;
    ${ip} saddr ${address} ${ip} daddr ${address} masquerade
  }
}`;
  });
  const marks = FAMILIES.map((family) => {
    return `${TABLE_FAMILY[family]} daddr ${FOREIGN.marked[family]} meta mark set ${FOREIGN_MARKS[family]}`;
  });
  return `${hostPorts.join('')}
table inet foreign {
  set admins { type ipv4_addr; flags interval; elements = { 198.18.0.0/15, 203.0.113.0/24 }; }
  counter closed { }
  chain marks { type filter hook prerouting priority mangle; ${marks.join('; ')}; }
  chain marks-of-node { type route hook output priority mangle; ${marks.join('; ')}; }
  chain input {
    type filter hook input priority filter; policy accept;
    ip saddr @admins counter accept
    tcp dport ${CLOSED_PORT} counter name closed drop
  }
}
`;
}

/** Adds rules with iptables. @returns why not, if there is none */
export function addIptablesRules(node: LabNode): string | undefined {
  const { error } = spawnSync('iptables-nft', ['--version']);
  if (error) return `cannot run iptables-nft: ${error.message}`;
  node.run(['iptables-nft', ...'-A INPUT -p tcp --dport 7777 -j DROP'.split(' ')]);
  const masquerade = '-t nat -A POSTROUTING -s 10.244.0.0/24 -d 172.31.0.0/16 -j MASQUERADE';
  node.run(['iptables-nft', ...masquerade.split(' '), '-m', 'comment', '--comment', 'of a CNI plugin']);
  return undefined;
}

/** What others have on a node, as their own programs list it. */
export interface ForeignState {
  /** Every table but ours, without the values of counters. */
  readonly tables: readonly string[];
  readonly virtualServers: readonly string[];
  readonly iptables: readonly string[];
  /** Packets that were dropped at the closed port. */
  readonly droppedPackets: number;
}

/** @param ours a pattern for the lines of `ipvsadm -Sn` that are ours */
export function foreignState(node: LabNode, isOurs: (line: string) => boolean): ForeignState {
  const lines = (text: string) => text.split('\n').filter(Boolean);
  const ruleset = node.run(['nft', '-s', 'list', 'ruleset']).split(/^(?=table )/m);
  const counter = node.run(['nft', 'list', 'counter', 'inet', 'foreign', 'closed']);
  const saved = spawnSync('ip', ['netns', 'exec', node.namespace, 'iptables-nft-save'], { encoding: 'utf8' });
  return {
    tables: ruleset.filter((table) => !table.startsWith('table inet svcplane ')),
    virtualServers: lines(node.run(['ipvsadm', '-Sn']))
      .filter((line) => !isOurs(line))
      .sort(),
    iptables: lines(saved.stdout ?? '').filter((line) => !line.startsWith('#')),
    droppedPackets: Number(/packets (\d+)/.exec(counter)?.[1]),
  };
}

export function tableNames(node: LabNode): readonly string[] {
  return node.run(['nft', 'list', 'tables']).split('\n').filter(Boolean);
}

export function sysctlsOf(node: LabNode): string {
  return node.run(['sysctl', ...SYSCTL_NAMES]);
}
