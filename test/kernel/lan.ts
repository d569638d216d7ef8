import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createHost, type Host } from './host.ts';
import { CommandError, connect, createNamespace, killAllIn, type NetworkNamespace } from './probe.ts';

export const VIP = '10.10.0.1';
export const VIP6 = 'fd00:10::1';
const RANGES = ['10.10.0.0/26', 'fd00:10::/64'];
/** Who answers tells which of the two it is asked by. */
const SERVER = `require('http').createServer((q, r) => r.end('up')).listen(8080, '::')`;

/** What answers behind every Service, of both families, on port 8080. */
export const BACKEND = ['172.30.0.100', 'fd00:30::100'] as const;

/** A node of a LAN. */
export interface LanNode extends Host {
  readonly name: string;
  /** On its link `eth0`, of both families. */
  readonly addresses: readonly string[];
  /** Of that link. */
  readonly mac: string;
  /** Where keepalived's files are to be; empty again after `fail`. */
  readonly vrrpDirectory: string;
  /** As from a crash on: nothing in it runs, and its link is down. */
  fail(): void;
  /** Its link comes back. */
  connect(): void;
}

/** Nodes, a client and a backend on one bridge. */
export class Lan implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #bridge: NetworkNamespace;
  readonly nodes: readonly LanNode[];
  readonly client: NetworkNamespace;

  constructor(count: number) {
    this.#bridge = this.#stack.use(createNamespace('lan'));
    this.#bridge.run(['ip', 'link', 'add', 'br0', 'type', 'bridge']);
    this.#bridge.run(['ip', 'link', 'set', 'br0', 'up']);
    this.client = this.#attached('client', ['172.30.0.200/24', 'fd00:30::200/64']);
    for (const range of RANGES) {
      const family = range.includes(':') ? '-6' : '-4';
      this.client.run(['ip', family, 'route', 'add', range, 'dev', 'eth0']);
    }
    const backend = this.#attached('backend', [`${BACKEND[0]}/24`, `${BACKEND[1]}/64`]);
    backend.start([process.execPath, '-e', SERVER]);
    this.nodes = Array.from({ length: count }, (_, i) => this.#node(i + 1));
  }

  /** The nodes that have the address on their link. */
  holders(vip = VIP): readonly LanNode[] {
    return this.nodes.filter((host) => this.held(host).has(vip));
  }

  /** All that a node has on its link, without lengths. */
  held({ namespace }: LanNode): ReadonlySet<string> {
    const [{ addr_info }] = JSON.parse(namespace.run(['ip', '-j', 'address', 'show', 'dev', 'eth0']));
    const addresses: readonly { readonly local: string }[] = addr_info;
    return new Set(addresses.map(({ local }) => local));
  }

  /** Nodes hear nothing of each other any more. */
  divide(): void {
    const rules = 'ip protocol vrrp drop; ip6 nexthdr vrrp drop;';
    const chain = `chain input { type filter hook input priority -300; ${rules} }`;
    for (const { namespace } of this.nodes)
      namespace.run(['nft', '-f', '-'], `table inet cut { ${chain}; }\n`);
  }

  /** Undoes divide(). */
  unite(): void {
    for (const { namespace } of this.nodes) namespace.run(['nft', 'delete', 'table', 'inet', 'cut']);
  }

  /** Whether the client gets an answer within a moment. */
  isAnswered(vip = VIP): boolean {
    const url = `http://${vip.includes(':') ? `[${vip}]` : vip}/`;
    try {
      return this.client.run(['curl', '-s', '--max-time', '0.5', url]) === 'up';
    } catch (error) {
      if (error instanceof CommandError) return false;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  #attached(label: string, addresses: readonly string[]): NetworkNamespace {
    const namespace = this.#stack.use(createNamespace(label));
    this.#plug(namespace, addresses);
    return namespace;
  }

  #plug(namespace: NetworkNamespace, addresses: readonly string[]): void {
    const port = `p-${namespace.name.slice(-6)}`;
    connect(
      { namespace, interface: 'eth0', addresses },
      { namespace: this.#bridge, interface: port, addresses: [] },
    );
    this.#bridge.run(['ip', 'link', 'set', port, 'master', 'br0']);
  }

  #node(number: number): LanNode {
    const host = this.#stack.use(createHost(`n${number}`));
    const addresses = [`172.30.0.${number}`, `fd00:30::${number}`] as const;
    const [v4, v6] = addresses;
    this.#plug(host.namespace, [`${v4}/24`, `${v6}/64`]);
    for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) host.setSysctl(name, '1');
    const vrrpDirectory = join(host.directory, 'vrrp');
    const [{ address: mac }] = JSON.parse(host.run(['ip', '-j', 'link', 'show', 'dev', 'eth0']));
    const link = (state: string) => void host.run(['ip', 'link', 'set', 'eth0', state]);
    return {
      ...host,
      name: `n${number}`,
      addresses,
      mac,
      vrrpDirectory,
      fail: () => {
        link('down');
        killAllIn(host.namespace.name);
        // As after a boot: /run is empty, and so is the link.
        host.run(['ip', 'address', 'flush', 'dev', 'eth0']);
        rmSync(vrrpDirectory, { recursive: true, force: true });
      },
      connect: () => {
        link('up');
        host.run(['ip', 'address', 'replace', `${v4}/24`, 'dev', 'eth0']);
        host.run(['ip', 'address', 'replace', `${v6}/64`, 'dev', 'eth0', 'nodad']);
      },
      [Symbol.dispose]: () => host[Symbol.dispose](),
    };
  }
}
