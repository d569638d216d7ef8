import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { node, service, slice } from '../objects.ts';
import { createHost, type Host, type RunOptions, type Started } from './host.ts';
import { BACKEND, Lan, type LanNode } from './lan.ts';

/** A LAN whose nodes have a `svcplane run` each, which reads a file that all share. */
export class FileLan extends Lan {
  readonly #manifests: Host;
  /** As started last. */
  readonly daemons = new Map<LanNode, Started>();

  /** @param vrrp keys of `vrrp`, as in YAML's flow style @param others further lines of the configuration */
  constructor(count: number, vrrp: string, others = '') {
    super(count);
    this.#manifests = createHost('files');
    for (const host of this.nodes) {
      const keys = `mode: keepalived, directory: ${host.vrrpDirectory}, ${vrrp}`;
      host.file('run.yaml', `audit: { intervalSeconds: 1 }\nvrrp: { ${keys} }\n${others}`);
    }
  }

  /** @param vips with a Service each @param localTo nodes with an endpoint, of policy Local; null for policy Cluster */
  announce(vips: readonly (readonly string[])[], localTo: readonly string[] | null = null): void {
    const nodes = this.nodes.map(({ name, addresses }) => node({ name, addresses }));
    const services = vips.flatMap((ingress, i) => objectsOf(`web-${i}`, i, ingress, localTo, this.pods));
    const written = this.#manifests.file(
      '.new',
      JSON.stringify({ kind: 'List', items: [...nodes, ...services] }),
    );
    renameSync(written, this.manifests);
  }

  /** The file that all read. */
  get manifests(): string {
    return join(this.#manifests.directory, 'all.json');
  }

  /** Starts the daemon of a node. */
  start(host: LanNode, options?: RunOptions): void {
    this.daemons.set(host, host.start(['run', '-f', this.manifests, ...flagsOf(host)], options));
  }

  override [Symbol.dispose](): void {
    this.#manifests[Symbol.dispose]();
    super[Symbol.dispose]();
  }
}

/** What a verb is told on a node. */
export function flagsOf({ name, directory }: LanNode): readonly string[] {
  return ['--node', name, '--config', join(directory, 'run.yaml')];
}

function objectsOf(
  name: string,
  i: number,
  ingress: readonly string[],
  localTo: readonly string[] | null,
  pods: ReadonlyMap<string, string>,
) {
  const host = 10 + i;
  const clusterIPs = [`10.96.${host >> 8}.${host & 255}`, `fd00:96::${host.toString(16)}`];
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
        endpoints: (localTo ?? [undefined]).map((on) => ({
          address: (family === 0 && on !== undefined && pods.get(on)) || address,
          ...(on && { node: on }),
        })),
      }),
    ),
  ];
}
