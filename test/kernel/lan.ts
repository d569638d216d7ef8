import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createHost, type Host } from './host.ts';
import { CommandError, connect, createNamespace, killAllIn, type NetworkNamespace } from './probe.ts';

export const VIP = '10.10.0.1';
export const VIP6 = 'fd00:10::1';
const RANGES = ['10.10.0.0/26', 'fd00:10::/64'];
const CLIENT = ['172.30.0.200', 'fd00:30::200'] as const;
/** `/N` is answered by N numbered lines, ten a second. */
const SERVER = `require('http').createServer((q, r) => {
  const count = Number(q.url.slice(1));
  let i = 0;
  const next = () => (i < count ? r.write(i++ + '\\n') : (clearInterval(timer), r.end('up')));
  const timer = setInterval(next, count > 0 ? 100 : 0);
  r.on('close', () => clearInterval(timer));
}).listen(8080, '::')`;
/** Says what of a numbered answer came, and how it ended. */
const DOWNLOAD = `require('http').get(process.argv[1], (r) => {
  let text = '';
  const say = (end) => {
    const lines = text.split('\\n').slice(0, -1);
    console.log(lines.every((line, i) => line === String(i)) ? end : 'garbled', lines.length);
  };
  r.on('data', (data) => { text += data; });
  r.on('end', () => say('complete'));
  r.on('error', ({ code }) => say(code));
}).on('error', () => {})`;

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
  /** Addresses of endpoints of IPv4, by node. */
  readonly pods = new Map<string, string>();
  readonly nodes: readonly LanNode[];
  readonly client: NetworkNamespace;
  readonly backend: NetworkNamespace;

  constructor(count: number) {
    this.#bridge = this.#stack.use(createNamespace('lan'));
    this.#bridge.run(['ip', 'link', 'add', 'br0', 'type', 'bridge']);
    this.#bridge.run(['ip', 'link', 'set', 'br0', 'up']);
    this.client = this.#attached('client', [`${CLIENT[0]}/24`, `${CLIENT[1]}/64`]);
    for (const range of RANGES) {
      const family = range.includes(':') ? '-6' : '-4';
      this.client.run(['ip', family, 'route', 'add', range, 'dev', 'eth0']);
    }
    this.backend = this.#attached('backend', [`${BACKEND[0]}/24`, `${BACKEND[1]}/64`]);
    this.backend.start([process.execPath, '-e', SERVER]);
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

  /** The backend's way to the client leads through whoever holds the addresses; who says that there is a shorter one is not heard. */
  routeBack(): void {
    for (const family of ['ipv4', 'ipv6']) {
      for (const link of ['all', 'eth0']) {
        this.backend.run(['sysctl', '-qw', `net.${family}.conf.${link}.accept_redirects=0`]);
      }
    }
    for (const [i, via] of [VIP, VIP6].entries()) {
      const family = i === 0 ? '-4' : '-6';
      const route = [`${CLIENT[i]}`, 'via', via, 'dev', 'eth0', 'onlink'];
      this.backend.run(['ip', family, 'route', 'add', ...route]);
    }
  }

  /** An endpoint of IPv4 behind a node, for what is announced as local to it. */
  addPod(host: LanNode): void {
    const pod = this.#stack.use(createNamespace('pod'));
    connect(
      { namespace: pod, interface: 'eth0', addresses: ['10.244.1.2/24'] },
      { namespace: host.namespace, interface: 'pod', addresses: ['10.244.1.1/24'] },
    );
    pod.run(['ip', 'route', 'add', 'default', 'via', '10.244.1.1']);
    pod.start([process.execPath, '-e', SERVER]);
    const [via = ''] = host.addresses;
    for (const { namespace, name } of this.nodes) {
      if (name !== host.name) namespace.run(['ip', 'route', 'add', '10.244.1.0/24', 'via', via]);
    }
    this.pods.set(host.name, '10.244.1.2');
  }

  /** Begins to fetch so many lines, ten a second. @returns how that ended, and how many lines came: `complete 100` */
  download(lines: number, vip = VIP): Promise<string> {
    const url = `http://${vip.includes(':') ? `[${vip}]` : vip}/${lines}`;
    const started = this.client.start([process.execPath, '-e', DOWNLOAD, url]);
    let said = '';
    started.stdout?.on('data', (text: string) => {
      said += text;
    });
    return new Promise((resolve) => void started.once('close', () => resolve(said.trim())));
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
