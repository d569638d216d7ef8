import { node, slice } from '../../objects.ts';
import { BACKEND, Lan, type LanNode } from '../lan.ts';
import { run } from '../probe.ts';
import { type ApiServer, wireToApi } from './api-server.ts';
import { type SvcplaneDaemon, startSvcplane } from './svcplane-daemon.ts';

export const CLASS = 'svcplane.io/load-balancer';
export const NAMESPACE = 'web';

/** A node of the LAN whose svcplane follows the API server, by a link of its own. */
export interface AnnouncingNode {
  readonly host: LanNode;
  readonly daemon: SvcplaneDaemon;
  /** Its power is cut: nothing in it runs, and none of its links is up. */
  die(): Promise<void>;
}

/** Nodes on one bridge, each with `svcplane run` and a keepalived of its own. */
export class AnnouncingLan implements AsyncDisposable {
  readonly lan: Lan;
  readonly nodes: readonly AnnouncingNode[];
  readonly #parts: AsyncDisposableStack;

  private constructor(lan: Lan, nodes: readonly AnnouncingNode[], parts: AsyncDisposableStack) {
    this.lan = lan;
    this.nodes = nodes;
    this.#parts = parts;
  }

  /** Starts them, and waits until each has been in sync once. Their Nodes go with them. */
  static async start(api: ApiServer, count: number): Promise<AnnouncingLan> {
    await using started = new AsyncDisposableStack();
    const lan = started.use(new Lan(count));
    const objects = lan.nodes.map(({ name, addresses }, i) => {
      const podCIDR = `10.244.${i + 1}.0/24`;
      return { ...node({ name, addresses }), spec: { podCIDR, podCIDRs: [podCIDR] } };
    });
    await api.apply(objects);
    started.defer(() => api.delete(objects));
    const nodes: AnnouncingNode[] = [];
    for (const host of lan.nodes) {
      wireToApi(host.namespace, host.addresses[0] ?? '');
      // Nothing moves but for what the test does.
      const vrrp = { mode: 'keepalived', interface: 'eth0', directory: host.vrrpDirectory, preempt: false };
      const options = { apiServer: api, nodeName: host.name, config: { vrrp } };
      const daemon = started.use(await startSvcplane(host.namespace, options));
      nodes.push({ host, daemon, die: () => die(host, daemon) });
    }
    for (const { daemon } of nodes) await daemon.synced();
    return new AnnouncingLan(lan, nodes, started.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.disposeAsync();
  }
}

async function die(host: LanNode, daemon: SvcplaneDaemon): Promise<void> {
  run(['ip', '-n', host.namespace.name, 'link', 'set', 'api', 'down']);
  host.fail();
  await daemon.stop('SIGKILL');
}

/** A Service of ours with an endpoint on the LAN, as somebody writes it who has no pods. */
export function balancedObjects(name: string): readonly object[] {
  const spec = {
    type: 'LoadBalancer',
    loadBalancerClass: CLASS,
    ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
  };
  return [
    { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: NAMESPACE }, spec },
    slice({ name: `${name}-1`, service: name, endpoints: [{ address: BACKEND[0] }] }),
  ];
}
