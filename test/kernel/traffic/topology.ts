import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IpAddress, IpFamily } from '../../../src/model/address.ts';
import { run } from '../probe.ts';
import { type DualStack, FAMILIES } from './dual-stack.ts';
import {
  type Attached,
  type LabPlan,
  type LabSize,
  type PlannedNode,
  type Pod,
  planLab,
  podsOf,
} from './lab-plan.ts';
import { within } from './raw-socket.ts';

export interface LabNode extends PlannedNode {
  /** Runs a command on it to its end, as `run` of probe.ts. */
  run(command: readonly string[], input?: string): string;
  /** Starts a command on it, with pipes for its standard streams; it ends with the lab at the latest. */
  start(command: readonly string[], env?: NodeJS.ProcessEnv): ChildProcess;
}

/** A lab that exists. Disposing of it removes everything. */
export interface Lab extends LabPlan, Disposable {
  readonly nodes: readonly LabNode[];
  /** For manifests and state; goes with the lab. */
  readonly directory: string;
}

export interface LabOptions extends LabSize {
  /** CIDRs that the outside host sends to the first node: ClusterIPs and VIPs. */
  readonly routes: readonly string[];
}

const WIRE_PREFIX: DualStack<number> = { IPv4: 24, IPv6: 64 };
const HOST_PREFIX: DualStack<number> = { IPv4: 32, IPv6: 128 };

/** Builds the lab: the nodes forward, as a CNI plugin leaves them, and know the way to each other's pods. */
export function createLab({ routes, ...size }: LabOptions): Lab {
  const plan = planLab(size, randomBytes(3).toString('hex'));
  const directory = mkdtempSync(join(tmpdir(), 'svcplane-traffic-'));
  const lab: Lab = {
    ...plan,
    nodes: plan.nodes.map(withCommands),
    directory,
    [Symbol.dispose]: () => {
      remove(lab);
      rmSync(directory, { recursive: true, force: true });
    },
  };
  try {
    build(lab, routes);
  } catch (error) {
    lab[Symbol.dispose]();
    throw error;
  }
  return lab;
}

function withCommands(node: PlannedNode): LabNode {
  const inside = (command: readonly string[]) => ['ip', 'netns', 'exec', node.namespace, ...command];
  return {
    ...node,
    run: (command, input) => run(inside(command), input),
    start: (command, env = process.env) => {
      const [file = '', ...args] = inside(command);
      return spawn(file, args, { env, stdio: 'pipe' });
    },
  };
}

function build(lab: Lab, routes: readonly string[]): void {
  const { outside, nodes } = lab;
  ip(
    [],
    all(lab).map(({ namespace }) => `netns add ${namespace}`),
  );
  for (const each of all(lab))
    prepare(
      each,
      nodes.some(({ name }) => name === each.name),
    );
  ip(
    ['-n', outside.namespace],
    [
      'link set lo up',
      'link add wire type bridge mcast_snooping 0',
      ...linkUp('wire', outside.addresses, WIRE_PREFIX),
      ...nodes.flatMap(({ name, namespace }) => [
        `link add ${name} type veth peer name eth0 netns ${namespace}`,
        `link set ${name} master wire up`,
      ]),
    ],
  );
  for (const node of nodes) {
    ip(['-n', node.namespace], nodeCommands(node, nodes));
    for (const pod of node.pods) ip(['-n', pod.namespace], podCommands(pod, node));
  }
  const first = nodes[0]?.addresses;
  if (first)
    ip(
      ['-n', outside.namespace],
      routes.map((cidr) => `route add ${cidr} via ${first[familyOfCidr(cidr)]}`),
    );
}

function nodeCommands(node: LabNode, nodes: readonly LabNode[]): readonly string[] {
  return [
    'link set lo up',
    ...linkUp('eth0', node.addresses, WIRE_PREFIX),
    'link add cni0 type bridge mcast_snooping 0',
    ...linkUp('cni0', node.gateway, WIRE_PREFIX),
    ...node.pods.flatMap(({ name, namespace }) => [
      `link add ${name} type veth peer name eth0 netns ${namespace}`,
      `link set ${name} master cni0 up`,
      // As CNI's bridge plugin does on request: with bridge-nf-call-iptables, which kubeadm asks for, the answer of
      // a pod to itself is turned back on the bridge already, and does not leave by the port it came in.
      `link set ${name} type bridge_slave hairpin on`,
    ]),
    ...nodes
      .filter((other) => other !== node)
      .flatMap(({ podCIDRs, addresses }) =>
        FAMILIES.map((family) => `route add ${podCIDRs[family]} via ${addresses[family]}`),
      ),
  ];
}

/** Its address is a host's, so that all it sends goes through the node, which has to turn answers back. */
function podCommands(pod: Pod, node: LabNode): readonly string[] {
  return [
    'link set lo up',
    ...linkUp('eth0', pod.addresses, HOST_PREFIX),
    ...FAMILIES.flatMap((family) => [
      `route add ${node.gateway[family]}/${HOST_PREFIX[family]} dev eth0`,
      `route add default via ${node.gateway[family]}`,
    ]),
  ];
}

function linkUp(link: string, addresses: DualStack<IpAddress>, prefix: DualStack<number>): readonly string[] {
  return [
    `address add ${addresses.IPv4}/${prefix.IPv4} dev ${link}`,
    `address add ${addresses.IPv6}/${prefix.IPv6} dev ${link} nodad`,
    `link set ${link} up`,
  ];
}

/** What must hold before there is a link. */
function prepare({ namespace }: Attached, isNode: boolean): void {
  const settings: Readonly<Record<string, string>> = {
    // Else link-local addresses, and with them neighbours, cannot be used for a second.
    'ipv6/conf/all/accept_dad': '0',
    'ipv6/conf/default/accept_dad': '0',
    // Nobody is to learn a way past a node.
    ...Object.fromEntries(
      ['ipv4', 'ipv6'].flatMap((ip) =>
        ['all', 'default'].map((link) => [`${ip}/conf/${link}/accept_redirects`, '0']),
      ),
    ),
    'ipv4/conf/all/send_redirects': '0',
    'ipv4/conf/default/send_redirects': '0',
    'ipv4/conf/all/rp_filter': '0',
    'ipv4/conf/default/rp_filter': '0',
    // A host tells a peer of at most one unreachable port a second, six at once; here there are hundreds of them.
    'ipv4/icmp_ratelimit': '0',
    'ipv6/icmp/ratelimit': '0',
    ...(isNode && { 'ipv4/ip_forward': '1', 'ipv6/conf/all/forwarding': '1' }),
  };
  within(namespace, () => {
    for (const [name, value] of Object.entries(settings)) writeFileSync(`/proc/sys/net/${name}`, value);
  });
}

function ip(options: readonly string[], commands: readonly string[]): void {
  run(['ip', ...options, '-batch', '-'], commands.map((command) => `${command}\n`).join(''));
}

function familyOfCidr(cidr: string): IpFamily {
  return cidr.includes(':') ? 'IPv6' : 'IPv4';
}

function all(lab: Lab): readonly Attached[] {
  return [lab.outside, ...lab.nodes, ...podsOf(lab)];
}

/** Removes what there is of a lab. */
function remove(lab: Lab): void {
  const present = all(lab).filter(({ namespace }) => existsSync(`/run/netns/${namespace}`));
  for (const { namespace } of lab.nodes.filter((node) => present.includes(node))) {
    for (const pid of run(['ip', 'netns', 'pids', namespace]).split('\n').filter(Boolean)) end(Number(pid));
  }
  ip(
    [],
    present.map(({ namespace }) => `netns del ${namespace}`),
  );
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It may have ended by itself meanwhile: that is what was wanted.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
