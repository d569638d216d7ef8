import { spawnSync } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { node, service, slice } from '../objects.ts';
import { createHost, type Host, type RunOptions, type Started } from './host.ts';
import { CommandError, connect, createNamespace, type NetworkNamespace, run } from './probe.ts';

export const VIP = '10.10.0.1';
export const VIP6 = 'fd00:10::1';
const RANGES = ['10.10.0.0/26', 'fd00:10::/64'];
const BACKEND = ['172.30.0.100', 'fd00:30::100'];
/** Who answers tells which of the two it is asked by. */
const SERVER = `require('http').createServer((q, r) => r.end('up')).listen(8080, '::')`;

/** A node of a LAN, with a `svcplane run` of its own. */
export interface LanNode extends Host {
  readonly name: string;
  /** As from a crash on: nothing in it runs, and its link is down. */
  fail(): void;
  /** Its link comes back. */
  connect(): void;
  daemon: Started | undefined;
}

/** Nodes, a client and a backend on one bridge. */
export class Lan implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #bridge: NetworkNamespace;
  readonly #manifests: Host;
  readonly nodes: readonly LanNode[];
  readonly client: NetworkNamespace;

  constructor(count: number, vrrp: string) {
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
    this.#manifests = this.#stack.use(createHost('files'));
    this.nodes = Array.from({ length: count }, (_, i) => this.#node(i + 1, vrrp));
  }

  /** @param vips with a Service each @param localTo nodes with an endpoint, of policy Local; null for policy Cluster */
  announce(vips: readonly (readonly string[])[], localTo: readonly string[] | null = null): void {
    const nodes = this.nodes.map(({ name }, i) => node({ name, addresses: addressesOf(i + 1) }));
    const services = vips.flatMap((ingress, i) => objectsOf(`web-${i}`, i, ingress, localTo));
    const written = this.#manifests.file(
      '.new',
      JSON.stringify({ kind: 'List', items: [...nodes, ...services] }),
    );
    renameSync(written, join(this.#manifests.directory, 'all.json'));
  }

  /** Starts the daemon of a node. */
  start(host: LanNode, options?: RunOptions): void {
    const files = ['-f', join(this.#manifests.directory, 'all.json')];
    const flags = ['--node', host.name, '--config', join(host.directory, 'run.yaml')];
    host.daemon = host.start(['run', ...files, ...flags], options);
  }

  /** The nodes that have the address on their link. */
  holders(vip = VIP): readonly LanNode[] {
    return this.nodes.filter((host) => has(host, vip));
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

  #node(number: number, vrrp: string): LanNode {
    const host = this.#stack.use(createHost(`n${number}`));
    const [v4 = '', v6 = ''] = addressesOf(number);
    this.#plug(host.namespace, [`${v4}/24`, `${v6}/64`]);
    for (const name of ['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding']) host.setSysctl(name, '1');
    const directory = join(host.directory, 'vrrp');
    host.file(
      'run.yaml',
      `audit: { intervalSeconds: 1 }\nvrrp: { mode: keepalived, directory: ${directory}, ${vrrp} }\n`,
    );
    const link = (state: string) => void host.run(['ip', 'link', 'set', 'eth0', state]);
    return {
      ...host,
      name: `n${number}`,
      daemon: undefined,
      fail: () => {
        link('down');
        for (const pid of run(['ip', 'netns', 'pids', host.namespace.name]).split('\n').filter(Boolean)) {
          process.kill(Number(pid), 'SIGKILL');
        }
        // As after a boot: /run is empty, and so is the link.
        host.run(['ip', 'address', 'flush', 'dev', 'eth0']);
        rmSync(directory, { recursive: true, force: true });
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

/** Of a test that can't do without it. */
export function needsKeepalived() {
  const { error } = spawnSync('keepalived', ['--version']);
  return error ? { skip: true, meta: { skipReason: `cannot run keepalived: ${error.message}` } } : {};
}

function addressesOf(number: number): readonly string[] {
  return [`172.30.0.${number}`, `fd00:30::${number}`];
}

function has(host: Host, address: string): boolean {
  return host.run(['ip', '-o', 'address', 'show', 'dev', 'eth0']).includes(` ${address}/`);
}

function objectsOf(name: string, i: number, ingress: readonly string[], localTo: readonly string[] | null) {
  const clusterIPs = [`10.96.0.${10 + i}`, `fd00:96::${10 + i}`];
  const spec = {
    type: 'LoadBalancer',
    ...(localTo && { externalTrafficPolicy: 'Local' }),
    clusterIP: clusterIPs[0],
    clusterIPs,
    ipFamilies: ['IPv4', 'IPv6'],
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
  };
  const status = { loadBalancer: { ingress: ingress.map((ip) => ({ ip })) } };
  const ports = [{ name: 'http', port: 8080 }];
  return [
    { ...service({ name, spec }), status },
    ...BACKEND.map((address, family) =>
      slice({
        name: `${name}-${family}`,
        service: name,
        addressType: family === 0 ? 'IPv4' : 'IPv6',
        ports,
        endpoints: (localTo ?? [undefined]).map((on) => ({ address, ...(on && { node: on }) })),
      }),
    ),
  ];
}
